"""PostgreSQL for the conformance suite: two servers, with the roles of an application and of the sync."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from env_sync.engines.postgresql.metadata import MARK
from sandbox.postgresql import SUPERUSER, SYNC_ROLE, PostgreSQLServer, find_installation
from tests.integration.conformance.drivers.postgresql import Psycopg
from tests.integration.conformance.postgresql.types import INTERNAL, LIST_TYPES, VALUES
from tests.integration.conformance.subject import (
    PRIVATE,
    SOURCE,
    TARGET,
    BadDump,
    BadTransformation,
    Reading,
    Subject,
)
from tests.sweep import exhaustive

HERE = Path(__file__).parent
SECRET = "a password of the conformance suite"  # of roles on servers of this suite alone
OWNER, SECOND_OWNER, READER, STRANGER = "conf_owner", "conf_second_owner", "conf reader", "conf_stranger"
POWERLESS = "conf_powerless"
TRUSTED = ("citext", "hstore", "pg_trgm")
"""Extensions that a role without superuser rights may make, where the server has them."""
NEVER = ("PUBLICATION", "SUBSCRIPTION", "SERVER", "USER MAPPING", "FOREIGN DATA WRAPPER", "FOREIGN TABLE")
POINTING = rf"(FOREIGN )?({'|'.join(NEVER)}|TABLE foreign_rows)\b"
MANY_ROWS = 100_000
AT_ONCE = 100
"""Tables that one query looks at."""

READ = (
    "SELECT string_agg(DISTINCT generation, '+'), count(*), "
    f"count(*) FILTER (WHERE email LIKE '%{PRIVATE}%') FROM people"
)


class PostgreSQLSubject(Subject):
    """PostgreSQL of two versions, above and below; the sync's role is no superuser, as on RDS."""

    dbms = "postgresql"
    tools = frozenset({"pg_dump", "pg_restore"})
    closes_live = True
    refusals = (psycopg.Error,)
    driver = Psycopg()

    def __init__(self, name: str, source: PostgreSQLServer, target: PostgreSQLServer) -> None:
        self.name = name
        self.servers = {SOURCE: source, TARGET: target}
        self.same_words = source.version == target.version
        for server in self.servers.values():
            make_roles(server)

    # Servers

    def connection(self, environment: str) -> dict[str, object]:
        return self.servers[environment].airflow_connection(SYNC_ROLE, SECRET, owner=OWNER)

    def connection_without_rights(self, environment: str, database: str) -> dict[str, object]:
        return self.servers[environment].airflow_connection(POWERLESS, SECRET)

    def stop(self, environment: str) -> None:
        self.servers[environment].kill()

    def start(self, environment: str) -> None:
        if not self.servers[environment].running:
            self.servers[environment].start()

    # Databases

    def fill(self, environment: str, database: str, generation: str, rows: int, *, private: bool) -> None:
        server = self.servers[environment]
        server.create_database(database, OWNER)
        domain = f"{PRIVATE}.example" if private else "example.com"
        self._run(
            environment,
            database,
            f"""
            SET ROLE {OWNER};
            CREATE TABLE people (
                id serial PRIMARY KEY, generation text NOT NULL, email text UNIQUE, noise text
            );
            INSERT INTO people (generation, email, noise)
            SELECT '{generation}', '{generation}-' || n || '@{domain}',
                encode(sha512(n::text::bytea), 'hex') || encode(sha512((-n)::text::bytea), 'hex')
            FROM generate_series(1, {rows}) n;
            CREATE TABLE notes (id serial PRIMARY KEY, note text);
            CREATE INDEX ON people (generation);
            """,
        )

    def fill_rich(self, environment: str, database: str) -> None:
        server = self.servers[environment]
        # Made once for each server and then copied: many rows and their indexes take a while.
        template = f"rich_{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"
        if template not in server.databases():
            server.create_database(template, OWNER)
            for extension in self._extensions():
                self._run(environment, template, f"CREATE EXTENSION {extension}")
            text = _for_version((HERE / "rich.sql").read_text(), server.version)
            rows = MANY_ROWS if exhaustive() else MANY_ROWS // 10
            self._run(environment, template, text.replace(":many_rows", str(rows)))
            self._fill_types(environment, template)
        server.create_database(database, OWNER, template=template)
        name = sql.Identifier(database).as_string()
        self._run(
            environment,
            database,
            f"""
            ALTER DATABASE {name} SET work_mem = '5MB';
            ALTER DATABASE {name} SET search_path = app, "Odd, schema", public;
            ALTER ROLE {OWNER} IN DATABASE {name} SET statement_timeout = '70s';
            ALTER DATABASE {name} CONNECTION LIMIT 33;
            REVOKE CONNECT ON DATABASE {name} FROM PUBLIC;
            GRANT CONNECT, TEMPORARY ON DATABASE {name} TO "{READER}";
            """,
        )
        if environment == SOURCE:
            self._run(environment, database, (HERE / "never_comes_down.sql").read_text())

    def change_rich(self, environment: str, database: str) -> None:
        self._run(environment, database, (HERE / "change.sql").read_text())

    def add_rich(self, environment: str, database: str) -> None:
        self._run(environment, database, (HERE / "add.sql").read_text())

    def fill_empty(self, environment: str, database: str) -> None:
        self.servers[environment].create_database(database, OWNER)

    def fill_tables(self, environment: str, database: str, count: int) -> None:
        self.servers[environment].create_database(database, OWNER)
        self._run(
            environment,
            database,
            f"""
            SET ROLE {OWNER};
            DO $$ BEGIN FOR n IN 1..{count} LOOP
                EXECUTE format('CREATE TABLE table_%s (id int PRIMARY KEY, note text)', n);
                EXECUTE format('INSERT INTO table_%s VALUES (%s, ''note'')', n, n);
            END LOOP; END $$;
            """,
        )

    def drop(self, environment: str, database: str) -> None:
        server = self.servers[environment]
        if environment == SOURCE and database in server.databases():
            # A database with a subscription cannot be dropped.
            for (name,) in server.execute("SELECT subname FROM pg_subscription", None, database):
                subscription = sql.Identifier(name).as_string()
                self._run(environment, database, f"ALTER SUBSCRIPTION {subscription} DISABLE")
                self._run(environment, database, f"ALTER SUBSCRIPTION {subscription} SET (slot_name = NONE)")
                self._run(environment, database, f"DROP SUBSCRIPTION {subscription}")
        for name in (database, *_copies(database).values()):
            server.drop_database(name)

    def picture(self, environment: str, database: str) -> Mapping[str, str]:
        return {
            **dict(self._definitions(environment, database)),
            **dict(self._contents(environment, database)),
            **dict(self._of_database(environment, database)),
        }

    def never_comes_down(self, environment: str, database: str) -> list[str]:
        return [
            name
            for name in dict(self._definitions(environment, database, everything=True))
            if name.startswith(NEVER)
        ]

    def whole_text(self, environment: str, database: str) -> bytes:
        server = self.servers[environment]
        dump = _tool("pg_dump", server, "--format=custom", "--compress=0", f"--dbname={database}")
        told = server.execute(
            "SELECT coalesce(string_agg(s::text, ' '), '') FROM (SELECT most_common_vals::text, "
            "histogram_bounds::text FROM pg_stats WHERE schemaname NOT IN ('pg_catalog')) s",
            None,
            database,
        )
        return dump + str(told).encode()

    def transformation(self) -> str:
        return (HERE / "sanitise.sql").read_text()

    def bad_transformations(self) -> Mapping[str, BadTransformation]:
        good = "UPDATE people SET email = 'a' || id || '@example.com';\n"
        wrong = "UPDATE people SET emial = '';\n"
        return {
            "first": BadTransformation(text=wrong + good + good, says="line 1: .*emial"),
            "middle": BadTransformation(text=good + wrong + good, says="line 2: .*emial"),
            "last": BadTransformation(text=good + good + wrong, says="line 3: .*emial"),
            "unique": BadTransformation(text=good + "UPDATE people SET email = 'x';", says="line 2"),
            "row": BadTransformation(
                text=good + "SELECT 1 / (id - 7), email FROM people;", says="line 2.*division_by_zero"
            ),
            "raise": BadTransformation(
                text="DO $$ BEGIN RAISE EXCEPTION '%', (SELECT email FROM people LIMIT 1); END $$;",
                says="line 1",
            ),
            "not closed": BadTransformation(text=good + "SELECT 'open", says="line 2"),
            "commit": BadTransformation(text=good + "COMMIT;\n", says="ended the transaction"),
            "commit and begin": BadTransformation(
                text=good + "COMMIT; BEGIN;\n" + good, says="ended the transaction"
            ),
            "rollback": BadTransformation(text=good + "ROLLBACK;\n", says="ended the transaction"),
            "open": BadTransformation(text="COMMIT;\nBEGIN;\n" + good, says="ended the transaction"),
            "disconnect": BadTransformation(
                text=good + "SELECT pg_terminate_backend(pg_backend_pid());\n",
                says="ServerUnreachable.*connection",
            ),
            "vacuum": BadTransformation(text=good + "VACUUM people;", says="line 2.*VACUUM"),
            "copy": BadTransformation(text=good + "COPY people FROM STDIN;\n", says="COPY"),
            "missing table": BadTransformation(text="DELETE FROM pepole;", says="line 1: .*pepole"),
            "endless": BadTransformation(
                text="SELECT pg_sleep(600);", says="cancelled", never_ends="pg_sleep"
            ),
        }

    def bad_dumps(self, good: bytes, other: bytes) -> Mapping[str, BadDump]:
        size = len(good)
        bad = {
            f"cut at {where}": BadDump(content=good[:at], says="damaged or not whole|not an archive")
            for where, at in {
                "1 byte": 1,
                "the magic": 5,
                "the header": 12,
                "its contents": 300,
                **{f"{tenth}0 %": size * tenth // 10 for tenth in range(1, 10)},
                "the last byte": size - 1,
            }.items()
        }
        bad |= {
            f"flipped at {percent} %": BadDump(content=_flipped(good, size * percent // 100), says="damaged")
            # Before its rows stand definitions as they are: nothing but a manifest vouches for those.
            for percent in (93, 96, 98)
        }
        statements = b"-- MySQL dump 10.13  Distrib 8.0.36\nCREATE TABLE t (id int);\n-- Dump completed\n"
        bad |= {
            "empty": BadDump(content=b"", says="is empty"),
            "of another engine": BadDump(content=gzip.compress(statements), says="a dump of MySQL, gzipped"),
            "a script": BadDump(content=b"--\n-- PostgreSQL database dump\n--\n", says="plain script"),
            "gzip of nothing": BadDump(content=gzip.compress(b""), says="not an archive"),
            "a bomb": BadDump(content=gzip.compress(bytes(300_000_000), 1), says="not an archive"),
            "noise": BadDump(content=bytes(range(256)) * 40, says="not an archive"),
            "of another database": BadDump(content=other, says="another database"),
        }
        return bad

    # Watching

    def read(self, environment: str, database: str) -> Reading:
        with contextlib.closing(self._client(environment, database)) as connection:
            return _reading(connection)

    def reader(self, environment: str, database: str) -> Callable[[], Reading]:
        kept: list[psycopg.Connection[tuple[Any, ...]]] = []

        def read() -> Reading:
            if kept and kept[0].closed:
                kept.clear()
            if not kept:
                kept.append(self._client(environment, database))
            return _reading(kept[0])

        return read

    def write(self, environment: str, database: str) -> None:
        with contextlib.closing(self._client(environment, database)) as connection:
            connection.execute("INSERT INTO notes (note) VALUES ('written')")

    def intruders(self, environment: str, database: str) -> Mapping[str, Callable[[], None]]:
        server = self.servers[environment]

        def attempt(role: str, copy: str) -> Callable[[], None]:
            return lambda: server.connect(_copies(database)[copy], role, SECRET).close()

        return {
            f"{role} into {copy}": attempt(role, copy)
            for role in (OWNER, SECOND_OWNER, READER, STRANGER)
            for copy in ("incoming", "previous", "outgoing")
        }

    def copies(self, environment: str, database: str) -> set[str]:
        there = self.servers[environment].databases()
        return {copy for copy, name in _copies(database).items() if name in there}

    def is_open(self, environment: str, database: str) -> bool:
        [(allowed,)] = self.servers[environment].execute(
            "SELECT datallowconn FROM pg_database WHERE datname = %s", [database]
        )
        return bool(allowed)

    def sessions(self, environment: str, database: str) -> list[str]:
        rows = self.servers[environment].execute(
            "SELECT datname || ': ' || left(query, 100) FROM pg_stat_activity WHERE usename = %s",
            [SYNC_ROLE],
        )
        return [text for (text,) in rows]

    def forge_proof(self, environment: str, database: str) -> None:
        name = _copies(database)["incoming"]
        server = self.servers[environment]
        [(comment,)] = server.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name]
        )
        forged = comment.replace('"raw"', '"sanitised"')
        assert forged != comment
        forged = re.sub(r'"attempt": "\w+"', '"attempt": "another"', forged)
        statement = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(forged))
        server.execute(statement)

    def break_stamp(self, environment: str, database: str) -> None:
        server, broken = self.servers[environment], f"{MARK}{{not json"
        statement = "COMMENT ON DATABASE {} IS {}"
        server.execute(sql.SQL(statement).format(sql.Identifier(database), sql.Literal(broken)))

    def forget_leases(self, environment: str) -> None:
        self.servers[environment].drop_database("env_sync")

    def sessions_over(self, environment: str) -> Callable[[int], bool]:
        connection = self.servers[environment].connect()
        there = "SELECT FROM pg_stat_activity WHERE pid = %s"
        return lambda session: connection.execute(there, [session]).rowcount == 0

    # Parts

    def _client(self, environment: str, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return self.servers[environment].connect(database, OWNER, SECRET)

    def _run(self, environment: str, database: str, statements: str) -> None:
        self.servers[environment].execute(statements, None, database)

    def _extensions(self) -> list[str]:
        """Trusted ones that both servers have; PostgreSQL 12 trusts none."""
        if min(server.version for server in self.servers.values()) < 13:
            return []
        there = [
            {name for (name,) in server.execute("SELECT name FROM pg_available_extensions")}
            for server in self.servers.values()
        ]
        return [name for name in TRUSTED if all(name in names for names in there)]

    def _fill_types(self, environment: str, database: str) -> None:
        server = self.servers[environment]
        there = {name for (name,) in server.execute(LIST_TYPES, None, database)}
        assert there <= VALUES.keys() | INTERNAL, there - VALUES.keys() - INTERNAL
        types = [name for name in VALUES if name in there and self._takes_values(name)]
        assert len(types) > (65 if server.version >= 14 else 59)
        with contextlib.closing(server.connect(database)) as connection:
            connection.execute(f"SET ROLE {OWNER}")
            columns = ", ".join(
                f'"a {name}" pg_catalog."{name}", "a list of {name}" pg_catalog."{name}"[]' for name in types
            )
            connection.execute(f"CREATE TABLE public.every_type (row serial PRIMARY KEY, {columns})")
            connection.execute("INSERT INTO public.every_type DEFAULT VALUES")
            for name in types:
                for value in VALUES[name]:
                    connection.execute(
                        f'INSERT INTO public.every_type ("a {name}", "a list of {name}") VALUES '
                        f'(%s::pg_catalog."{name}", ARRAY [NULL, %s::pg_catalog."{name}"])',
                        [value, value],
                    )

    def _takes_values(self, name: str) -> bool:
        """Whether both servers do: not every build knows xml."""
        if name != "xml":
            return True
        try:
            for server in self.servers.values():
                server.execute("SELECT '<a/>'::xml")
        except psycopg.errors.FeatureNotSupported:
            return False
        return True

    def _definitions(
        self, environment: str, database: str, *, everything: bool = False
    ) -> Iterator[tuple[str, str]]:
        """Each object by its type, schema and name, with the SQL that makes it, its owner and its grants."""
        server = self.servers[environment]
        script = _tool("pg_dump", server, "--schema-only", f"--dbname={database}").decode()
        for part in re.split(r"\n--\n-- Name: ", script)[1:]:
            head, _, text = part.partition("\n--\n")
            match = re.fullmatch(r"(.*); Type: (.*); Schema: (.*); Owner: (.*)", head, re.DOTALL)
            assert match, head
            name, kind, schema, owner = match.groups()
            # An ACL comes as statements whose order says nothing.
            noise = ("SET ", "--", "\\")
            lines = sorted(line for line in text.split("\n") if line and not line.startswith(noise))
            pointing = kind.startswith(NEVER) or (
                kind in ("ACL", "COMMENT") and re.match(POINTING, name) is not None
            )
            silent = kind == "COMMENT" and name.startswith(("EXTENSION", "DATABASE"))
            if everything or not (pointing or silent):
                yield f"{kind} {schema}.{name} of {owner}", "\n".join(lines)

    def _contents(self, environment: str, database: str) -> Iterator[tuple[str, str]]:
        """A hash of the rows of each table, and where each sequence and large object stands."""
        server = self.servers[environment]
        with contextlib.closing(server.connect(database)) as connection:
            connection.execute("SET search_path = ''")
            # Two versions may print one number in two ways, if they were told to round it.
            connection.execute("SET extra_float_digits = 3")
            tables = connection.execute(
                "SELECT format('%I.%I', n.nspname, c.relname), c.relkind = 'm' AND NOT c.relispopulated "
                "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname NOT LIKE 'pg\\_%' "
                "AND n.nspname <> 'information_schema'"
            ).fetchall()
            yield from ((f"rows of {table}", "not filled") for table, empty in tables if empty)
            filled = [table for table, empty in tables if not empty]
            for first in range(0, len(filled), AT_ONCE):
                hashes = " UNION ALL ".join(
                    f"SELECT {psycopg.sql.quote(table)}, count(*)::text || ' ' || coalesce(md5(string_agg("
                    f"md5(t::text), '' ORDER BY md5(t::text))), '') FROM {table} t"
                    for table in filled[first : first + AT_ONCE]
                )
                for table, found in connection.execute(hashes):
                    yield f"rows of {table}", found
            for name, last in connection.execute(
                "SELECT schemaname || '.' || sequencename, coalesce(last_value::text, 'never') "
                "FROM pg_sequences"
            ):
                yield f"sequence {name}", last
            for number, content in connection.execute(
                "SELECT oid, md5(lo_get(oid)) || pg_get_userbyid(lomowner) || coalesce(lomacl::text, '') "
                "FROM pg_largeobject_metadata"
            ):
                yield f"large object {number}", content

    def _of_database(self, environment: str, database: str) -> Iterator[tuple[str, str]]:
        server = self.servers[environment]
        for row in server.execute(
            "SELECT 'database', format('%%s %%s %%s', pg_get_userbyid(datdba), datconnlimit, "
            "pg_encoding_to_char(encoding)), "
            "(SELECT array_agg(a::text ORDER BY a::text) "
            "FROM unnest(coalesce(datacl, acldefault('d', datdba))) a)::text "
            "FROM pg_database WHERE datname = %s",
            [database],
        ):
            yield "database", f"{row[1]} {row[2]}"
        for role, settings in server.execute(
            "SELECT coalesce(r.rolname, ''), (SELECT string_agg(s, '; ' ORDER BY s) "
            "FROM unnest(setconfig) s) "
            "FROM pg_db_role_setting LEFT JOIN pg_roles r ON r.oid = setrole "
            "JOIN pg_database d ON d.oid = setdatabase WHERE datname = %s",
            [database],
        ):
            yield f"settings of {role}", settings


def make_roles(server: PostgreSQLServer) -> None:
    """The roles of an application, of strangers and of the sync, where they are not there yet."""
    if SYNC_ROLE in server.roles():
        return
    for role in (OWNER, SECOND_OWNER, READER, STRANGER, POWERLESS):
        server.create_role(role, SECRET)
    server.create_sync_role(SECRET, member_of=[OWNER, SECOND_OWNER])


def _copies(database: str) -> dict[str, str]:
    return {
        "live": database,
        **{copy: f"{database}__{copy}" for copy in ("incoming", "previous", "outgoing", "replaced")},
    }


def _reading(connection: psycopg.Connection[tuple[Any, ...]]) -> Reading:
    row = connection.execute(READ).fetchone()
    assert row
    return Reading(row[0] or "", row[1], row[2])


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def _for_version(text: str, version: int) -> str:
    """SQL without the lines that end in a `-- since` of a later version."""
    lines = [(line, re.search(r"-- since (\d+)$", line)) for line in text.splitlines()]
    return "\n".join(line for line, since in lines if since is None or int(since[1]) <= version)


def _tool(name: str, server: PostgreSQLServer, *arguments: str) -> bytes:
    """What the newest version of a client program prints."""
    program = find_installation("pypi18").bin / name
    done = subprocess.run(
        [program, *arguments, f"--host={server.host}", f"--port={server.port}", f"--username={SUPERUSER}"],
        env={"PGPASSWORD": server.password, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
