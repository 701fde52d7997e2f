from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import (
    AccessRefused,
    Cancelled,
    ContentRefused,
    DiskFull,
    EnvSyncError,
    NoSuchDatabase,
    ServerUnreachable,
    ToolMissing,
)
from env_sync.core.secret import Secret
from sandbox.postgresql import PostgreSQLServer
from sandbox.process import wait_for
from tests.integration.postgresql.tools import Steps, connection, dump, read, verify
from tests.lacking import lacks

SECRET_ROW = "alice@secret.example"


@pytest.fixture
def server18(postgresql18: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    yield postgresql18
    postgresql18.clear()


def fill(server: PostgreSQLServer, database: str) -> None:
    server.create_database(database)
    server.execute(
        "CREATE TABLE people (id int PRIMARY KEY, email text);"
        f"INSERT INTO people SELECT n, '{SECRET_ROW}' FROM generate_series(1, 2000) n;"
        "CREATE TABLE visits (id int); CREATE SCHEMA log; CREATE TABLE log.visits (id int);"
        'CREATE TABLE "Odd" (id int);',
        database=database,
    )


def test_a_dump_is_whole_and_of_the_servers_version(server: PostgreSQLServer, tmp_path: Path) -> None:
    fill(server, "app")
    to = tmp_path / "dump.gz"
    progress = Steps()
    facts = dump(server, "app", to, progress=progress)
    assert facts.engine_version.startswith(f"{server.version}.")
    assert facts.server_version == facts.engine_version
    assert facts.started < facts.finished
    assert progress.told[-1] == to.stat().st_size
    assert progress.finished
    assert to.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["dump.gz"]
    verify(to)
    assert read(to).server_version == facts.server_version


@pytest.mark.parametrize(
    "name", ["a=b c", "postgresql://elsewhere/x", "dbname=postgres host=evil", "q'u\"o\\te", "-v", "Ünï code"]
)
@pytest.mark.probe("names with quotes, percent signs and line breaks")
def test_a_databases_name_is_a_name_and_nothing_else(
    server18: PostgreSQLServer, tmp_path: Path, name: str
) -> None:
    fill(server18, name)
    dump(server18, name, tmp_path / "dump")
    archive = read(tmp_path / "dump")
    assert archive.database == name
    assert "people" in {entry.name for entry in archive.entries}


def test_excluded_tables_are_patterns(server18: PostgreSQLServer, tmp_path: Path) -> None:
    fill(server18, "app")
    excluded = ["log.*", '"Odd"', "People", "no_such_table"]
    facts = dump(server18, "app", tmp_path / "dump", excluded_tables=excluded)
    archive = read(tmp_path / "dump")
    assert {f"{e.schema}.{e.name}" for e in archive.entries if e.type == "TABLE"} == {"public.visits"}
    [warning] = facts.warnings
    assert "excluded_tables has no_such_table, and nothing of app is called so" in warning


PARTITIONED = """
CREATE TABLE events (id int, at date, who text) PARTITION BY RANGE (at);
CREATE TABLE log.events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
    PARTITION BY RANGE (at);
CREATE TABLE log."Half ""of"" it" PARTITION OF log.events_2025
    FOR VALUES FROM ('2025-01-01') TO ('2025-07-01');
INSERT INTO events VALUES (1, '2025-02-02', 'real.person@home.example');
CREATE TABLE base (note text);
CREATE TABLE inheriting () INHERITS (base);
INSERT INTO inheriting VALUES ('another.person@home.example');
"""


def test_what_belongs_to_an_excluded_table_is_left_out_with_it(
    server18: PostgreSQLServer, tmp_path: Path
) -> None:
    fill(server18, "app")
    server18.execute(PARTITIONED, database="app")
    excluded = ["events", "base"]
    facts = dump(server18, "app", tmp_path / "dump", compression="none", excluded_tables=excluded)
    content = (tmp_path / "dump").read_bytes()
    assert SECRET_ROW.encode() in content
    assert b"person@home" not in content
    assert {e.name for e in read(tmp_path / "dump").entries if e.type == "TABLE"} == {
        "people",
        "visits",
        "Odd",
    }
    assert facts.warnings == ()


NEEDING = [
    (
        "CREATE TABLE uses (id int PRIMARY KEY, s int REFERENCES sessions)",
        "constraint uses_s_fkey on table uses",
    ),
    ("CREATE VIEW seen AS SELECT id FROM sessions", "view seen"),
    ("CREATE MATERIALIZED VIEW stored AS SELECT id FROM sessions", "view stored"),
    ("CREATE FUNCTION one() RETURNS sessions LANGUAGE sql AS 'SELECT NULL::sessions'", r"function one\(\)"),
    ("CREATE TABLE holds (s sessions[])", "table holds"),
    (
        "CREATE TABLE kept (id int); CREATE POLICY p ON kept USING (id IN (SELECT id FROM sessions))",
        "policy p on table kept",
    ),
]


@pytest.mark.parametrize(("needing", "said"), NEEDING)
def test_what_is_needed_by_the_rest_cannot_be_left_out(
    server18: PostgreSQLServer, tmp_path: Path, needing: str, said: str
) -> None:
    server18.create_database("app")
    server18.execute(f"CREATE TABLE sessions (id int PRIMARY KEY); {needing}", database="app")
    with pytest.raises(ContentRefused, match=rf"needs it: {said} \(needs sessions\)\. Exclude those"):
        dump(server18, "app", tmp_path / "dump", excluded_tables=["sessions"])
    assert list(tmp_path.iterdir()) == []
    # With what needs it, it can.
    excluded = ["sessions", "uses", "seen", "stored", "holds", "kept"]
    if "function" not in said:
        dump(server18, "app", tmp_path / "dump", excluded_tables=excluded)


def test_what_is_needed_within_an_excluded_tree_is_no_matter(
    server18: PostgreSQLServer, tmp_path: Path
) -> None:
    """Keys and triggers of partitions, sequences, defaults and the tables' own constraints."""
    server18.create_database("app")
    server18.execute(
        "CREATE TABLE sessions (id serial, k int CHECK (k > 0), PRIMARY KEY (id)) PARTITION BY RANGE (id); "
        "CREATE TABLE s1 PARTITION OF sessions FOR VALUES FROM (1) TO (9); "
        "CREATE TABLE uses (id int REFERENCES sessions) PARTITION BY RANGE (id); "
        "CREATE TABLE u1 PARTITION OF uses FOR VALUES FROM (1) TO (9); "
        "CREATE TABLE kept (id int)",
        database="app",
    )
    dump(server18, "app", tmp_path / "dump", excluded_tables=["sessions", "uses"])
    assert {e.name for e in read(tmp_path / "dump").entries if e.type == "TABLE"} == {"kept"}
    # A partition of a table that stays may be left out: rows of it are not dumped.
    dump(server18, "app", tmp_path / "dump", excluded_tables=["s1", "u1"])


def test_compression_is_as_asked(server18: PostgreSQLServer, tmp_path: Path) -> None:
    fill(server18, "app")
    for compression in ("none", "gzip:1", "gzip:9"):
        dump(server18, "app", tmp_path / compression, compression=compression)
    assert SECRET_ROW.encode() in (tmp_path / "none").read_bytes()
    assert SECRET_ROW.encode() not in (tmp_path / "gzip:1").read_bytes()
    sizes = [(tmp_path / name).stat().st_size for name in ("none", "gzip:1", "gzip:9")]
    assert sizes == sorted(sizes, reverse=True)


def test_subscriptions_with_their_passwords_are_not_in_a_dump(
    server18: PostgreSQLServer, tmp_path: Path
) -> None:
    fill(server18, "app")
    server18.execute(
        "CREATE SUBSCRIPTION feed CONNECTION 'host=prod password=planted' PUBLICATION p "
        "WITH (connect = false)",
        database="app",
    )
    try:
        dump(server18, "app", tmp_path / "dump")
    finally:
        server18.execute("ALTER SUBSCRIPTION feed SET (slot_name = NONE)", database="app")
        server18.execute("DROP SUBSCRIPTION feed", database="app")
    assert b"planted" not in (tmp_path / "dump").read_bytes()


@pytest.mark.parametrize(
    ("database", "changed", "error", "says"),
    [
        ("nowhere", {}, NoSuchDatabase, "has no database nowhere"),
        ("app", {"password": Secret("wrong secret")}, AccessRefused, "password authentication failed"),
        ("app", {"login": "nobody"}, AccessRefused, "refused role nobody"),
        ("app", {"port": 1}, ServerUnreachable, "127.0.0.1:1 could not be reached"),
        ("app", {"host": "no-such-host.invalid"}, ServerUnreachable, "no-such-host.invalid"),
    ],
)
def test_what_is_wrong_with_a_connection_is_told(
    server18: PostgreSQLServer,
    tmp_path: Path,
    database: str,
    changed: dict[str, Any],
    error: type[EnvSyncError],
    says: str,
) -> None:
    fill(server18, "app")
    with pytest.raises(error) as raised:
        dump(server18, database, tmp_path / "dump", connection=connection(server18, **changed))
    assert says in str(raised.value)
    assert "wrong secret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert list(tmp_path.iterdir()) == []


def test_a_role_that_may_not_read_all_is_told_what_it_lacks(
    server18: PostgreSQLServer, tmp_path: Path
) -> None:
    fill(server18, "app")
    server18.create_role("reader", "secret")
    reader = connection(server18, login="reader", password=Secret("secret"))
    with pytest.raises(AccessRefused, match="permission denied for table") as raised:
        dump(server18, "app", tmp_path / "dump", connection=reader)
    assert "Role reader may not read all of app" in str(raised.value)
    server18.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public, log TO reader", database="app")
    server18.execute("GRANT USAGE ON SCHEMA log TO reader", database="app")
    server18.execute("ALTER TABLE people ENABLE ROW LEVEL SECURITY", database="app")
    with pytest.raises(AccessRefused, match="Row security hides rows"):
        dump(server18, "app", tmp_path / "dump", connection=reader)
    assert list(tmp_path.iterdir()) == []


def test_no_tools_for_the_server_names_what_to_install(
    server18: PostgreSQLServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(server18, "app")
    old = tmp_path / "old"
    old.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (old / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 13.2'\n")
        (old / name).chmod(0o755)
    folder = "env_sync.engines.postgresql.client_tools._folders"
    monkeypatch.setattr(folder, lambda: iter([old]))
    with pytest.raises(ToolMissing) as raised:
        dump(server18, "app", tmp_path / "dump")
    for part in ("PostgreSQL 18", f"13.2 in {old}", "apt-get install postgresql-client-18"):
        assert part in str(raised.value)


def test_a_full_disk_is_told_with_its_folder_and_nothing_stays(
    server18: PostgreSQLServer, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        lacks("only root can make a small disk")
    try:
        server18.create_database("app")
        server18.execute(
            "CREATE TABLE t AS SELECT md5(n::text) FROM generate_series(1, 20000) n", database="app"
        )
        with pytest.raises(DiskFull) as raised:
            dump(server18, "app", small / "dump", compression="none")
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert f"not enough space in {small} for dump" in str(raised.value)
    assert "0 MB are free" in str(raised.value)


def sessions(server: PostgreSQLServer, name: str) -> int:
    [(count,)] = server.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [name])
    return int(count)


def test_a_cancelled_dump_leaves_no_file_and_no_session(server18: PostgreSQLServer, tmp_path: Path) -> None:
    fill(server18, "app")
    cancellation = Cancellation()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            dump(
                server18,
                "app",
                tmp_path / "dump",
                cancellation=cancellation,
                application_name="env_sync test",
            )
        except EnvSyncError as error:
            errors.append(error)

    with server18.connect("app", autocommit=False) as lock:
        lock.execute("LOCK TABLE people")
        thread = threading.Thread(target=work)
        thread.start()
        # Its own look at the server has ended by then, and pg_dump waits.
        waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
        wait_for(lambda: server18.execute(waiting, ["env_sync test"]), "pg_dump to wait")
        assert (tmp_path / "dump.part").exists()
        cancellation.cancel()
        thread.join()
    assert [type(error) for error in errors] == [Cancelled]
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    wait_for(lambda: sessions(server18, "env_sync test") == 0, "the session to end")


def test_a_server_that_goes_away_half_way_is_told(server18: PostgreSQLServer, tmp_path: Path) -> None:
    fill(server18, "app")
    errors: list[BaseException] = []

    def work() -> None:
        try:
            dump(server18, "app", tmp_path / "dump", application_name="env_sync test")
        except EnvSyncError as error:
            errors.append(error)

    with server18.connect("app", autocommit=False) as lock:
        lock.execute("LOCK TABLE people")
        thread = threading.Thread(target=work)
        thread.start()
        ended = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = %s AND wait_event_type = 'Lock'"
        )
        wait_for(lambda: server18.execute(ended, ["env_sync test"]), "pg_dump to wait")
        thread.join()
    assert [type(error) for error in errors] == [ServerUnreachable]
    assert "lost half-way" in str(errors[0])
    assert os.listdir(tmp_path) == []  # noqa: PTH208
