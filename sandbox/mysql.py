"""MySQL servers of an installation that is named, where there is one, in the place of MariaDB's."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from sandbox import mariadb, process
from sandbox.mariadb import MariaDBServer
from sandbox.process import ServerMissing

ROOT = "ENV_SYNC_TEST_MYSQL_ROOT"
"""Names the folder of an installation of MySQL from 8.4, with its programs in bin/ and sbin/."""

PROGRAMS: Mapping[str, str] = {"mariadbd": "mysqld", "mariadb": "mysql", "mariadb-dump": "mysqldump"}

SETTINGS: Mapping[str, str] = {
    **{
        name: value
        for name, value in mariadb.SETTINGS.items()
        # Which it does not know, but for the collation: its own is what a new server has.
        if name not in ("collation-server", "innodb-log-file-size", "sync-frm", "debug-no-sync")
    },
    "innodb-redo-log-capacity": "192M",
    "mysqlx": "OFF",
    "secure-file-priv": "NULL",
    # As on RDS a binary log is written, and makers of functions are trusted.
    "sync-binlog": "0",
    "log-bin-trust-function-creators": "1",
}


class MySQLServer(MariaDBServer):
    """One server of MySQL itself, as the installation that `ROOT` names has it."""

    family = "MySQL"
    settings = SETTINGS
    sync_grants: Sequence[str] = (
        mariadb.SYNC_GRANTS[0].replace(", DELETE HISTORY, SET USER ON", " ON"),
        "SET_ANY_DEFINER, SHOW_ROUTINE ON *.*",
    )
    own_accounts: Collection[str] = ("mysql.infoschema", "mysql.session", "mysql.sys")

    @staticmethod
    def program(name: str) -> Path:
        """A program by the name that MariaDB gives it, or by its own; ServerMissing without it."""
        root, name = installation(), PROGRAMS.get(name, name)
        for folder in ("bin", "sbin"):
            if root and (program := root / folder / name).is_file():
                return program
        raise ServerMissing(f"MySQL: {ROOT} is {root}, and there is no {name} in its bin or sbin")

    def _make_data(self, making: Path, first: Path, password: str) -> None:
        statements = [
            *self._administrator(password),
            # Of those that RDS gives out, none has it.
            f"REVOKE SYSTEM_USER ON *.* FROM {mariadb.account(mariadb.ADMINISTRATOR)};",
            "DROP USER 'root'@'localhost';",
        ]
        self._write_first(first, statements)
        process.run(
            [
                self._program,
                "--no-defaults",
                "--initialize-insecure",
                f"--datadir={making}",
                f"--tmpdir={self.folder / 'tmp'}",
                f"--init-file={first}",
                *(
                    f"--{name}={value}"
                    for name, value in self._settings.items()
                    if name in ("secure-file-priv", "innodb-flush-method", "lower-case-table-names")
                ),
            ],
            user=self._user,
            cwd=Path("/"),
        )


def installation() -> Path | None:
    """The folder that the environment names; None where MariaDB is to be taken."""
    named = os.environ.get(ROOT)
    return Path(named).resolve() if named else None


def server_class() -> type[MariaDBServer]:
    """MySQL where an installation is named, else MariaDB."""
    return MySQLServer if installation() else MariaDBServer


def series(count: int) -> str:
    """A table, for a FROM, with the numbers from 1 to `count` in column `seq`, as both families have it."""
    document = f"CONCAT('[0', REPEAT(',0', {count - 1}), ']')"
    return f"JSON_TABLE({document}, '$[*]' COLUMNS (seq FOR ORDINALITY)) AS series"
