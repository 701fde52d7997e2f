"""The engine of Elasticsearch: the contract, put together from the modules beside this one."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from env_sync.core.errors import EnvSyncError, LeaseLost, NoPrevious
from env_sync.domain.finding import Finding
from env_sync.domain.manifest import Transformation
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.engines.base.contract import (
    CleanUp,
    ClusterEngine,
    CopyState,
    DumpHead,
    Filled,
    Holder,
    Preflight,
    Promotion,
    Snapshot,
    Stamp,
    Waiting,
    Work,
)
from env_sync.engines.base.document_lease import Hold, Leases
from env_sync.engines.elasticsearch.access.readers import refuse_other_writers
from env_sync.engines.elasticsearch.clean_up import clean_up
from env_sync.engines.elasticsearch.copying import begin_copy
from env_sync.engines.elasticsearch.dropping import Dropping, dropping_after_failure, own_incoming
from env_sync.engines.elasticsearch.filling import fill, filled
from env_sync.engines.elasticsearch.lease import ClusterLeases
from env_sync.engines.elasticsearch.live_stamps import has_records, live_stamps, unstamped
from env_sync.engines.elasticsearch.metadata import Incoming, Live, read_record
from env_sync.engines.elasticsearch.preflight import look_at_cluster, look_at_sync
from env_sync.engines.elasticsearch.promotion import Promoting, finish_promotion, promote
from env_sync.engines.elasticsearch.restore import begin_from_snapshot
from env_sync.engines.elasticsearch.sanitise import raw_incoming, sanitise
from env_sync.engines.elasticsearch.session import Cluster
from env_sync.engines.elasticsearch.snapshot_taking import take_snapshot

PREFLIGHT_TIMEOUT = 10.0


class ElasticsearchEngine(ClusterEngine):
    """The indices of one cluster that a sync is about. A connection's extra: see `Cluster`.

    Incoming is indices of its own beside live, hidden and without aliases, until they are sanitised.
    """

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._sync = work.sync.name
        cluster = f"{work.connection.host}:{self._cluster().port}"
        self._leases = Leases(
            ClusterLeases(cluster, self._cluster),
            work.sync.database,
            work.holder,
            work.sync.options.lease_lifetime,
            work.log,
        )
        self._hold: Hold[Cluster] | None = None
        self._finished: tuple[str, ...] | None = None
        """The warnings of a swap that an earlier step left and that was brought to its end."""

    def take_lease(self, *, at_most: int) -> None:
        """Take, or renew, the lease on live. See the contract."""
        with contextlib.closing(self._cluster()) as target:
            refuse_other_writers(target)
        self._leases.take(at_most=at_most)

    def release_lease(self) -> None:
        """Give the lease back. See the contract."""
        self._leases.release()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Hold the lease for the length of a step, and bring to its end what a killed one began."""
        with self._leases.at_work() as hold:
            self._hold = hold
            try:
                if self.work.sync.writes:
                    self._finish_promotion()
                yield
            finally:
                self._hold = None

    def snapshot(self) -> Snapshot | Waiting:
        """Take a snapshot of live's indices. See the contract."""
        self.work.check_environment()
        target = self._target
        self._held.note_step("snapshot")
        return take_snapshot(self.work, target)

    def restore_snapshot(self, timestamp: dt.datetime | None) -> Filled | Waiting:
        """Make incoming anew from a snapshot. See the contract."""
        self.work.check_environment()
        target = self._target
        self._held.note_step("restore")
        incoming = own_incoming(self._dropping)
        if incoming is None:
            begin_from_snapshot(self.work, target, timestamp)
            return Waiting("The restore was begun")
        return self._fill(target, None, incoming, asked=timestamp is not None)

    def copy(self) -> Filled | Waiting:
        """Make incoming anew from the source. See the contract."""
        self.work.check_environment()
        target = self._target
        self._held.note_step("copy")
        source = self._source()
        try:
            incoming = own_incoming(self._dropping)
            if incoming is None:
                incoming = begin_copy(self.work, source, target)
            return self._fill(target, source, incoming)
        finally:
            source.close()

    def live_stamp(self) -> Stamp | None:
        """What live says about itself. See the contract."""
        live = read_record(self._target, Live, self._sync, refuse=True)
        return live.stamp if live else None

    def live_stamps(self) -> tuple[Stamp, ...]:
        """Those of every sync that filled indices that this one is about. See the contract."""
        return live_stamps(self._target, self.work.sync)

    def preflight_stamps(self) -> tuple[Stamp, ...]:
        """The same without the lease. See the contract."""
        with contextlib.closing(self._cluster(PREFLIGHT_TIMEOUT)) as target:
            return live_stamps(target, self.work.sync) if has_records(target) else ()

    def unstamped(self) -> tuple[str, ...]:
        """The indices that this sync is about and that no sync filled. See the contract."""
        return unstamped(self._target, self.work.sync)

    def preflight_unstamped(self) -> tuple[str, ...]:
        """The same without the lease. See the contract."""
        with contextlib.closing(self._cluster(PREFLIGHT_TIMEOUT)) as target:
            return unstamped(target, self.work.sync) if has_records(target) else ()

    def made_live_by(self) -> Holder | None:
        """Who last made live what it is. See the contract."""
        live = read_record(self._target, Live, self._sync)
        return live.stamp.holder if live else None

    def incoming_stamp(self) -> Stamp | None:
        """What incoming says about itself. See the contract."""
        incoming = read_record(self._target, Incoming, self._sync)
        return incoming.stamp if incoming else None

    def sanitise(self, transformations: Sequence[Path], postprocess: Sequence[Postprocess] = ()) -> Stamp:
        """Run the transformations on incoming and write the proof. See the contract."""
        self.work.check_environment()
        target = self._target
        self._held.note_step("sanitise")
        incoming = raw_incoming(self.work, target)
        with dropping_after_failure(self._dropping):
            return sanitise(self.work, target, incoming, transformations)

    def promote(self, transformations: Sequence[Transformation], last_look: Callable[[], None]) -> Promotion:
        """Swap incoming with live. See the contract."""
        self.work.check_environment()
        self._held.note_step("promote")
        return promote(self._promoting, transformations, last_look)

    def restore_previous(self, last_look: Callable[[Stamp | None], None]) -> Promotion:
        """Not offered: see the capability `previous`."""
        raise NoPrevious(
            f"{self._sync} cannot make previous live again by itself: docs/elasticsearch.md says how the "
            "aliases are moved back by hand."
        )

    def clean_up(self) -> CleanUp:
        """Put right what a killed step left. See the contract."""
        if not self.work.sync.writes:
            return CleanUp(live_reopened=False, incoming_dropped=False, notes=())
        return clean_up(self._dropping, lambda: self._finished)

    def preflight_server(self) -> tuple[Finding, ...]:
        """Try what would stop every sync with this connection. See the contract."""
        with contextlib.closing(self._cluster(PREFLIGHT_TIMEOUT)) as target:
            return tuple(look_at_cluster(target))

    def preflight(self, transformations: Sequence[Path], head: DumpHead | None) -> Preflight:
        """Try what would stop this sync alone. See the contract."""
        with contextlib.ExitStack() as opened:
            target = opened.enter_context(contextlib.closing(self._cluster(PREFLIGHT_TIMEOUT)))
            source = None
            if self.work.source is not None:
                source = opened.enter_context(contextlib.closing(self._source(PREFLIGHT_TIMEOUT)))
            return look_at_sync(self.work.sync, target, source, transformations)

    @property
    def _held(self) -> Hold[Cluster]:
        if self._hold is None:
            raise LeaseLost(
                f"No step is at work on {self._leases.where}: this may only be done with its lease."
            )
        return self._hold

    @property
    def _target(self) -> Cluster:
        return self._held.session

    @property
    def _promoting(self) -> Promoting:
        options = self.work.sync.options
        return Promoting(
            cluster=self._target,
            sync=self._sync,
            holder=self.work.holder,
            environment=self.work.sync.environment,
            include=self.work.sync.indices,
            exclude=self.work.sync.excluded_indices,
            keep_previous=options.keep_previous,
            patience=options.promote_wait.total_seconds(),
            log=self.work.log,
        )

    @property
    def _dropping(self) -> Dropping:
        return Dropping(
            work=self.work,
            target=self._target,
            where=self._leases.where,
            finish_promotion=self._finish_promotion,
        )

    def _cluster(self, timeout: float | None = None) -> Cluster:
        return Cluster(self.work.connection, self.work.cancellation, self.work.log, timeout=timeout)

    def _source(self, timeout: float | None = None) -> Cluster:
        if self.work.source is None:
            raise EnvSyncError(f"{self._sync} names no source: write `source_hostname`. Nothing was touched.")
        return Cluster(self.work.source, self.work.cancellation, self.work.log, timeout=timeout)

    def _finish_promotion(self) -> bool:
        """Bring to its end a swap that was made; whether there was one."""
        finished = finish_promotion(self._promoting)
        if finished is None:
            return False
        self._finished = finished
        for warning in finished:
            self.work.log.warning(warning)
        return True

    def _fill(
        self, target: Cluster, source: Cluster | None, incoming: Incoming, *, asked: bool = False
    ) -> Filled | Waiting:
        if incoming.stamp.state is not CopyState.RAW:
            with dropping_after_failure(self._dropping):
                step = fill(self.work, target, source, incoming, asked=asked)
            if isinstance(step, Waiting):
                return step
            incoming = step
        return filled(target, incoming)
