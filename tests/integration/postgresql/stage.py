"""A stage for the engine's tests: a server with roles, live databases, dumps, and engines to work on them."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from attrs import evolve, field, frozen
from psycopg import sql

from env_sync.core.cancellation import Cancellation
from env_sync.core.progress import LogProgress
from env_sync.core.secret import Secret
from env_sync.domain.manifest import Transformation
from env_sync.domain.settings import Options
from env_sync.domain.sync import Action, Ensure, Place, Schedule, Sync
from env_sync.engines.base.contract import Dump, Holder, Promotion, ServerConnection, Work
from env_sync.engines.postgresql.dump import dump_database
from env_sync.engines.postgresql.engine import PostgreSQLEngine
from env_sync.engines.postgresql.metadata import Comment, WasLive, take_apart
from sandbox.postgresql import SUPERUSER, PostgreSQLServer

VERSIONS = ("postgresql15", "postgresql18")
"""The oldest and the newest server; those between take part in the conformance suite."""

LOG = logging.getLogger("env_sync.test")
SECRET = "sync secret"  # of a role on a server of this test alone
OWNER = "app_owner"
READER = "app reader"
STRANGER = "stranger"
DATA_TIME = dt.datetime(2026, 11, 22, 22, 5, tzinfo=dt.UTC)

SOURCE = """
CREATE SCHEMA app;
CREATE TABLE app.people (id serial PRIMARY KEY, name text NOT NULL, email text UNIQUE);
INSERT INTO app.people (name, email) SELECT 'Person ' || n, 'person' || n || '@home.example'
FROM generate_series(1, 500) n;
CREATE TABLE app.added_later (id int PRIMARY KEY, note text);
INSERT INTO app.added_later VALUES (1, 'new in production');
CREATE VIEW app.names AS SELECT name FROM app.people;
CREATE FUNCTION app.count_people() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM app.people';
CREATE TYPE app.mood AS ENUM ('well', 'ill');
CREATE DOMAIN app.percent AS int CHECK (VALUE BETWEEN 0 AND 100);
"""
REDACT = "UPDATE people SET email = 'user-' || id || '@example.com', name = 'user ' || id;\n"


def sync_of(database: str, action: Action = Action.PULL, **options: Any) -> Sync:
    return Sync(
        name=f"{action}_{database}",
        environment="integration",
        node_class="db_admin",
        place=Place("integration.yaml", 1),
        ensure=Ensure.PRESENT,
        schedule=Schedule(hour="1", minute="0", times=(dt.time(1),)),
        action=action,
        dbms="postgresql",
        storagebackend="s3",
        database=database,
        database_hostname=None,
        url="govuk-staging-database-backups",
        path="postgresql-backend",
        temppath=None,
        transformation=None,
        pre_dump_transformation=None,
        excluded_tables=(),
        after=(),
        recovery=False,
        options=Options(**{"jobs": 2, "promote_wait": dt.timedelta(seconds=10), **options}),
    )


@frozen(kw_only=True)
class Stage:
    """What a test works with: one live database on one server."""

    server: PostgreSQLServer
    database: str
    folder: Path
    login: str
    password: str
    dump: Dump | None = None
    extra: dict[str, Any] = field(factory=lambda: {"owner": OWNER})

    @property
    def incoming(self) -> str:
        return f"{self.database}__incoming"

    @property
    def previous(self) -> str:
        return f"{self.database}__previous"

    @property
    def outgoing(self) -> str:
        return f"{self.database}__outgoing"

    def connection(self) -> ServerConnection:
        return ServerConnection(
            connection_id="env_sync_integration_db_admin",
            environment="integration",
            host=self.server.host,
            port=self.server.port,
            login=self.login,
            password=Secret(self.password),
            extra=self.extra,
        )

    def engine(
        self,
        run: str = "env_sync_integration/tonight",
        group: str = "pull_app",
        attempt: str = "1",
        action: Action = Action.PULL,
        cancellation: Cancellation | None = None,
        transformation: Path | None = None,
        **options: Any,
    ) -> PostgreSQLEngine:
        return PostgreSQLEngine(
            Work(
                sync=evolve(sync_of(self.database, action, **options), transformation=transformation),
                holder=Holder(run=run, group=group, attempt=attempt),
                connection=self.connection(),
                folder=self.folder,
                cancellation=cancellation or Cancellation(),
                progress=LogProgress(LOG),
                log=LOG,
            )
        )

    def with_dump(self, sql_text: str = SOURCE) -> Stage:
        """The same with a dump of a database that was made with this SQL."""
        # One for each server will do for most tests.
        name = hashlib.sha256(f"{self.database} {sql_text}".encode()).hexdigest()[:12]
        file = self.server.folder / f"{name}.dump"
        if not file.exists():
            self._dump(sql_text, file)
        content = file.read_bytes()
        return evolve(
            self,
            dump=Dump(
                key=f"postgresql-backend/2026-11-22T220500Z-{self.database}.gz",
                file=file,
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                environment="staging",
                data_time=DATA_TIME,
                born_in="production",
                parents=(),
            ),
        )

    def _dump(self, sql_text: str, file: Path) -> None:
        # It must say that it is this database's.
        self.server.create_database(self.database)
        self.server.execute(sql_text, None, self.database)
        as_superuser = evolve(self, login="postgres", password=self.server.password).connection()
        dump_database(
            as_superuser,
            self.database,
            file,
            compression="gzip:1",
            cancellation=Cancellation(),
            progress=LogProgress(LOG),
            log=LOG,
        )
        self.server.drop_database(self.database)

    def transformation(
        self, text: str = "SET search_path = app;\n" + REDACT, name: str = "redact.sql"
    ) -> Path:
        file = self.folder / name
        file.write_text(text)
        return file

    def live(self, database: str | None = None) -> contextlib.closing[psycopg.Connection[tuple[Any, ...]]]:
        return contextlib.closing(self.server.connect(database or self.database))

    def comment(self, database: str) -> Comment:
        """The comment on a database, taken apart."""
        statement = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = "
        [(text,)] = self.query(f"{statement}'{database}'", "postgres")
        return take_apart(text)

    def put_comment(self, database: str, comment: Comment | str) -> None:
        """Write the comment on a database."""
        text = sql.Literal(comment if isinstance(comment, str) else comment.text())
        self.server.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), text))

    def query(self, statement: str, database: str | None = None) -> list[tuple[Any, ...]]:
        return self.server.execute(statement, None, database or self.database)


@contextlib.contextmanager
def working(engine: PostgreSQLEngine, at_most: int = 9) -> Iterator[PostgreSQLEngine]:
    """The engine with the lease, at work."""
    engine.take_lease(at_most=at_most)
    with engine.at_work():
        yield engine


@contextlib.contextmanager
def clients(stage: Stage, count: int = 3) -> Iterator[Callable[[int], list[int]]]:
    """Applications that count the people in live all the time, reconnecting at once where they are cut off.

    Gives what waits until they have seen so many ten times more, and tells all counts in their order.
    """
    seen, stop = list[int](), threading.Event()

    def client() -> None:
        while not stop.is_set():
            try:
                with stage.server.connect(stage.database, OWNER, SECRET) as connection:
                    while not stop.is_set():
                        [row] = connection.execute("SELECT count(*) FROM app.people").fetchall()
                        seen.append(row[0])
            except psycopg.Error:
                continue

    def until(wanted: int) -> list[int]:
        before = len(seen)
        while not seen or seen[-1] != wanted or len(seen) < before + 10:
            stop.wait(0.01)
        return seen

    threads = [threading.Thread(target=client) for _ in range(count)]
    for one in threads:
        one.start()
    try:
        while not seen:
            stop.wait(0.01)
        yield until
    finally:
        stop.set()
        for one in threads:
            one.join()


def say_it_was_live(stage: Stage, database: str) -> None:
    """Mark a database as one that a pull made previous."""
    [(oid,)] = stage.query(f"SELECT oid::bigint FROM pg_database WHERE datname = '{database}'", "postgres")
    was_live = WasLive(database=stage.database, oid=oid, environment="integration", until=DATA_TIME)
    stage.put_comment(database, Comment(person="", stamp=None, was_live=was_live))


def said(*files: Path) -> tuple[Transformation, ...]:
    return tuple(
        Transformation(name=file.name, sha256=hashlib.sha256(file.read_bytes()).hexdigest()) for file in files
    )


def pull(stage: Stage, engine: PostgreSQLEngine, *files: Path) -> Promotion:
    """A whole pull as its steps do it, each at work by itself."""
    assert stage.dump
    engine.take_lease(at_most=9)
    with engine.at_work():
        engine.restore(stage.dump)
    with engine.at_work():
        engine.sanitise(files)
    with engine.at_work():
        promotion = engine.promote(said(*files), lambda: None)
    with engine.at_work():
        assert not engine.clean_up().live_reopened
    engine.release_lease()
    return promotion


def set_up(server: PostgreSQLServer, folder: Path, *, superuser: bool, database: str = "app") -> Stage:
    """A stage on a server that has nothing in it yet."""
    server.create_role(OWNER, SECRET)
    server.create_role(READER, SECRET)
    server.create_role(STRANGER, SECRET)
    server.create_sync_role(SECRET, member_of=[OWNER])
    login, password = (SUPERUSER, server.password) if superuser else ("env_sync", SECRET)
    extra = {"owner": OWNER, **({"accept_superuser": True} if superuser else {})}
    return Stage(server=server, database=database, folder=folder, login=login, password=password, extra=extra)
