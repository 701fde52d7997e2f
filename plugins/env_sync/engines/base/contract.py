"""The contract of an engine: what the steps ask of it, and the values that go in and out.

An engine works on three copies of one target database: **incoming** (being restored), **live** and
**previous** (what live was before). It writes what it knows about a copy into the copy itself (its
*stamp*), so that no step has to believe anything but the copy. A push may work on a fourth, **outgoing**:
live, transformed before it is dumped.
"""

from __future__ import annotations

import datetime as dt
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Any

from attrs import field, frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import WrongEnvironment
from env_sync.core.progress import Progress
from env_sync.core.secret import Secret
from env_sync.core.stopwatch import Stopwatch
from env_sync.domain.changed_rows import ChangedRows
from env_sync.domain.finding import Finding
from env_sync.domain.manifest import Parent, Transformation
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.sync import Sync


@frozen(kw_only=True)
class Holder:
    """Who works on a live database: one attempt at one group of one run.

    `attempt` is new each time that the group's start gate lets it through, so that a group that was
    cleared never takes what an earlier attempt left for its own.
    """

    run: str
    """Names the run wherever it is: `<dag id>/<run id>`, or `command line/<host>/<id>`."""
    group: str
    attempt: str

    def __str__(self) -> str:
        return f"{self.run} {self.group}"

    def same_group_as(self, other: Holder) -> bool:
        """Whether both are attempts at one group of one run."""
        return (self.run, self.group) == (other.run, other.group)


@frozen(kw_only=True)
class ServerConnection:
    """How to reach a database server, taken from an Airflow connection.

    `password` is kept out of the representation.
    """

    connection_id: str
    environment: str
    host: str
    port: int | None
    login: str
    password: Secret
    extra: Mapping[str, Any]


@frozen(kw_only=True)
class Dump:
    """A dump in the work folder, and what is known of it. Size in bytes; times are UTC."""

    key: str
    file: Path
    size: int
    sha256: str
    environment: str
    """The environment that pushed it, as far as its manifest or its bucket tell."""
    data_time: dt.datetime
    born_in: str
    parents: tuple[Parent, ...]
    transformations: tuple[Transformation, ...] = ()
    """What ran before it was taken, by its manifest."""


@frozen(kw_only=True)
class DumpFacts:
    """What an engine tells of a dump that it took. Times are UTC."""

    engine_version: str
    server_version: str
    started: dt.datetime
    """When live was read."""
    finished: dt.datetime
    consistent: bool = True
    """Whether all of it is of one moment."""
    read_from: str = ""
    """Which member of a replica set was read; "" where there is nothing to tell."""
    transformations: tuple[Transformation, ...] = ()
    """What ran before the dump was taken, on a copy or in place."""
    warnings: tuple[str, ...] = ()
    """What of live is not in the dump, and why."""


class CopyState(StrEnum):
    """How far an incoming copy has come."""

    RESTORING = "restoring"
    RAW = "raw"
    SANITISING = "sanitising"
    TRANSFORMED = "transformed"
    """The transformations are done, but something that live needs is still to be built."""
    SANITISED = "sanitised"


@frozen(kw_only=True)
class Stamp:
    """What a copy says about itself; with `state` SANITISED it is the proof that promote believes."""

    state: CopyState
    holder: Holder
    sync: str
    environment: str
    """The environment for which it was restored and sanitised."""
    source_environment: str
    dump_key: str
    dump_sha256: str
    data_time: dt.datetime
    born_in: str
    parents: tuple[Parent, ...]
    transformations: tuple[Transformation, ...]
    changed: dt.datetime
    above: tuple[Transformation, ...] = ()
    """What ran before the dump was taken, by its manifest."""
    reason: str = ""
    """Why nothing had to be sanitised, where the sync said so."""


@frozen
class Waiting:
    """The servers are still at work. `what` is in words."""

    what: str


@frozen(kw_only=True)
class Snapshot:
    """A snapshot that was taken. Size in bytes; times are UTC."""

    dump_key: str
    size: int
    data_time: dt.datetime
    born_in: str
    indices: int
    warnings: tuple[str, ...]


@frozen(kw_only=True)
class Filled:
    """Incoming holds what a snapshot or another cluster holds, raw. Size in bytes; times are UTC."""

    dump_key: str
    """The snapshot, or the cluster that it came from and when."""
    way: str
    """How it came, and why so, in words."""
    size: int
    data_time: dt.datetime
    source_environment: str
    born_in: str
    indices: int
    documents: int
    warnings: tuple[str, ...]


@frozen(kw_only=True)
class Promotion:
    """What promote did. `unavailable` is how long no client could connect to live, in seconds."""

    unavailable: float
    first: bool
    """True where there was no live database before."""
    previous_kept: bool
    warnings: tuple[str, ...]


