"""An engine whose server, and a store whose bucket, are in memory: for tests of the steps alone.

A database's content is a line of text; a transformation appends its own text to it. Everything that
the contract asks of an engine is done; `journal` says in which order, and `trouble` what goes wrong.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import attrs
from attrs import define, evolve, field

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import (
    DumpDamaged,
    LeaseHeld,
    LeaseLost,
    NoPrevious,
    PreviousRefused,
    PromoteFailed,
    ProofMissing,
    TransformationFailed,
)
from env_sync.core.progress import LogProgress
from env_sync.core.secret import Secret
from env_sync.domain.finding import Finding, note, problem
from env_sync.domain.manifest import Manifest, Transformation
from env_sync.domain.pause import Pause
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.settings import Settings
from env_sync.domain.sync import AnySync, Sync
from env_sync.engines.base.contract import (
    CleanUp,
    CopyState,
    Dump,
    DumpEngine,
    DumpFacts,
    DumpHead,
    Holder,
    Preflight,
    Promotion,
    ServerConnection,
    Stamp,
    Work,
)
from env_sync.engines.base.proof import unreadable
from env_sync.pipeline.session import Session, work_folder
from env_sync.planning.plan import Group
from env_sync.planning.request import Request
from env_sync.planning.timestamps import parse_timestamp
from env_sync.store import Choice, StoredDump, Survey, dump_key
from env_sync.store.dump_choice import choose
from env_sync.store.dumps import S3Store
from env_sync.store.mirroring.mirror import Tally, Wanted
from tests.unit.values import a_plan, moment

DAMAGED = b"damaged"
NOW = moment("2026-11-24 03:00")


@define
class Database:
    """One copy of a database. Only `live` may be open to others."""

    content: str
    stamp: Stamp | None = None
    open: bool = True
    was_live: bool = field(default=False, eq=False)
    returned_by: Holder | None = field(default=None, eq=False)
    unreadable: bool = False
    """Whether it has a stamp that cannot be read."""
    unstamped: tuple[str, ...] = ()
    """Parts of it of which its stamp does not tell, as a cluster may have them."""


@define
class World:
    """A database server, a bucket, and what goes wrong there."""

    live: Database | None = None
    incoming: Database | None = None
    made: int = 0
    """How often incoming was made."""
    previous: Database | None = None
    lease: Holder | None = None
    objects: dict[str, bytes] = field(factory=dict)
    manifests: dict[str, Manifest] = field(factory=dict)
    pointer: str | None = None
    journal: list[str] = field(factory=list)
    trouble: dict[str, Callable[[], None]] = field(factory=dict)

    def happens(self, what: str) -> None:
        """Note that something happens, or fail where this is to go wrong."""
        self.journal.append(what)
        if what in self.trouble:
            self.trouble[what]()


class MemoryEngine(DumpEngine):
    """The contract, in memory."""

    def __init__(self, work: Work, world: World) -> None:
        super().__init__(work)
        self.world = world
        self._at_work = False

    def _does(self, what: str, *, at_work: bool = True) -> None:
        assert self._at_work or not at_work, f"{what} outside at_work"
        self.work.cancellation.check()
        self.world.happens(what)
        self.work.cancellation.check()

    def take_lease(self, *, at_most: int) -> None:
        self._does(f"take_lease at most {at_most}", at_work=False)
        held = self.world.lease
        if held is not None and (held.run, held.group) != (self.work.holder.run, self.work.holder.group):
            raise LeaseHeld(f"{held} holds it.")
        self.world.lease = self.work.holder

    def release_lease(self) -> None:
        self._does("release_lease", at_work=False)
        if self.world.lease == self.work.holder:
            self.world.lease = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        assert not self._at_work, "at_work inside at_work: the lease would wait for itself"
        self.work.cancellation.check()
        if self.world.lease != self.work.holder:
            raise LeaseLost
        self._at_work = True
        try:
            yield
        finally:
            self._at_work = False

    def dump(self, to: Path) -> DumpFacts:
        self._does("dump")
        assert self.world.live is not None
        to.write_text(self.world.live.content)
        return DumpFacts(
            engine_version="memory 1",
            server_version="memory 1",
            started=NOW,
            finished=NOW + dt.timedelta(seconds=5),
        )

    def dump_transformed(self, to: Path, transformations: Sequence[Path], *, in_place: bool) -> DumpFacts:
        assert self.world.live is not None
        self._does("transform live" if in_place else "transform outgoing")
        content = self.world.live.content + "".join(file.read_text() for file in transformations)
        if in_place:
            self.world.live.content = content
        to.write_text(content)
        return DumpFacts(
            engine_version="memory 1",
            server_version="memory 1",
            started=NOW,
            finished=NOW + dt.timedelta(seconds=5),
            transformations=_said(transformations),
            warnings=("left out subscriptions",),
        )

    def verify(self, dump: Path) -> None:
        self._does("verify", at_work=False)
        if dump.read_bytes() == DAMAGED:
            raise DumpDamaged("it ends in the middle")

    def live_stamp(self) -> Stamp | None:
        live = self.world.live
        if live is not None and live.unreadable:
            raise unreadable("live", "remove it")
        return live.stamp if live else None

    def preflight_stamps(self) -> tuple[Stamp, ...]:
        return self.live_stamps()

    def unstamped(self) -> tuple[str, ...]:
        return self.world.live.unstamped if self.world.live else ()

    def preflight_unstamped(self) -> tuple[str, ...]:
        return self.unstamped()

    def incoming_stamp(self) -> Stamp | None:
        another = self.closed and self.closed != str(self.world.made)
        return self.world.incoming.stamp if self.world.incoming and not another else None

    def restore(self, dump: Dump) -> tuple[str, ...]:
        self._does("restore")
        stamp = Stamp(
            state=CopyState.RAW,
            holder=self.work.holder,
            sync=self.work.sync.name,
            environment=self.work.sync.environment,
            source_environment=dump.environment,
            dump_key=dump.key,
            dump_sha256=dump.sha256,
            data_time=dump.data_time,
            born_in=dump.born_in,
            parents=dump.parents,
            transformations=(),
            changed=NOW,
            above=dump.transformations,
            reason=self.work.sync.reason if self.work.sync.none_said else "",
        )
        self.world.incoming = Database(content=dump.file.read_text(), stamp=stamp, open=False)
        self.world.made += 1
        self.closed = str(self.world.made)
        return ()

    def sanitise(self, transformations: Sequence[Path], postprocess: Sequence[Postprocess] = ()) -> Stamp:
        incoming = self.world.incoming
        if incoming is None or incoming.stamp is None:
            raise ProofMissing
        if (incoming.stamp.state, incoming.stamp.holder) != (CopyState.RAW, self.work.holder):
            raise ProofMissing
        incoming.stamp = evolve(incoming.stamp, state=CopyState.SANITISING)
        try:
            self._does("sanitise")
        except TransformationFailed:
            self.world.incoming = None
            raise
        incoming.content += "".join(file.read_text() for file in transformations)
        incoming.content += "".join(f"{one};" for one in postprocess)
        done = (
            *_said(transformations),
            *(Transformation(name=one.name, sha256=one.sha256) for one in postprocess),
        )
        incoming.stamp = evolve(incoming.stamp, state=CopyState.SANITISED, transformations=done)
        return incoming.stamp

    def promote(self, transformations: Sequence[Transformation], last_look: Callable[[], None]) -> Promotion:
        self._does("promote")
        incoming, live = self.world.incoming, self.world.live
        proof = incoming.stamp if incoming else None
        if self.closed and self.closed != str(self.world.made):
            raise PromoteFailed
        expected = (CopyState.SANITISED, self.work.holder, tuple(transformations))
        if proof is None or (proof.state, proof.holder, proof.transformations) != expected:
            raise ProofMissing
        last_look()
        assert incoming is not None
        incoming.open = True
        if live is not None:
            live.was_live, live.returned_by = True, None
        self.world.live, self.world.previous, self.world.incoming = incoming, live, None
        self._does("promoted")
        return Promotion(unavailable=0.25, first=live is None, previous_kept=live is not None, warnings=())

    def made_live_by(self) -> Holder | None:
        live = self.world.live
        if live is None:
            return None
        return live.returned_by or (live.stamp.holder if live.stamp else None)

    def restore_previous(self, last_look: Callable[[Stamp | None], None]) -> Promotion:
        self._does("restore_previous")
        live, previous, holder = self.world.live, self.world.previous, self.work.holder
        assert live is not None
        by = live.returned_by
        if by is not None and (by.run, by.group) == (holder.run, holder.group):
            live.returned_by = holder
        else:
            if previous is None:
                raise NoPrevious
            if not previous.was_live:
                raise PreviousRefused
            last_look(previous.stamp)
            previous.open, previous.was_live, previous.returned_by = True, False, holder
            live.open, live.was_live, live.returned_by = False, True, None
            self.world.live, self.world.previous = previous, live
            self._does("restored_previous")
        return Promotion(unavailable=0.5, first=False, previous_kept=True, warnings=())

    def clean_up(self) -> CleanUp:
        self._does("clean_up", at_work=False)
        reopened = self.world.live is not None and not self.world.live.open
        if self.world.live is not None:
            self.world.live.open = True
        incoming, holder = self.world.incoming, self.work.holder
        ours = incoming is not None and (
            incoming.stamp is None
            or (incoming.stamp.holder.run, incoming.stamp.holder.group) == (holder.run, holder.group)
        )
        if ours:
            self.world.incoming = None
        return CleanUp(live_reopened=reopened, incoming_dropped=ours, notes=())

    def preflight_server(self) -> tuple[Finding, ...]:
        self._does("preflight_server", at_work=False)
        return ()

    def preflight(self, transformations: Sequence[Path], head: DumpHead | None) -> Preflight:
        self._does("preflight", at_work=False)
        findings = [problem(f"{file.name} is not there") for file in transformations if not file.exists()]
        if self.world.live is None:
            findings.append(note("there is no live"))
        if head is not None and head.first == DAMAGED:
            findings.append(problem(f"{head.key} is damaged"))
        size = len(self.world.live.content) if self.world.live else None
        return Preflight(findings=tuple(findings), live_size=size)


def _said(files: Sequence[Path]) -> tuple[Transformation, ...]:
    return tuple(
        Transformation(name=file.name, sha256=hashlib.sha256(file.read_bytes()).hexdigest()) for file in files
    )


class MemoryStore:
    """What the steps ask of a store; which dump is chosen is decided as for a real bucket."""

    def __init__(self, world: World) -> None:
        self.world = world

    def look_at_mirrored(self, bucket: str) -> None:
        self.world.happens("look_at_mirrored")

    def look_at_bucket(self, bucket: str) -> None:
        self.world.happens("look_at_bucket")

    def mirror(self, wanted: Wanted) -> Tally:
        self.world.happens(f"mirror {wanted.source} to {wanted.destination}")
        return Tally(source=9, destination=9, same=6, copied=3, deleted=1, bytes=30)

    def read_head(self, bucket: str, choice: Choice, count: int) -> bytes:
        self.world.happens("read_head")
        return self.world.objects[choice.key][:count]

    def choose(
        self,
        bucket: str,
        path: str,
        database: str,
        *,
        timestamp: str | None = None,
        min_size_ratio: float = 0.5,
    ) -> Choice:
        self.world.happens("choose")
        survey = self._survey(bucket, path, database)
        choice = choose(
            survey, asked=parse_timestamp(timestamp) if timestamp else None, min_size_ratio=min_size_ratio
        )
        return attrs.evolve(choice, manifest=self.world.manifests.get(choice.key))

    def survey(self, bucket: str, path: str, database: str) -> Survey:
        self.world.happens("survey")
        return self._survey(bucket, path, database)

    def _survey(self, bucket: str, path: str, database: str) -> Survey:
        dumps = [
            StoredDump(
                key=key,
                database=database,
                timestamp=parse_timestamp(key.rpartition("/")[2].removesuffix(f"-{database}.gz")),
                size=len(content),
                etag="",
            )
            for key, content in self.world.objects.items()
        ]
        return Survey(
            bucket=bucket,
            path=path,
            database=database,
            dumps=tuple(sorted(dumps, key=lambda each: each.timestamp, reverse=True)),
            described=frozenset(self.world.manifests),
            pointer=self.world.pointer,
        )

    def newest_manifest(self, bucket: str, path: str, database: str) -> Manifest | None:
        self.world.trouble.get("newest_manifest", lambda: None)()
        found = [key for key in self.world.manifests if key.startswith(f"{path}/")]
        return self.world.manifests[max(found)] if found else None

    def download_dump(self, bucket: str, choice: Choice, file: Path) -> str:
        self.world.happens("download_dump")
        content = self.world.objects[choice.key]
        file.write_bytes(content)
        return hashlib.sha256(content).hexdigest()

    def upload_dump(self, bucket: str, file: Path, manifest: Manifest, *, acl: str | None = None) -> bool:
        self.world.happens("upload_dump")
        content = file.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (manifest.size, manifest.sha256)
        self.world.objects[manifest.key] = content
        self.world.manifests[manifest.key] = manifest
        self.world.pointer = manifest.key
        return True


def put(world: World, timestamp: str, content: str, sync: Sync, **known: Any) -> str:
    """Put a dump into the bucket; with its manifest where something is `known`. Gives its key."""
    key = dump_key(sync.path, moment(timestamp), sync.database)
    world.objects[key] = content.encode()
    if known:
        manifest = Manifest(
            environment="staging",
            sync="push_signon",
            run="a run of staging",
            dbms="postgresql",
            database=sync.database,
            engine_version="memory 1",
            server_version="memory 1",
            key=key,
            size=len(content),
            sha256=hashlib.sha256(content.encode()).hexdigest(),
            started=moment(timestamp),
            finished=moment(timestamp),
            data_time=moment(timestamp),
            born_in="production",
            parents=(),
            transformations=(),
        )
        world.manifests[key] = evolve(manifest, **known)
    return key


def group_of(sync: AnySync) -> Group:
    """The group of a sync that is alone in its environment."""
    return a_plan(sync, environment=sync.environment).groups[0]


def open_memory_session(
    world: World,
    sync: AnySync,
    *,
    attempt: str = "first",
    run: str = "env_sync_integration/scheduled__2026-11-23",
    request: Request | None = None,
    settings: Settings | None = None,
    pause: Callable[[], Pause | None] = lambda: None,
    cancellation: Cancellation | None = None,
) -> Session:
    """A session as a step of this attempt would have it."""
    log = logging.getLogger("env_sync.test")
    progress = LogProgress(log)
    holder = Holder(run=run, group=sync.name, attempt=attempt)
    folder = work_folder(sync, holder)
    cancellation = cancellation or Cancellation()
    engine = None
    if isinstance(sync, Sync):
        work = Work(
            sync=sync,
            holder=holder,
            connection=ServerConnection(
                connection_id="test",
                environment=sync.environment,
                host="",
                port=None,
                login="",
                password=Secret(""),
                extra={},
            ),
            folder=folder,
            cancellation=cancellation,
            progress=progress,
            log=log,
        )
        engine = MemoryEngine(work, world)
    return Session(
        group=group_of(sync),
        settings=settings or Settings(),
        request=request or Request(nightly=False, only=(sync.name,)),
        holder=holder,
        folder=folder,
        pause=pause,
        cancellation=cancellation,
        progress=progress,
        log=log,
        engine=engine,
        open_store=lambda: cast("S3Store", MemoryStore(world)),
    )
