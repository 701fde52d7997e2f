"""A stage for the engine's tests: a server, a user with the rights that are documented, and engines."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import uuid
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.progress import LogProgress
from env_sync.core.secret import Secret
from env_sync.domain.settings import Options
from env_sync.domain.sync import Action
from env_sync.engines.base.contract import Dump, DumpFacts, Holder, Promotion, ServerConnection, Work
from env_sync.engines.mongo.engine import MongoEngine
from env_sync.pipeline.sanitise import transformations_of
from sandbox.documentdb import DocumentDBProxy
from sandbox.mongodb import MongoDBServer
from tests.unit.values import a_sync

LOG = logging.getLogger("env_sync.test")
SECRET = "sync secret"  # of a user on a server of this test alone
DATA_TIME = dt.datetime(2026, 11, 22, 22, 5, tzinfo=dt.UTC)


@frozen(kw_only=True)
class Stage:
    """What a test works with: one live database on one server, and a user for it alone."""

    server: MongoDBServer
    database: str
    folder: Path
    proxy: DocumentDBProxy | None = None

    @property
    def user(self) -> str:
        return f"sync_{self.database}"

    def set_up(self) -> None:
        """Make the user of the sync, with what docs/mongodb.md says a pull needs."""
        of_databases = [
            {"role": role, "db": name}
            for role in ("readWrite", "dbAdmin")
            for name in (self.database, f"{self.database}__incoming")
        ]
        others = [
            {"role": "readWrite", "db": "env_sync"},
            self.server.create_looking_role(f"looks_{self.database}"),
        ]
        self.server.create_user(self.user, SECRET, [*of_databases, *others])

    def connection(self) -> ServerConnection:
        extra: dict[str, Any] = {"direct_connection": True, "server_selection_timeout": 3}
        if self.proxy:
            extra["tls_ca_file"] = str(self.proxy.certificate)
        return ServerConnection(
            connection_id="env_sync_integration_mongo",
            environment="integration",
            host=self.server.host,
            port=self.proxy.port if self.proxy else self.server.port,
            login=self.user,
            password=Secret(SECRET),
            extra=extra,
        )

    def engine(
        self,
        action: Action = Action.PULL,
        *,
        transformation: str = "",
        excluded_tables: tuple[str, ...] = (),
        **changed: Any,
    ) -> MongoEngine:
        """An engine of a new attempt, with the lease taken; `transformation` is the text of one."""
        file = None
        if transformation:
            file = self.folder / "sanitise.yaml"
            file.write_text(transformation)
        work = Work(
            sync=a_sync(
                database=self.database,
                action=action,
                dbms="documentdb" if self.proxy else "mongo",
                transformation=file,
                excluded_tables=excluded_tables,
                options=Options(jobs=2),
            ),
            holder=Holder(run="run", group="group", attempt=uuid.uuid4().hex),
            connection=self.connection(),
            folder=self.folder,
            cancellation=Cancellation(),
            progress=LogProgress(LOG),
            log=LOG,
        )
        engine = MongoEngine(evolve(work, **changed))
        engine.take_lease(at_most=99)
        return engine

    def dump(self) -> tuple[Dump, DumpFacts]:
        """A dump of live."""
        engine = self.engine(Action.PUSH)
        to = self.folder / "dump"
        with engine.at_work():
            facts = engine.dump(to)
        return self.dump_of(to.read_bytes()), facts

    def dump_of(self, content: bytes) -> Dump:
        """A dump with these bytes, as it lies in the work folder."""
        file = self.folder / "dump"
        file.write_bytes(content)
        return Dump(
            key="mongo/2026-11-22T220500Z.gz",
            file=file,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            environment="staging",
            data_time=DATA_TIME,
            born_in="production",
            parents=(),
        )

    def sanitise(self, engine: MongoEngine, dump: Dump) -> tuple[str, ...]:
        """Everything before promote; gives what restore warned of."""
        file = engine.work.sync.transformation
        engine.verify(dump.file)
        with engine.at_work():
            warnings = engine.restore(dump)
            engine.sanitise([file] if file else [])
        return warnings

    def promote(self, engine: MongoEngine) -> Promotion:
        with engine.at_work():
            return engine.promote(transformations_of(engine.work.sync), lambda: None)

    def names(self, database: str = "") -> set[str]:
        """The collections of live, or of another database, but for Env Sync's own stamp."""
        with self.server.connected() as client:
            found = set(client[database or self.database].list_collection_names())
        return found - {"env_sync.stamp"}

    def find(self, collection: str) -> list[Any]:
        """The ids of a collection of live."""
        with self.server.connected() as client:
            return sorted(each["_id"] for each in client[self.database][collection].find())
