"""Tries with real connections what would stop the syncs of a plan tonight, and writes nothing anywhere.

What many syncs share is tried once: a server (and whether it answers at all), a bucket. Syncs whose server or
bucket could not be looked at are not tried against it, so that nobody waits for the same thing twice.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import shutil
import socket
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import DumpDamaged, EnvSyncError, ServerUnreachable, StampUnreadable
from env_sync.core.failure import described
from env_sync.core.progress import LogProgress
from env_sync.domain.finding import Checked, Finding, note, problem
from env_sync.domain.settings import Settings
from env_sync.domain.sync import Action, BucketSync, Sync
from env_sync.engines.base.contract import DumpHead, Engine, Holder, ServerConnection, Work
from env_sync.engines.base.engine_class import engine_class
from env_sync.pipeline.connections import Connections
from env_sync.pipeline.dump import pre_dump_files
from env_sync.pipeline.dump_file import pushed_by_another
from env_sync.pipeline.sanitise import transformation_files
from env_sync.pipeline.session import check_allowed, check_folder, work_folder
from env_sync.pipeline.unsanitised import (
    asks_live,
    asks_path,
    contradicted,
    lost_in_pull,
    lost_in_push,
    may_fill_anew,
    raw_in_push,
    unreadable_path,
    unsupported,
)
from env_sync.planning.plan import Plan
from env_sync.planning.request import Request
from env_sync.store import Choice
from env_sync.store.dump_keys import timestamp_text
from env_sync.store.dumps import S3Store
from env_sync.store.retrying import Tuning

THREADS = 8
HEAD = 64
"""Bytes that are read of the dump that a pull would restore."""
QUICK = Tuning(attempts=2, connect_timeout=5.0, read_timeout=20.0)
"""Whoever asks waits for the answer, and can ask again."""

LOG = logging.getLogger(__name__)
T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)


@frozen(kw_only=True)
class Access:
    """How connections are looked up, and what is opened with them."""

    server: Callable[[Sync], ServerConnection]
    engine: Callable[[Sync, ServerConnection], Engine]
    store: Callable[[str], S3Store]
    """For an environment's name. What it gives is used by several threads at the same time, to look only."""


def real_access(connections: Connections) -> Access:
    """With these connections, and real servers behind them."""
    return Access(
        server=connections.server,
        engine=lambda sync, connection: _engine(sync, connection, connections.source(sync)),
        store=lambda environment: S3Store(connections.store(environment), tuning=QUICK, log=LOG),
    )


def preflight(
    plans: Sequence[Plan], access: Access, *, only: Sequence[str] = (), now: dt.datetime
) -> tuple[Checked, ...]:
    """Look at every sync of the plans, or at those that `only` names; what was found, in the plans' order.

    Never stops at a finding. `now` is in UTC.
    """
    targets = _targets(plans, access, only)
    mirrors = _mirrors(plans, access, only)
    with_bucket = [target for target in targets if not target.sync.is_cluster]
    by_bucket = _grouped(with_bucket, lambda target: target.bucket)
    by_address = _grouped(targets, lambda target: target.address)
    with _pool() as pool:
        buckets = dict(
            zip(by_bucket, pool.map(_look_at_bucket, [same[0] for same in by_bucket.values()]), strict=True)
        )
        servers = {
            key: shared
            for found in pool.map(lambda same: _look_at_servers(same, access), by_address.values())
            for key, shared in found.items()
        }
        syncs = list(
            pool.map(
                lambda target: _look_at_sync(
                    target, access, buckets.get(target.bucket), servers.get(target.server), now
                ),
                targets,
            )
        )
        syncs += pool.map(_look_at_mirror, mirrors)
    checked = [shared.checked for shared in (*buckets.values(), *servers.values())] + syncs
    return tuple(one for plan in plans for one in checked if one.environment == plan.environment)


