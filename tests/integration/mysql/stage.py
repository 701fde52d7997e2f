"""A stage for the engine's tests: a MariaDB server, a live database, dumps, and engines to work on them."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import hashlib
import logging
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.progress import LogProgress
from env_sync.core.secret import Secret
from env_sync.domain.manifest import Transformation
from env_sync.domain.settings import Options
from env_sync.domain.sync import Action, Ensure, Place, Schedule, Sync
from env_sync.engines.base.contract import Dump, Holder, Promotion, ServerConnection, Work
from env_sync.engines.mysql.access.database_patterns import as_pattern
from env_sync.engines.mysql.engine import MySQLEngine
from env_sync.engines.mysql.identifiers import quoted
from sandbox.mariadb import ADMINISTRATOR, SYNC_ACCOUNT, MariaDBServer
from sandbox.mysql import series

LOG = logging.getLogger("env_sync.test")
APPLICATION = "app"
SECRET = "sync secret"  # of accounts on a server of this test alone
ACCEPTED: Mapping[str, object] = {"accept_set_user": True, "accept_raw_log": True}
"""What the extra of a connection says."""
HEADER = b"-- MySQL dump 10.13  Distrib 8.0.36\n--\n-- Host: db    Database: %s\n"
END = b"\n-- Dump completed on 2026-11-24  1:00:00\n"


@frozen(kw_only=True)
class Stage:
    """What a test works with: one live database on one server."""

    server: MariaDBServer
    database: str
    folder: Path

    @property
    def incoming(self) -> str:
        return f"{self.database}__incoming"

    @property
    def previous(self) -> str:
        return f"{self.database}__previous"

    def engine(
        self,
        run: str = "tonight",
        attempt: str = "1",
        extra: Mapping[str, object] = ACCEPTED,
        *,
        transformation: Path | None = Path("redact.sql"),
        recovery: bool = False,
        **options: Any,
    ) -> MySQLEngine:
        """An engine for a pull that is sanitised, unless `transformation` is None."""
        sync = Sync(
            name=f"pull_{self.database}",
            environment="integration",
            node_class="db_admin",
            place=Place("integration.yaml", 1),
            ensure=Ensure.PRESENT,
            schedule=Schedule(hour="1", minute="0", times=(dt.time(1),)),
            action=Action.PULL,
            dbms="mysql",
            storagebackend="s3",
            database=self.database,
            database_hostname=None,
            url="govuk-staging-database-backups",
            path="mysql-backend",
            temppath=None,
            transformation=transformation,
            pre_dump_transformation=None,
            excluded_tables=(),
            after=(),
            recovery=recovery,
            options=Options(**{"jobs": 2, "promote_wait": dt.timedelta(seconds=10), **options}),
        )
        return MySQLEngine(
            Work(
                sync=sync,
                holder=Holder(run=f"env_sync_integration/{run}", group=sync.name, attempt=attempt),
                connection=ServerConnection(
                    connection_id="env_sync_integration_db_admin",
                    environment="integration",
                    host=self.server.host,
                    port=self.server.port,
                    login=SYNC_ACCOUNT,
                    password=Secret(SECRET),
                    extra=extra,
                ),
                folder=self.folder,
                cancellation=Cancellation(),
                progress=LogProgress(LOG),
                log=LOG,
            )
        )

    def dump(self, text: bytes, name: str = "dump", *, whole: bool = True) -> Dump:
        """A dump of this text, with a header and a last line where `whole`."""
        if whole:
            text = HEADER % self.database.encode() + text + END
        return self.dump_file(gzip.compress(text), name)

    def dump_file(self, content: bytes, name: str = "dump") -> Dump:
        file = self.folder / name
        file.write_bytes(content)
        return Dump(
            key=f"mysql-backend/2026-11-22T220500Z-{self.database}.gz",
            file=file,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            environment="staging",
            data_time=dt.datetime(2026, 11, 22, 22, 5, tzinfo=dt.UTC),
            born_in="production",
            parents=(),
        )

    def pull(self, dump: Dump, engine: MySQLEngine | None = None, *files: Path) -> Promotion:
        """A whole pull as its steps do it, each at work by itself."""
        engine = engine or self.engine()
        engine.take_lease(at_most=9)
        with engine.at_work():
            engine.restore(dump)
        with engine.at_work():
            engine.sanitise(files)
        with engine.at_work():
            promotion = engine.promote(said(*files), lambda: None)
        with engine.at_work():
            engine.clean_up()
        engine.release_lease()
        return promotion

    def transformation(self, text: str, name: str = "redact.sql") -> Path:
        file = self.folder / name
        file.write_text(text)
        return file

    def run(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        return self.server.run(statements, database=database or self.database)

    def run_as_application(self, *statements: str) -> None:
        """The same as the account that made what is in live, which has rights on live alone."""
        with (
            contextlib.closing(self.server.connect(self.database, APPLICATION, SECRET)) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)

    def mysqldump(self, *options: str, program: str = "mysqldump") -> bytes:
        """What the shell script's dump of live was: the program's output, as it is."""
        done = subprocess.run(
            [
                *(self.server.program(program), "--no-defaults", f"--host={self.server.host}"),
                *(f"--port={self.server.port}", f"--user={SYNC_ACCOUNT}", *options, self.database),
            ],
            env={"MYSQL_PWD": SECRET},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def said(*files: Path) -> tuple[Transformation, ...]:
    return tuple(
        Transformation(name=file.name, sha256=hashlib.sha256(file.read_bytes()).hexdigest()) for file in files
    )


@contextlib.contextmanager
def working(engine: MySQLEngine) -> Iterator[MySQLEngine]:
    """The engine with the lease, at work."""
    engine.take_lease(at_most=9)
    with engine.at_work():
        yield engine


def set_up(server: MariaDBServer, folder: Path, database: str = "signon_production") -> Stage:
    """A stage with a live database that has a little of everything, all of it its application's."""
    server.create_sync_account(SECRET)
    server.create_account(APPLICATION, SECRET, f"ALL ON {quoted(as_pattern(database))}.*")
    stage = Stage(server=server, database=database, folder=folder)
    server.execute(f"CREATE DATABASE {quoted(database)}")
    stage.run_as_application(
        "CREATE TABLE users (id int AUTO_INCREMENT PRIMARY KEY, email varchar(100))",
        f"INSERT INTO users (email) SELECT CONCAT('old-', seq, '@example.com') FROM {series(20)}",
        "CREATE TABLE log (id int AUTO_INCREMENT PRIMARY KEY, said varchar(100))",
        "CREATE TABLE gone_above (id int)",
        "CREATE VIEW emails AS SELECT email FROM users",
        "CREATE VIEW gone_view AS SELECT id FROM gone_above",
        "CREATE TRIGGER logged AFTER UPDATE ON users FOR EACH ROW INSERT INTO log (said) VALUES ('changed')",
        "CREATE PROCEDURE old_one() SELECT 1",
    )
    return stage


def tear_down(stage: Stage) -> None:
    stage.server.run([f"DROP DATABASE {quoted(name)}" for name in stage.server.databases()])
    names = stage.server.execute(
        "SELECT User, Host FROM mysql.user WHERE User NOT IN %s",
        [(ADMINISTRATOR, *stage.server.own_accounts)],
    )
    stage.server.run([f"DROP USER '{user}'@'{host}'" for user, host in names if user])
