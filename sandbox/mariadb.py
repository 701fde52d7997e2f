"""MariaDB servers, from Debian's packages."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pymysql

from sandbox import process
from sandbox.process import Process, ServerMissing
from sandbox.server import Server

ADMINISTRATOR = "admin"
SYNC_ACCOUNT = "env_sync"
ADVICE = "on Debian: apt-get install mariadb-server-core mariadb-client"

# What a killed process wrote is in the files; a power cut it need not outlive.
SETTINGS: Mapping[str, str] = {
    "bind-address": "127.0.0.1",
    "character-set-server": "utf8mb4",
    "collation-server": "utf8mb4_unicode_ci",
    "max-connections": "200",
    "innodb-buffer-pool-size": "128M",
    "innodb-log-file-size": "96M",
    "innodb-flush-log-at-trx-commit": "2",
    "innodb-flush-method": "nosync",
    "innodb-doublewrite": "0",
    "sync-frm": "0",
    "debug-no-sync": "1",
    "innodb-lock-wait-timeout": "20",
    "max-allowed-packet": "64M",
    "skip-name-resolve": "1",
    "table-open-cache": "4000",
    "default-time-zone": "+00:00",
}

SYNC_GRANTS = (
    (
        "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, CREATE TEMPORARY TABLES, "
        "LOCK TABLES, EXECUTE, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, EVENT, TRIGGER, "
        "PROCESS, SHOW DATABASES, DELETE HISTORY, SET USER ON *.*"
    ),
)

Row = tuple[Any, ...]


class MariaDBServer(Server):
    """One server with its data in one folder: made by the first start, kept by later ones.

    It listens on 127.0.0.1 alone, asks everyone for a password, and its socket lies in its own folder. The
    administrator's password and the port stay the same from start to start, as long as the port is free.
    """

    family = "MariaDB"
    settings: Mapping[str, str] = SETTINGS
    sync_grants: Sequence[str] = SYNC_GRANTS
    """What the account of Env Sync can have on RDS."""
    own_accounts: Collection[str] = ("mariadb.sys",)
    """Accounts that the server makes for itself."""

    def __init__(
        self, folder: Path, *, name: str | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        """`settings` are added to those in SETTINGS; ServerMissing where the server is not installed."""
        super().__init__(folder)
        self.name = name or self.folder.name
        self.port = 0
        self.password = ""
        self._program = self.program("mariadbd")
        self._settings = {**self.settings, **(settings or {})}
        self._user = process.unprivileged_user()

    @staticmethod
    def program(name: str) -> Path:
        """A program of this server's family by the name that MariaDB gives it; ServerMissing without it."""
        return find_program(name)

    def start(self) -> Self:
        """Makes the data folder if there is none, starts, and waits until it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Others may enter, for the server is another user when this is root, but see nothing.
        self.folder.chmod(0o711)
        # A server that starts removes what it takes for its own in there: no two may have one folder.
        process.give_folder(self.folder / "tmp", self._user)
        if not (self.folder / "data").exists():
            self._make()
        self.password = (self.folder / "password").read_text()
        self.port = process.choose_port(self.folder, self.port)
        settings = {
            **self._settings,
            "port": str(self.port),
            "datadir": str(self.folder / "data"),
            "tmpdir": str(self.folder / "tmp"),
            "socket": str(self.folder / "data" / "socket"),
            "pid-file": str(self.folder / "data" / "pid"),
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._process = Process(
            f"{self.family} {self.name}",
            [self._program, "--no-defaults", *options],
            log=self.log,
            cwd=Path("/"),
            user=self._user,
        )
        self._process.start()
        self._process.wait_until(self._answers)
        return self

    def connect(
        self, database: str | None = None, user: str = ADMINISTRATOR, password: str | None = None
    ) -> pymysql.Connection[Any]:
        """A connection in autocommit, for the caller to close; `password` is needed for other users."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            database=database,
            user=user,
            password=self.password if password is None else password,
            autocommit=True,
            charset="utf8mb4",
            connect_timeout=10,
        )

    def execute(
        self, statement: str, values: Sequence[Any] | None = None, database: str | None = None
    ) -> list[Row]:
        """Runs one statement as the administrator; gives the rows of a query, else an empty list."""
        return self.run([statement], values, database)

    def run(
        self, statements: Sequence[str], values: Sequence[Any] | None = None, database: str | None = None
    ) -> list[Row]:
        """Runs statements one after another as the administrator; gives the rows of the last one."""
        rows: list[Row] = []
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement, values)
                rows = list(cursor.fetchall()) if cursor.description else []
        return rows

    def airflow_connection(
        self, user: str = SYNC_ACCOUNT, password: str | None = None, **extra: object
    ) -> dict[str, object]:
        """An Airflow connection to this server, as Airflow reads it from JSON."""
        return {
            "conn_type": "mysql",
            "host": self.host,
            "port": self.port,
            "login": user,
            "password": self.password if password is None else password,
            "schema": "",
            "extra": extra,
        }

    def create_account(self, name: str, password: str, *grants: str) -> None:
        """Makes an account, where there is none, with grants such as "SELECT ON `signon`.*"."""
        self.run(
            [
                (
                    f"CREATE USER IF NOT EXISTS {account(name)} IDENTIFIED BY "
                    f"{pymysql.converters.escape_str(password)}"
                ),
                *(f"GRANT {grant} TO {account(name)}" for grant in grants),
            ]
        )

    def create_sync_account(self, password: str, *, name: str = SYNC_ACCOUNT) -> None:
        """Makes the account of Env Sync with what it can have on RDS: no SUPER, no FILE."""
        self.create_account(name, password, *self.sync_grants)

    def databases(self) -> set[str]:
        """The names of all databases but the server's own."""
        own = ("information_schema", "mysql", "performance_schema", "sys")
        return {name for (name,) in self.execute("SHOW DATABASES") if name not in own}

    @contextlib.contextmanager
    def temporary_database(self, prefix: str = "test") -> Iterator[str]:
        """A new, empty database with a name of its own, dropped at the end with its copies."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE `{name}`")
        try:
            yield name
        finally:
            self.run([f"DROP DATABASE IF EXISTS `{name}{copy}`" for copy in ("", "__incoming", "__previous")])

    def _make(self) -> None:
        """Makes the data folder and the administrator's account, whole or not at all."""
        making, first = self.folder / "data.new", self.folder / "first.sql"
        shutil.rmtree(making, ignore_errors=True)
        password = secrets.token_urlsafe(24)
        process.write_private(self.folder / "password", password)
        process.give_folder(making, self._user)
        try:
            self._make_data(making, first, password)
        finally:
            first.unlink(missing_ok=True)
        making.rename(self.folder / "data")

    def _make_data(self, making: Path, first: Path, password: str) -> None:
        """Fills the folder `making`; `first` is a file for statements that only this user may see."""
        process.run(
            [
                self.program("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={making}",
                f"--tmpdir={self.folder / 'tmp'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-flush-method=nosync",
            ],
            user=self._user,
            cwd=Path("/"),
        )
        # The server reads them while it starts, before anybody can connect.
        self._write_first(
            first,
            [
                "FLUSH PRIVILEGES;",
                *self._administrator(password),
                # Of several hosts, without a password.
                "DELETE FROM mysql.global_priv WHERE User = 'root';",
                "SHUTDOWN;",
            ],
        )
        process.run(
            [
                self._program,
                "--no-defaults",
                f"--datadir={making}",
                f"--tmpdir={self.folder / 'tmp'}",
                f"--init-file={first}",
                "--skip-networking",
                f"--socket={making / 'socket'}",
                f"--pid-file={making / 'pid'}",
                "--innodb-flush-method=nosync",
                f"--innodb-log-file-size={self._settings['innodb-log-file-size']}",
            ],
            user=self._user,
            cwd=Path("/"),
        )

    def _administrator(self, password: str) -> list[str]:
        return [
            f"CREATE USER {account(ADMINISTRATOR)} IDENTIFIED BY '{password}';",
            f"GRANT ALL ON *.* TO {account(ADMINISTRATOR)} WITH GRANT OPTION;",
        ]

    def _write_first(self, first: Path, statements: Sequence[str]) -> None:
        process.write_private(first, "\n".join(statements) + "\n")
        if self._user:
            shutil.chown(first, self._user.pw_uid, self._user.pw_gid)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except pymysql.err.OperationalError:
            return False
        return True


def account(name: str) -> str:
    """An account of any host, as SQL has it."""
    return f"{pymysql.converters.escape_str(name)}@'%'"


def find_program(name: str) -> Path:
    """A program of MariaDB; ServerMissing, with what to install, where it is not there."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    if found is None:
        raise ServerMissing(f"MariaDB: there is no {name}; {ADVICE}")
    return Path(found)


def version(server: MariaDBServer) -> str:
    """The server's version, e.g. "10.11.6"."""
    [(text,)] = server.execute("SELECT VERSION()")
    match = re.match(r"[\d.]+", text)
    return match.group() if match else text