@frozen(kw_only=True)
class CleanUp:
    """What the last step of a group found and put right."""

    live_reopened: bool
    incoming_dropped: bool
    notes: tuple[str, ...]


@frozen(kw_only=True)
class DumpHead:
    """The dump that a pull would restore now, of which only the first bytes were read."""

    key: str
    first: bytes


@frozen(kw_only=True)
class Preflight:
    """What an engine found out about one sync. `live_size` is in bytes; None where it could not be told.

    `said` is worth showing also where nothing was found; it may be "".
    """

    findings: tuple[Finding, ...]
    live_size: int | None
    said: str = ""


@frozen(kw_only=True)
class Work:
    """All that an engine is given to work with on one sync, in one step."""

    sync: Sync
    holder: Holder
    connection: ServerConnection
    folder: Path
    """A private folder for this group; the engine may put files there."""
    cancellation: Cancellation
    progress: Progress
    log: logging.Logger
    source: ServerConnection | None = None
    """The cluster that a copy comes from."""
    stopwatch: Stopwatch = field(factory=Stopwatch)
    """Told how long the parts of a step take."""
    changed_rows: ChangedRows = field(factory=ChangedRows)
    """Told what the statements of transformations changed."""

    def check_environment(self) -> None:
        """Raises WrongEnvironment where the connection does not belong to the sync's environment."""
        wanted, said = self.sync.environment, self.connection.environment
        if said != wanted:
            raise WrongEnvironment(
                f"Connection {self.connection.connection_id} belongs to {said or 'no environment'}, sync "
                f"{self.sync.name} to {wanted}: nothing was touched. Correct `environment` in the "
                "connection's extra, or the sync."
            )


class Engine(ABC):
    """One target database, worked on by one step. See each method for what it may raise.

    Every method may raise ServerUnreachable, AccessRefused, Cancelled.
    """

    closed: str = ""
    """How incoming was when it was opened for us alone, by which it is seen whether others were let in since.

    `restore` sets it; a later step sets it to what an earlier one kept, for who was let in may have changed
    what incoming says itself. "" where nothing is known.
    """

    def __init__(self, work: Work) -> None:
        self.work = work

    def check_startable(self, *, undo: bool) -> None:  # noqa: B027 - most engines find out later
        """See, before the lease is taken, whether something on the server stands against the sync.

        `undo`: previous is to be live again. Raises NameRefused where a copy of somebody else is in the way.
        """

    @abstractmethod
    def take_lease(self, *, at_most: int) -> None:
        """Take, or renew, the lease on live for this holder, without waiting.

        `at_most` is how many leases may be held on this server at the same time. An earlier attempt
        of the same run and group gives way. Raises LeaseHeld, naming who has it and since when.
        """

    @abstractmethod
    def release_lease(self) -> None:
        """Give the lease back; does nothing where this run and group do not hold it."""

    @abstractmethod
    def at_work(self) -> AbstractContextManager[None]:
        """Hold the lease for the length of a step: checked at its start, kept alive, one process at a time.

        Every method below is called inside it, but for `verify` and the preflights. Raises LeaseLost
        where another holder took the lease, or none was taken.
        """

    @abstractmethod
    def live_stamp(self) -> Stamp | None:
        """What live says about itself; None where it was never promoted by Env Sync, or is not there.

        Raises StampUnreadable where it says something that cannot be read.
        """

    def live_stamps(self) -> tuple[Stamp, ...]:
        """What those who filled live say of what this sync is about; one for each, where several did.

        Raises StampUnreadable.
        """
        stamp = self.live_stamp()
        return (stamp,) if stamp is not None else ()

    def unstamped(self) -> tuple[str, ...]:
        """What this sync is about in live, of which none of these stamps tells, by name.

        A database is of one piece; of a cluster it is indices. Raises StampUnreadable.
        """
        return ()

    @abstractmethod
    def made_live_by(self) -> Holder | None:
        """Who last made live what it is, by `promote` or `restore_previous`; None where nobody did."""

    @abstractmethod
    def incoming_stamp(self) -> Stamp | None:
        """What incoming says about itself; None where there is none, or not the one that `closed` is of."""

    @abstractmethod
    def sanitise(self, transformations: Sequence[Path], postprocess: Sequence[Postprocess] = ()) -> Stamp:
        """Run transformations, then the postprocess, on a RAW incoming of this attempt, and write the proof.

        They run in order, each whole, and the proof names them in that order. A SqlPostprocess is statements
        that are run as a transformation's are; a DocumentPostprocess is given the documents of incoming. A
        postprocess is offered where the capability `postprocess` is.

        Raises TransformationFailed, after which incoming is gone, and ProofMissing where incoming is
        not RAW and of this attempt.
        """

    @abstractmethod
    def promote(self, transformations: Sequence[Transformation], last_look: Callable[[], None]) -> Promotion:
        """Swap incoming, if it proves that these transformations ran in this attempt, with live.

        `last_look` is called before previous is dropped, and right before live is closed; what it raises
        stops the promotion.
        Where this attempt was promoted before (a rerun after a kill) what is left to do is done.
        Raises ProofMissing, PromoteFailed.
        """

    @abstractmethod
    def restore_previous(self, last_look: Callable[[Stamp | None], None]) -> Promotion:
        """Swap live and previous back: what was live before is live again, what is live becomes previous.

        Only a previous that was live here, in this environment, is made live again; owners, grants and
        settings are those that each copy has. `last_look` as for `promote`, but it is given what previous
        says about itself; None where no pull filled it. A run and group does this once: a rerun, in whatever
        attempt, tells what was done. Offered where the capability `previous` is. Raises NoPrevious,
        PreviousRefused, NoSuchDatabase, PromoteFailed.
        """

    @abstractmethod
    def clean_up(self) -> CleanUp:
        """Put right what a killed step of this run and group left: reopen live, drop incoming and outgoing.

        Ends what earlier processes of this group still run on the server. Safe to call at any time.
        """

    @abstractmethod
    def preflight_server(self) -> tuple[Finding, ...]:
        """Try what would stop every sync that has this connection and this action; writes nothing anywhere.

        Looks at the server, the rights of the role, and the programs of this machine; never at live. What it
        raises is a problem of all these syncs, so that none of them is tried.
        """

    @abstractmethod
    def preflight(self, transformations: Sequence[Path], head: DumpHead | None) -> Preflight:
        """Try what would stop this sync alone, as far as it can be tried; writes nothing anywhere.

        The postprocess is the sync's own. `head` is of the dump that would be restored; None for a push, and
        where there is none.
        """

    @abstractmethod
    def preflight_stamps(self) -> tuple[Stamp, ...]:
        """The same as `live_stamps`, asked without the lease; writes nothing anywhere."""

    def preflight_unstamped(self) -> tuple[str, ...]:
        """The same as `unstamped`, asked without the lease; writes nothing anywhere."""
        return ()