@contextlib.contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that begin nothing more once the block was interrupted."""
    with ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="preflight") as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@frozen(kw_only=True)
class _Target:
    """A sync to look at; `connection` and `store` may be why there is none."""

    sync: Sync
    settings: Settings
    connection: ServerConnection | Finding
    store: S3Store | Finding

    @property
    def bucket(self) -> tuple[str, ...]:
        """What syncs have in common that share what is found out about their bucket."""
        return (self.sync.environment, self.sync.url, self.sync.action)

    @property
    def server(self) -> tuple[str, ...]:
        """The same for their server."""
        if isinstance(self.connection, Finding):
            return ()
        return (self.sync.environment, self.sync.dbms, self.connection.connection_id, self.sync.action)

    @property
    def address(self) -> tuple[str, int | None]:
        """Where their server answers, or does not."""
        if isinstance(self.connection, Finding):
            return ("", None)
        return (self.connection.host, self.connection.port)


@frozen(kw_only=True)
class _Mirror:
    """A bucket sync to look at; `store` may be why there is none."""

    sync: BucketSync
    settings: Settings
    store: S3Store | Finding


@frozen(kw_only=True)
class _Shared:
    """A server or bucket; `usable` is False where it could not be looked at."""

    checked: Checked
    usable: bool


def _targets(plans: Sequence[Plan], access: Access, only: Sequence[str]) -> list[_Target]:
    """Looks up all connections, one after another: Airflow's database is asked by this thread alone.

    Those of the sources of copies are looked up where they are tried.
    """
    targets = []
    for plan in plans:
        by_name = {group.sync.name: group.sync for group in plan.groups if isinstance(group.sync, Sync)}
        syncs = [sync for name, sync in by_name.items() if not only or name in only]
        if not syncs:
            continue
        store = _or_problem(access.store, plan.environment)
        targets += [
            _Target(
                sync=sync,
                settings=plan.settings,
                connection=_or_problem(access.server, sync),
                store=store,
            )
            for sync in syncs
        ]
    return targets


def _mirrors(plans: Sequence[Plan], access: Access, only: Sequence[str]) -> list[_Mirror]:
    """The bucket syncs; connections are looked up as for `_targets`."""
    mirrors = []
    for plan in plans:
        by_name = {group.sync.name: group.sync for group in plan.groups if isinstance(group.sync, BucketSync)}
        syncs = [sync for name, sync in by_name.items() if not only or name in only]
        if syncs:
            store = _or_problem(access.store, plan.environment)
            mirrors += [_Mirror(sync=sync, settings=plan.settings, store=store) for sync in syncs]
    return mirrors


def _look_at_mirror(mirror: _Mirror) -> Checked:
    """Whether both buckets of a bucket sync are there and can be listed."""
    sync = mirror.sync
    request = Request(nightly=False, only=(sync.name,))
    findings: list[Finding | None] = [_or_problem(check_allowed, sync, mirror.settings, request)]
    if isinstance(mirror.store, Finding):
        findings.append(mirror.store)
    else:
        findings += [
            _or_problem(mirror.store.look_at_mirrored, bucket)
            for bucket in (sync.source_bucket, sync.destination_bucket)
        ]
        findings.append(
            note(
                f"Whether {sync.source_bucket} may be read and {sync.destination_bucket} written to was not "
                "tried, for nothing is written here."
            )
        )
    return Checked(
        environment=sync.environment,
        subject=f"sync {sync.name}",
        findings=tuple(finding for finding in findings if finding is not None),
    )


def _look_at_bucket(target: _Target) -> _Shared:
    """Whether a bucket is there and can be listed."""
    sync, store = target.sync, target.store
    tried = store if isinstance(store, Finding) else _or_problem(store.look_at_bucket, sync.url)
    findings: tuple[Finding, ...] = ()
    if isinstance(tried, Finding):
        findings = (tried,)
    elif sync.action is Action.PUSH:
        findings = (note("Whether it may be written to was not tried, for nothing is written here."),)
    checked = Checked(
        environment=sync.environment, subject=f"bucket {sync.url}, for each {sync.action}", findings=findings
    )
    return _Shared(checked=checked, usable=tried is None)


def _look_at_servers(targets: Sequence[_Target], access: Access) -> dict[tuple[str, ...], _Shared]:
    """All connections to one address, one after another; once it does not answer, no more are tried."""
    found = {}
    unreachable: Finding | None = None
    for key, same in _grouped(targets, lambda target: target.server).items():
        target = same[0]
        connection = target.connection
        if isinstance(connection, Finding):
            continue
        findings: tuple[Finding, ...]
        usable = False
        if unreachable is not None:
            findings = (unreachable,)
        else:
            try:
                findings = access.engine(target.sync, connection).preflight_server()
                usable = True
            except ServerUnreachable as error:
                unreachable = problem(described(error))
                findings = (unreachable,)
            except Exception as error:  # noqa: BLE001 - one server must not hide what is found on others
                findings = (problem(described(error)),)
        port = f":{connection.port}" if connection.port else ""
        checked = Checked(
            environment=target.sync.environment,
            subject=f"server {connection.host}{port} (connection {connection.connection_id}), "
            f"for each {target.sync.action}",
            findings=findings,
        )
        found[key] = _Shared(checked=checked, usable=usable)
    return found


def _look_at_sync(
    target: _Target, access: Access, bucket: _Shared | None, server: _Shared | None, now: dt.datetime
) -> Checked:
    """What concerns one sync alone."""
    sync = target.sync
    findings: list[Finding] = []
    said: list[str] = []
    confirmed = Request(nightly=False, only=(sync.name,), confirm=sync.database)
    if (refused := _or_problem(check_allowed, sync, target.settings, confirmed)) is not None:
        findings.append(refused)
    choice, head = None, None
    if bucket is not None and not bucket.usable:
        findings.append(_not_tried("bucket", bucket))
    elif bucket is not None and sync.action is Action.PULL and not isinstance(target.store, Finding):
        choice, head = _look_at_dump(target, target.store, now, findings, said)
    live_size = None
    if isinstance(target.connection, Finding):
        findings.append(target.connection)
    elif server is not None and not server.usable:
        findings.append(_not_tried("server", server))
    else:
        try:
            engine = access.engine(sync, target.connection)
            looked = engine.preflight(_files(sync), head)
        except Exception as error:  # noqa: BLE001 - one sync must not hide what is found of others
            findings.append(problem(described(error)))
        else:
            findings += looked.findings
            findings += _look_at_stamps(sync, target.settings, engine)
            if sync.action is Action.PUSH and bucket is not None and bucket.usable:
                findings += _look_at_path(sync, target.store, engine)
            live_size = looked.live_size
            said += [looked.said] if looked.said else []
    if sync.action is Action.PUSH and live_size is not None:
        said.append(f"live takes {_size(live_size)}")
    if bucket is not None:
        _look_at_disk(sync, choice.size if choice else None, live_size, findings)
    return Checked(
        environment=sync.environment,
        subject=f"sync {sync.name}",
        findings=tuple(findings),
        said="; ".join(said),
    )


def _files(sync: Sync) -> tuple[Path, ...]:
    return pre_dump_files(sync) if sync.action is Action.PUSH else transformation_files(sync)


def _look_at_dump(
    target: _Target, store: S3Store, now: dt.datetime, findings: list[Finding], said: list[str]
) -> tuple[Choice | None, DumpHead | None]:
    """The dump that a pull would restore now, and its first bytes; adds what is found of it."""
    sync = target.sync
    try:
        choice = store.choose(sync.url, sync.path, sync.database, min_size_ratio=sync.options.min_size_ratio)
    except EnvSyncError as error:
        findings.append(problem(described(error)))
        return None, None
    findings += [note(f"{said_of_choice}.") for said_of_choice in choice.notes]
    manifest = choice.manifest
    age = now - (manifest.data_time if manifest else choice.timestamp)
    said.append(
        f"dump of {timestamp_text(choice.timestamp)}, {_size(choice.size)}, "
        f"data {age.total_seconds() / 3600:.0f} hours old"
    )
    if age > sync.options.max_dump_age:
        findings.append(
            note(
                f"The data of {choice.key} is {age.total_seconds() / 3600:.0f} hours old, more than "
                f"max_dump_age ({sync.options.max_dump_age}).",
                "Unless a newer dump comes before the pull, look at the pushes above.",
            )
        )
    foreign = pushed_by_another(manifest, target.settings, sync.url)
    if foreign:
        findings.append(
            problem(
                foreign,
                "The pull will refuse it: find out who wrote it there, and take it out of the bucket.",
            )
        )
    if found := contradicted(sync, manifest):
        findings.append(problem(found))
    if untold := unsupported(sync, manifest):
        findings.append(note(f"{untold}."))
    try:
        first = store.read_head(sync.url, choice, HEAD)
    except EnvSyncError as error:
        findings.append(problem(described(error)))
        return choice, None
    return choice, DumpHead(key=choice.key, first=first)


def _look_at_stamps(sync: Sync, settings: Settings, engine: Engine) -> Iterator[Finding]:
    """What would stop a sync because of what live says of the pull that filled it."""
    # What a pull is to fill before the push does not stop it yet.
    finding = note if sync.filled_by else problem
    try:
        if sync.action is Action.PUSH:
            found = raw_in_push(sync, settings, engine.preflight_stamps(), engine.preflight_unstamped())
        else:
            found = lost_in_pull(sync, engine.preflight_stamps()) if asks_live(sync) else None
    except StampUnreadable as unreadable:
        yield note(described(unreadable)) if may_fill_anew(sync) else finding(described(unreadable))
    except Exception as error:  # noqa: BLE001 - one sync must not hide what is found of others
        yield problem(described(error))
    else:
        if found:
            yield finding(found)


def _look_at_path(sync: Sync, store: S3Store | Finding, engine: Engine) -> Iterator[Finding]:
    """What would stop a push because the dump before it, under the same path, was sanitised."""
    if isinstance(store, Finding) or not asks_path(sync):
        return
    try:
        before = store.newest_manifest(sync.url, sync.path, sync.database)
        found = lost_in_push(sync, engine.preflight_stamps, before) if before else None
    except DumpDamaged as damage:
        yield problem(f"{described(damage)}: {unreadable_path(sync)}")
    except StampUnreadable:
        return  # told of already
    except Exception as error:  # noqa: BLE001 - one sync must not hide what is found of others
        yield problem(described(error))
    else:
        if before and found:
            # What a pull is to fill before the push does not stop it yet.
            may_pass = sync.filled_by and not before.transformations
            yield note(found) if may_pass else problem(found)


def _look_at_disk(sync: Sync, dump_size: int | None, live_size: int | None, findings: list[Finding]) -> None:
    """Whether the work folder of this machine can be used, and has room for the dump."""
    try:
        folder = check_folder(work_folder(sync, _holder(sync)))
        free = shutil.disk_usage(folder).free
    except (EnvSyncError, OSError) as error:
        findings.append(problem(described(error)))
        return
    has = f"The work folder {folder} of this machine has {_size(free)} free"
    if dump_size is not None and free < dump_size + QUICK.room_left:
        findings.append(
            problem(
                f"{has}, the dump of {_size(dump_size)} does not fit.",
                "Make room there, or set ENV_SYNC_WORK_FOLDER or temppath to a larger disk.",
            )
        )
    if sync.action is Action.PUSH and live_size is not None and free < live_size:
        findings.append(
            note(
                f"{has}; live takes {_size(live_size)}, and its dump less, by an unknown amount.",
                "If the push fails with DiskFull: make room there, or set temppath to a larger disk.",
            )
        )


def _not_tried(what: str, shared: _Shared) -> Finding:
    """A problem as well: the sync would fail, and must not look well by itself."""
    return problem(f"Not tried any further: see {shared.checked.subject.partition(', for each')[0]}.")


def _holder(sync: Sync) -> Holder:
    return Holder(run=f"preflight/{socket.gethostname()}", group=sync.name, attempt="")


def _engine(sync: Sync, connection: ServerConnection, source: ServerConnection | None) -> Engine:
    holder = _holder(sync)
    return engine_class(sync.dbms)(
        Work(
            sync=sync,
            holder=holder,
            connection=connection,
            source=source,
            folder=work_folder(sync, holder),
            cancellation=Cancellation(),
            progress=LogProgress(LOG),
            log=LOG,
        )
    )


def _or_problem(work: Callable[..., T], *arguments: object) -> T | Finding:
    """What the work gives, or the problem that it raised."""
    try:
        return work(*arguments)
    except Exception as error:  # noqa: BLE001 - told as a finding; nothing found must hide the rest
        return problem(described(error))


def _grouped(targets: Iterable[_Target], key: Callable[[_Target], Key]) -> dict[Key, list[_Target]]:
    groups: dict[Key, list[_Target]] = {}
    for target in targets:
        groups.setdefault(key(target), []).append(target)
    return groups


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
