"""MariaDB or MySQL for the conformance suite: two servers, an application and the sync with accounts."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pymysql

from env_sync.engines.mysql.identifiers import qualified, quoted
from env_sync.engines.mysql.metadata import TABLE
from sandbox.mariadb import SYNC_ACCOUNT, MariaDBServer, account
from sandbox.mysql import series
from sandbox.process import MEMORY
from tests.integration.conformance.drivers.mysql import PyMySQL
from tests.integration.conformance.subject import (
    PRIVATE,
    SOURCE,
    TARGET,
    BadDump,
    BadTransformation,
    Reading,
    Subject,
)

HERE = Path(__file__).parent
SECRET = "a password of the conformance suite"  # of accounts on servers of this suite alone
READER, STRANGER, POWERLESS = "conf reader", "conf_stranger", "conf_powerless"
READ = (
    "SELECT GROUP_CONCAT(DISTINCT generation ORDER BY generation SEPARATOR '+'), COUNT(*), "
    f"COALESCE(SUM(email LIKE '%{PRIVATE}%'), 0) FROM people"
)
OWNERS_GRANTS = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, CREATE VIEW, SHOW VIEW, "
    "EXECUTE, "
    "CREATE ROUTINE, ALTER ROUTINE, EVENT, TRIGGER"
)


class MySQLSubject(Subject):
    """One family above and below; the sync's account has no SUPER, as on RDS."""

    dbms = "mysql"
    tools = frozenset({"mysqldump", "mariadb-dump"})
    steps_with_tools = frozenset({"dump"})
    refusals = (pymysql.err.MySQLError,)
    driver = PyMySQL()

    def __init__(self, name: str, source: MariaDBServer, target: MariaDBServer) -> None:
        self.name = name
        self.servers = {SOURCE: source, TARGET: target}
        for server in self.servers.values():
            make_accounts(server)
        if not target.folder.is_relative_to(MEMORY):
            # It waits for its disk several times for each table that is made, renamed or dropped.
            self.many = 300

    # Servers

    def connection(self, environment: str) -> dict[str, object]:
        return self.servers[environment].airflow_connection(
            SYNC_ACCOUNT, SECRET, accept_set_user=True, accept_raw_log=True
        )

    def connection_without_rights(self, environment: str, database: str) -> dict[str, object]:
        return self.servers[environment].airflow_connection(POWERLESS, SECRET)

    def stop(self, environment: str) -> None:
        self.servers[environment].kill()

    def start(self, environment: str) -> None:
        if not self.servers[environment].running:
            self.servers[environment].start()

    # Databases

    def fill(self, environment: str, database: str, generation: str, rows: int, *, private: bool) -> None:
        domain = f"{PRIVATE}.example" if private else "example.com"
        self._make(environment, database)
        self._run_as_application(
            environment,
            database,
            [
                (
                    "CREATE TABLE people (id int AUTO_INCREMENT PRIMARY KEY, generation varchar(20), "
                    "email varchar(200) UNIQUE, noise varchar(300), KEY (generation))"
                ),
                (
                    f"INSERT INTO people (generation, email, noise) SELECT '{generation}', "
                    f"CONCAT('{generation}-', seq, '@{domain}'), CONCAT(SHA2(seq, 512), SHA2(-seq, 512)) "
                    f"FROM {series(rows)}"
                ),
                "CREATE TABLE notes (id int AUTO_INCREMENT PRIMARY KEY, note text)",
                "CREATE TRIGGER keep_notes BEFORE INSERT ON notes FOR EACH ROW SET NEW.note = TRIM(NEW.note)",
                "CREATE VIEW everybody AS SELECT id, email FROM people",
            ],
        )

    def fill_rich(self, environment: str, database: str) -> None:
        self._make(environment, database)
        server = self.servers[environment]
        server.execute(f"ALTER DATABASE {quoted(database)} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
        self._client(environment, database, self._script("rich"))
        server.execute(f"GRANT SELECT ON {qualified(database, 'authors')} TO {account(READER)}")
        if environment == SOURCE:
            self._client(environment, database, (HERE / "never_comes_down.sql").read_text())
        else:
            self._client(environment, database, (HERE / "below.sql").read_text())

    def change_rich(self, environment: str, database: str) -> None:
        self._client(environment, database, self._script("change"))

    def add_rich(self, environment: str, database: str) -> None:
        self._client(environment, database, (HERE / "add.sql").read_text())

    def fill_empty(self, environment: str, database: str) -> None:
        self._make(environment, database)

    def fill_tables(self, environment: str, database: str, count: int) -> None:
        self._make(environment, database)
        statements = (
            f"CREATE TABLE table_{number} (id int PRIMARY KEY, note text); "
            f"INSERT INTO table_{number} VALUES ({number}, 'note');"
            for number in range(count)
        )
        self._client(environment, database, "\n".join(statements))

    def drop(self, environment: str, database: str) -> None:
        server = self.servers[environment]
        server.run([f"DROP DATABASE IF EXISTS {quoted(name)}" for name in _copies(database).values()])
        # A grant outlives its database.
        server.run(
            [
                "DELETE FROM mysql.db WHERE Db = %s",
                "DELETE FROM mysql.tables_priv WHERE Db = %s",
                "DELETE FROM mysql.procs_priv WHERE Db = %s",
                "FLUSH PRIVILEGES /* %s */",
            ],
            [_pattern(database)],
        )
        server.run(["DELETE FROM mysql.tables_priv WHERE Db = %s", "FLUSH PRIVILEGES /* %s */"], [database])

    def picture(self, environment: str, database: str) -> Mapping[str, str]:
        return {
            **dict(self._definitions(environment, database)),
            **dict(self._contents(environment, database)),
            **dict(self._of_database(environment, database)),
        }

    def never_comes_down(self, environment: str, database: str) -> list[str]:
        rows = self.servers[environment].execute(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND ENGINE = "
            "'MRG_MyISAM'",
            [database],
        )
        return [name for (name,) in rows]

    def whole_text(self, environment: str, database: str) -> bytes:
        server = self.servers[environment]
        with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW FULL TABLES")
            text = []
            for name, kind in cursor.fetchall():
                if kind != "VIEW":
                    cursor.execute(f"SELECT * FROM {quoted(name)}")
                    text.append(repr(cursor.fetchall()))
        return ("".join(text) + str(self._statistics(environment, database))).encode()

    def transformation(self) -> str:
        return (HERE / "sanitise.sql").read_text()

    def transformation_in_place(self) -> str:
        # A procedure is made by a commit.
        return "UPDATE people SET email = CONCAT(generation, '-', id, '@example.com');"

    def bad_transformations(self) -> Mapping[str, BadTransformation]:
        good = "UPDATE people SET email = CONCAT('a', id, '@example.com');\n"
        wrong = "UPDATE people SET emial = '';\n"
        ended = "line 2: COMMIT cannot be run here: it ends the transaction"
        return {
            "first": BadTransformation(text=wrong + good + good, says="line 1: .*emial"),
            "middle": BadTransformation(text=good + wrong + good, says="line 2: .*emial"),
            "last": BadTransformation(text=good + good + wrong, says="line 3: .*emial"),
            "unique": BadTransformation(
                text=good + "UPDATE people SET email = 'x';", says="line 2.*dup_entry"
            ),
            "row": BadTransformation(text="UPDATE people SET id = id + email;", says="line 1.*withheld"),
            "raise": BadTransformation(
                text="DELIMITER //\nCREATE PROCEDURE fail() BEGIN DECLARE said text; "
                "SELECT email INTO said FROM people LIMIT 1; "
                "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = said; END//\nDELIMITER ;\nCALL fail();",
                says="line 4.*withheld",
            ),
            "not closed": BadTransformation(text=good + "SELECT 'open", says="line 2"),
            "commit": BadTransformation(text=good + "COMMIT;\n", says=ended),
            "commit and begin": BadTransformation(text=good + "COMMIT; BEGIN;\n" + good, says=ended),
            "rollback": BadTransformation(text=good + "ROLLBACK;\n", says="line 2: ROLLBACK cannot be run"),
            "open": BadTransformation(text="BEGIN;\n" + good, says="line 1: BEGIN cannot be run"),
            "disconnect": BadTransformation(text=good + "KILL CONNECTION_ID();\n", says="line 2: KILL"),
            "copy": BadTransformation(
                text=good + "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE notes;\n", says="line 2: LOAD"
            ),
            "missing table": BadTransformation(text="DELETE FROM pepole;", says="line 1: .*pepole"),
            "endless": BadTransformation(text="SELECT SLEEP(600);", says="cancelled", never_ends="SLEEP"),
        }

    def bad_dumps(self, good: bytes, other: bytes) -> Mapping[str, BadDump]:
        size, text = len(good), gzip.decompress(good)
        bad = {
            f"cut at {where}": BadDump(content=good[:at], says="damaged or not whole|not a gzipped dump")
            for where, at in {
                "1 byte": 1,
                "the magic": 5,
                "the header": 12,
                **{f"{tenth}0 %": size * tenth // 10 for tenth in range(1, 10)},
                "the last byte": size - 1,
            }.items()
        }
        bad |= {
            f"flipped at {percent} %": BadDump(content=_flipped(good, size * percent // 100), says="damaged")
            for percent in (10, 30, 50, 70, 90)
        }
        without_end = text[: text.rindex(b"-- Dump completed")]
        bad |= {
            "empty": BadDump(content=b"", says="is empty"),
            "of another engine": BadDump(content=b"PGDMP\x01\x0e\x00rest", says="an archive of pg_dump"),
            "not gzip": BadDump(content=text, says="a dump of MySQL"),
            "gzip of nothing": BadDump(content=gzip.compress(b""), says="not a gzipped dump"),
            "a bomb": BadDump(content=gzip.compress(bytes(300_000_000), 1), says="not a gzipped dump"),
            "noise": BadDump(content=bytes(range(256)) * 40, says="not a gzipped dump"),
            "without its last line": BadDump(content=gzip.compress(without_end), says="Dump completed"),
            "with rubbish behind it": BadDump(content=good + b"rubbish", says="damaged"),
            "of another database": BadDump(content=other, says="another database"),
        }
        for name, statement in OUTSIDE.items():
            end = text.rindex(b"-- Dump completed")
            changed = text[:end] + statement + b"\n" + text[end:]
            bad[name] = BadDump(content=gzip.compress(changed), says="statement that is not run here")
        return bad

    # Watching

    def read(self, environment: str, database: str) -> Reading:
        with contextlib.closing(self._application(environment, database)) as connection:
            return _reading(connection)

    def reader(self, environment: str, database: str) -> Callable[[], Reading]:
        kept: list[pymysql.Connection[Any]] = []

        def read() -> Reading:
            if kept and not kept[0].open:
                kept.clear()
            if not kept:
                kept.append(self._application(environment, database))
            return _reading(kept[0])

        return read

    def write(self, environment: str, database: str) -> None:
        with contextlib.closing(self._application(environment, database)) as connection:
            connection.query("INSERT INTO notes (note) VALUES ('written')")

    def intruders(self, environment: str, database: str) -> Mapping[str, Callable[[], None]]:
        server = self.servers[environment]

        def attempt(name: str, copy: str) -> Callable[[], None]:
            def read() -> None:
                with contextlib.closing(server.connect(None, name, SECRET)) as connection:
                    connection.query(f"SELECT * FROM {qualified(_copies(database)[copy], 'people')}")

            return read

        return {
            f"{name} into {copy}": attempt(name, copy)
            for name in (owner_of(database), READER, STRANGER)
            for copy in ("incoming", "previous", "outgoing")
        }

    def copies(self, environment: str, database: str) -> set[str]:
        there = self.servers[environment].databases()
        return {copy for copy, name in _copies(database).items() if name in there}

    def is_open(self, environment: str, database: str) -> bool:
        self._application(environment, database).close()
        return True

    def sessions(self, environment: str, database: str) -> list[str]:
        rows = self.servers[environment].execute(
            "SELECT CONCAT(DB, ': ', COALESCE(LEFT(INFO, 100), COMMAND)) FROM information_schema.PROCESSLIST "
            "WHERE USER = %s AND DB IN %s",
            [SYNC_ACCOUNT, tuple(_copies(database).values())],
        )
        return [text for (text,) in rows]

    def forge_proof(self, environment: str, database: str) -> None:
        server, name = self.servers[environment], qualified(_copies(database)["incoming"], TABLE)
        [(told,)] = server.execute(f"SELECT value FROM {name} WHERE name = 'told'")
        forged = told.replace('"raw"', '"sanitised"')
        assert forged != told
        forged = re.sub(r'"attempt": "\w+"', '"attempt": "another"', forged)
        server.execute(f"UPDATE {name} SET value = %s WHERE name = 'told'", [forged])

    def break_stamp(self, environment: str, database: str) -> None:
        name = qualified(database, TABLE)
        assert self.servers[environment].execute(f"SELECT 1 FROM {name} WHERE name = 'told'")
        self.servers[environment].execute(f"UPDATE {name} SET value = '{{not json' WHERE name = 'told'")

    def forget_leases(self, environment: str) -> None:
        self.servers[environment].execute("DROP DATABASE IF EXISTS env_sync")

    def sessions_over(self, environment: str) -> Callable[[int], bool]:
        connection = self.servers[environment].connect()

        def over(session: int) -> bool:
            with connection.cursor() as cursor:
                there = "SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = %s"
                return not cursor.execute(there, [session])

        return over

    # Parts

    def _script(self, name: str) -> str:
        """The script for every server, and behind it that for servers of this family."""
        family = self.servers[SOURCE].family.lower()
        return "".join((HERE / file).read_text() for file in (f"{name}.sql", f"{name}_{family}.sql"))

    def _make(self, environment: str, database: str) -> None:
        """Make a database, the only one on which its application's account has rights: code runs as that."""
        server = self.servers[environment]
        grant = f"{OWNERS_GRANTS} ON {quoted(_pattern(database))}.*"
        server.execute(f"CREATE DATABASE {quoted(database)}")
        server.create_account(owner_of(database), SECRET, grant)

    def _run_as_application(self, environment: str, database: str, statements: Sequence[str]) -> None:
        with (
            contextlib.closing(self._application(environment, database)) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)

    def _application(self, environment: str, database: str) -> pymysql.Connection[Any]:
        return self.servers[environment].connect(database, owner_of(database), SECRET)

    def _client(self, environment: str, database: str, statements: str) -> None:
        """Run a script as the server's own client does, as the application's account."""
        server = self.servers[environment]
        done = subprocess.run(
            [
                *(
                    server.program("mariadb"),
                    "--no-defaults",
                    "--comments",
                    "--default-character-set=utf8mb4",
                ),
                *(f"--host={server.host}", f"--port={server.port}", f"--user={owner_of(database)}", database),
            ],
            env={"MYSQL_PWD": SECRET, "LC_ALL": "C.UTF-8"},
            input=statements.encode(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def _definitions(self, environment: str, database: str) -> Iterator[tuple[str, str]]:
        """Each object by its kind and name, with the SQL that makes it, its definer among that."""
        server = self.servers[environment]
        never = self.never_comes_down(environment, database)
        with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
            for kind, listing in LISTINGS.items():
                cursor.execute(listing, [database])
                for (name,) in cursor.fetchall():
                    if name in never or name == TABLE:
                        continue
                    cursor.execute(f"SHOW CREATE {kind} {quoted(name)}")
                    row = [IMPLIED.sub(r"COLLATE \1_", str(value)) for value in cursor.fetchone() or ()]
                    # When a trigger was made.
                    yield f"{kind} {name}", " ".join(row[:6] if kind == "TRIGGER" else row)

    def _contents(self, environment: str, database: str) -> Iterator[tuple[str, str]]:
        """A hash of the rows of each table, and where each sequence stands."""
        server = self.servers[environment]
        never = self.never_comes_down(environment, database)
        with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW FULL TABLES")
            for name, kind in cursor.fetchall():
                if kind == "VIEW" or name in never or name == TABLE:
                    continue
                cursor.execute(
                    "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s "
                    "AND TABLE_NAME = %s",
                    [database, name],
                )
                columns = ", ".join(quoted(column) for (column,) in cursor.fetchall())
                cursor.execute(f"SELECT {columns or '*'} FROM {quoted(name)}")
                rows = sorted(repr(row) for row in cursor.fetchall())
                label = "sequence" if kind == "SEQUENCE" else "rows of"
                yield f"{label} {name}", f"{len(rows)} {hashlib.md5(''.join(rows).encode()).hexdigest()}"

    def _of_database(self, environment: str, database: str) -> Iterator[tuple[str, str]]:
        server = self.servers[environment]
        yield "database", str(server.execute(f"SHOW CREATE DATABASE {quoted(database)}"))
        for name in (owner_of(database), READER, STRANGER):
            grants = [grant for (grant,) in server.execute(f"SHOW GRANTS FOR {account(name)}")]
            names = (f"`{database}`", f"`{_pattern(database)}`")
            yield (
                f"grants of {name}",
                str([grant for grant in grants if any(each in grant for each in names)]),
            )

    def _statistics(self, environment: str, database: str) -> list[Any]:
        server = self.servers[environment]
        return server.execute(STATISTICS[server.family], [database])


IMPLIED = re.compile(r"CHARACTER SET (\w+) COLLATE \1_")
"""MySQL shows a column's character set once a dump has named its collation, which begins with that."""

STATISTICS: Mapping[str, str] = {
    "MariaDB": "SELECT min_value, max_value, HEX(histogram) FROM mysql.column_stats WHERE db_name = %s",
    "MySQL": "SELECT HISTOGRAM FROM information_schema.COLUMN_STATISTICS WHERE SCHEMA_NAME = %s",
}
"""What the server knows of the values of columns, by its family."""

OUTSIDE: Mapping[str, bytes] = {
    "with a USE": b"USE `mysql`;",
    "with a CREATE DATABASE": b"CREATE DATABASE elsewhere;",
    "with rows for another database": b"INSERT INTO `mysql`.`db` VALUES (1);",
    "with rows from another table": b"INSERT INTO `people` SELECT * FROM `mysql`.`user`;",
    "with a call": b"INSERT INTO `people` VALUES (1,elsewhere.f(2));",
    "with an UPDATE": b"UPDATE `people` SET id = 1;",
    "with a GRANT": b"GRANT ALL ON *.* TO x;",
    "with a table elsewhere": b"CREATE TABLE mysql.t (id int);",
    "with a table of another": b"CREATE TABLE `t` (id int) AS SELECT 1;",
    "with a trigger elsewhere": b"CREATE TRIGGER a BEFORE INSERT ON mysql.db FOR EACH ROW SET @a = 1;",
    "with a procedure elsewhere": b"CREATE PROCEDURE mysql.p() SELECT 1;",
    "with words for later versions": b"/*!99999 CREATE TABLE `t` (id int) -- */ DROP DATABASE elsewhere;\n;",
    "with a delimiter": b"DELIMITER ;;\nDELETE FROM mysql.db;;\nDELIMITER ;",
}
"""What must not be run; the SHUTDOWN of a server is no different from any of it."""

LISTINGS: Mapping[str, str] = {
    "TABLE": "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
    "AND TABLE_TYPE <> 'VIEW'",
    "VIEW": "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
    "AND TABLE_TYPE = 'VIEW'",
    "TRIGGER": "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s",
    "FUNCTION": "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s "
    "AND ROUTINE_TYPE = 'FUNCTION'",
    "PROCEDURE": "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s "
    "AND ROUTINE_TYPE = 'PROCEDURE'",
    "EVENT": "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s",
}


def owner_of(database: str) -> str:
    """The account of the application of a database, which has rights on no other: code runs as that."""
    return f"conf_{hashlib.sha256(database.encode()).hexdigest()[:12]}"


def make_accounts(server: MariaDBServer) -> None:
    """The accounts of readers, of strangers and of the sync, where they are not there yet."""
    for name in (READER, STRANGER, POWERLESS):
        server.create_account(name, SECRET)
    server.create_sync_account(SECRET)


def _pattern(database: str) -> str:
    """A database's name for a GRANT, in which _ stands for any character and % for any number of them."""
    return database.replace("_", "\\_").replace("%", "\\%")


def _copies(database: str) -> dict[str, str]:
    return {
        "live": database,
        **{copy: f"{database}__{copy}" for copy in ("incoming", "previous", "outgoing", "replaced")},
    }


def _reading(connection: pymysql.Connection[Any]) -> Reading:
    with connection.cursor() as cursor:
        cursor.execute(READ)
        row = cursor.fetchone()
    assert row
    return Reading(row[0] or "", row[1], int(row[2]))


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]
