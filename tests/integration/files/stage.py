"""A root with one directory in it, and engines that work on it."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field

from env_sync.core.cancellation import Cancellation
from env_sync.core.progress import LogProgress
from env_sync.core.secret import Secret
from env_sync.engines.base.contract import Dump, Holder, ServerConnection, Work
from env_sync.engines.files.engine import FilesEngine
from env_sync.engines.files.names import HIDDEN
from tests.unit.values import a_push, a_sync

LOG = logging.getLogger("env_sync.test")
NAME = "uploads"


@define
class Stage:
    """Where everything is, and how to work on it."""

    folder: Path
    cancellation: Cancellation = field(factory=Cancellation)
    extra: dict[str, Any] = field(factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def live(self) -> Path:
        return self.root / NAME

    @property
    def incoming(self) -> Path:
        return self.root / HIDDEN / NAME / "incoming"

    @property
    def previous(self) -> Path:
        return self.root / HIDDEN / NAME / "previous"

    def engine(
        self,
        *,
        run: str = "run",
        attempt: str = "first",
        push: bool = False,
        host: str = "",
        environment: str = "integration",
        database: str = NAME,
        **fields: Any,
    ) -> FilesEngine:
        make = a_push if push else a_sync
        sync = make(
            "sync", dbms="files", database=database, **({} if push else {"transformation": None}), **fields
        )
        return FilesEngine(
            Work(
                sync=sync,
                holder=Holder(run=run, group="sync", attempt=attempt),
                connection=ServerConnection(
                    connection_id="env_sync_integration_files",
                    environment=environment,
                    host=host,
                    port=None,
                    login="",
                    password=Secret(""),
                    extra={"root": str(self.root), **self.extra},
                ),
                folder=self.folder,
                cancellation=self.cancellation,
                progress=LogProgress(LOG),
                log=LOG,
            )
        )

    def make_live(self, text: str = "old") -> None:
        self.live.mkdir(parents=True)
        (self.live / "file").write_text(text)

    def push(self, **wanted: Any) -> Path:
        """A dump of live."""
        engine = self.engine(push=True, run="push", **wanted)
        to = self.folder / "pushed"
        to.unlink(missing_ok=True)
        engine.take_lease(at_most=9)
        with engine.at_work():
            engine.dump(to)
        engine.release_lease()
        return to

    def dump_of(self, file: Path) -> Dump:
        return Dump(
            key="path/2026-11-23T010203Z-uploads.gz",
            file=file,
            size=file.stat().st_size,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            environment="staging",
            data_time=dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
            born_in="production",
            parents=(),
        )

    def restored(self, file: Path, engine: FilesEngine) -> tuple[str, ...]:
        """Restore a file and write the proof; gives the warnings."""
        engine.take_lease(at_most=9)
        with engine.at_work():
            warnings = engine.restore(self.dump_of(file))
            engine.sanitise(())
        return warnings

    def pulled(
        self, file: Path, engine: FilesEngine | None = None, look: Callable[[], None] = lambda: None
    ) -> tuple[str, ...]:
        """A whole pull; gives the warnings of promote."""
        engine = engine or self.engine()
        self.restored(file, engine)
        with engine.at_work():
            promotion = engine.promote((), look)
        engine.release_lease()
        return promotion.warnings