class DumpEngine(Engine):
    """An engine whose database is dumped into a file and restored from one."""

    @abstractmethod
    def dump(self, to: Path) -> DumpFacts:
        """Write a consistent dump of live to the file `to`, whole or not at all.

        Raises NoSuchDatabase, ToolMissing, ToolFailed, DiskFull.
        """

    def dump_transformed(self, to: Path, transformations: Sequence[Path], *, in_place: bool) -> DumpFacts:
        """Write a dump of live to the file `to` as it is after these transformations, each whole.

        They run on a copy, **outgoing**, made of one consistent picture of live, closed to every other role,
        and dropped in the end, so that live is never changed; the dump is as one of live, its name included.
        With `in_place` they run on live itself, in one transaction where the engine has such. Nothing is
        written to `to` unless every statement succeeded. Offered where the capability
        `pre_dump_transformation` is. Raises TransformationFailed and what `dump` and `restore` raise,
        after which outgoing is gone.
        """
        raise NotImplementedError

    @abstractmethod
    def verify(self, dump: Path) -> None:
        """Read the dump through to its end with the engine's own reader. Raises DumpDamaged."""

    @abstractmethod
    def restore(self, dump: Dump) -> tuple[str, ...]:
        """Make incoming anew from the dump, closed to every other role; live is not touched.

        Returns warnings: what was left out, and why. Incoming ends as RAW. Raises RestoreFailed,
        NameRefused, ToolMissing, DumpDamaged.
        """


class ClusterEngine(Engine):
    """An engine whose indices go from cluster to cluster, through a snapshot repository or straight across.

    Its database is a cluster. What the servers do by themselves is not waited for here: a method that gives
    Waiting is called again, by whatever worker, and goes on where the servers are by then.
    """

    @abstractmethod
    def snapshot(self) -> Snapshot | Waiting:
        """Take a snapshot of live's indices, then remove those of ours that are not kept any longer.

        One that runs already for the same sync is joined. Raises NoSuchRepository, SnapshotFailed,
        WriteBlocked.
        """

    @abstractmethod
    def restore_snapshot(self, timestamp: dt.datetime | None) -> Filled | Waiting:
        """Make incoming anew from a snapshot, the newest whole one or the asked one; ends as RAW.

        Raises NoSuchRepository, NothingToRestore, SnapshotFailed, RestoreFailed, ServerRefused.
        """

    @abstractmethod
    def copy(self) -> Filled | Waiting:
        """The same straight from the cluster that the sync names as its source, in the best way there is."""
