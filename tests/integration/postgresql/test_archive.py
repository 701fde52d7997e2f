from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from env_sync.core.errors import DumpDamaged
from env_sync.engines.postgresql.archive import Locale
from sandbox.postgresql import PostgreSQLServer
from tests.integration.postgresql.tools import Steps, dump, read, verify


@pytest.fixture
def server18(postgresql18: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    yield postgresql18
    postgresql18.clear()


def test_entries_have_their_exact_names_and_dependencies(server: PostgreSQLServer, tmp_path: Path) -> None:
    server.create_role("odd owner", "secret")
    server.create_database("app")
    server.execute(
        'CREATE SCHEMA "we ird";'
        'CREATE TABLE "we ird"."na me; Type: x" (id serial PRIMARY KEY, "Co""l" text);'
        'ALTER TABLE "we ird"."na me; Type: x" OWNER TO "odd owner";'
        'CREATE VIEW v AS SELECT id FROM "we ird"."na me; Type: x"; CREATE VIEW v2 AS SELECT * FROM v;'
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$\n--\n-- TOC entry 1 (class 1 OID 1)\n--\n$$;"
        'ALTER TABLE "we ird"."na me; Type: x" ENABLE ROW LEVEL SECURITY;'
        'CREATE POLICY p ON "we ird"."na me; Type: x" TO "odd owner" USING (id > 3);',
        database="app",
    )
    dump(server, "app", tmp_path / "dump")
    archive = read(tmp_path / "dump")
    assert archive.database == "app"
    assert archive.server_version.startswith(f"{server.version}.")
    by_type = {entry.type: entry for entry in archive.entries}
    table, data = by_type["TABLE"], by_type["TABLE DATA"]
    for entry in (table, data):
        assert (entry.schema, entry.name, entry.owner) == ("we ird", "na me; Type: x", "odd owner")
    views = {entry.name: entry for entry in archive.entries if entry.type == "VIEW"}
    assert table.dump_id in views["v"].dependencies
    assert views["v"].dump_id in views["v2"].dependencies
    assert table.dump_id in data.dependencies
    assert by_type["SCHEMA"].name == "we ird"
    assert by_type["POLICY"].definition.startswith('CREATE POLICY p ON "we ird"."na me; Type: x"')
    assert by_type["POLICY"].definition.endswith("USING ((id > 3));")
    assert {"na me; Type: x", "we ird", 'Co"l', "id", "v2", "odd owner", "app"} <= archive.names
    ids = [entry.dump_id for entry in archive.entries]
    assert len(ids) == len(set(ids))


def test_the_last_entry_has_nothing_of_what_follows_it(server: PostgreSQLServer, tmp_path: Path) -> None:
    server.create_database("app")
    server.execute(
        "CREATE TABLE t (id int); CREATE POLICY z ON t USING (id > 1)",
        database="app",
    )
    dump(server, "app", tmp_path / "dump")
    last = read(tmp_path / "dump").entries[-1]
    assert (last.type, last.definition) == ("POLICY", "CREATE POLICY z ON public.t USING ((id > 1));")


def test_locale_is_as_the_database_was_made(server: PostgreSQLServer, tmp_path: Path) -> None:
    made = {
        "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'": Locale(
            encoding="UTF8", collate="C", ctype="C.UTF-8", provider="libc", provider_locale="", icu_rules=""
        ),
        "ENCODING 'LATIN1' LOCALE 'C'": Locale(
            encoding="LATIN1", collate="C", ctype="C", provider="libc", provider_locale="", icu_rules=""
        ),
    }
    if server.version == 15:
        made["LOCALE_PROVIDER icu ICU_LOCALE 'de'"] = Locale(
            encoding="UTF8",
            collate="C.UTF-8",
            ctype="C.UTF-8",
            provider="icu",
            provider_locale="de",
            icu_rules="",
        )
    if server.version >= 17:
        made["LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"] = Locale(
            encoding="UTF8",
            collate="C.UTF-8",
            ctype="C.UTF-8",
            provider="builtin",
            provider_locale="C.UTF-8",
            icu_rules="",
        )
    for number, (options, locale) in enumerate(made.items()):
        server.execute(f"CREATE DATABASE app{number} TEMPLATE template0 {options}")
        dump(server, f"app{number}", tmp_path / f"{number}")
        assert read(tmp_path / f"{number}").locale == locale


@pytest.fixture
def dumped(server18: PostgreSQLServer, tmp_path: Path) -> Path:
    server18.create_database("app")
    server18.execute(
        "CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 3000) n;"
        "SELECT lo_from_bytea(0, 'x')",
        database="app",
    )
    dump(server18, "app", tmp_path / "dump")
    return tmp_path / "dump"


def test_a_whole_archive_is_verified_with_progress(dumped: Path) -> None:
    progress = Steps()
    verify(dumped, progress=progress)
    assert (progress.total, progress.unit) == (dumped.stat().st_size, "bytes")
    assert progress.told[-1] == progress.total
    assert progress.finished


def test_half_an_archive_is_damaged_wherever_it_ends(dumped: Path, tmp_path: Path) -> None:
    whole = dumped.read_bytes()
    half = tmp_path / "half"
    # A listing passes most of these.
    for size in (1, 7, 40, 1000, len(whole) // 2, len(whole) - 200, len(whole) - 2, len(whole) - 1):
        half.write_bytes(whole[:size])
        with pytest.raises(DumpDamaged) as raised:
            verify(half)
        assert "half" in str(raised.value)
    half.write_bytes(whole[: len(whole) // 2])
    assert read(half).database == "app"


def test_flipped_bits_in_the_data_are_damage(dumped: Path, tmp_path: Path) -> None:
    whole = dumped.read_bytes()
    flipped = tmp_path / "flipped"
    for place in (len(whole) // 4, len(whole) // 2, len(whole) * 3 // 4):
        changed = bytearray(whole)
        changed[-place] ^= 0x10
        flipped.write_bytes(changed)
        with pytest.raises(DumpDamaged, match="Download it again"):
            verify(flipped)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"PG", "is not an archive of pg_dump"),
        (b"\x1f\x8b gzip", "is not an archive of pg_dump"),
        (b"-- PostgreSQL database dump\n", "is not an archive of pg_dump"),
        (b"PGDMP\x01\x0e\x00" + b"\x00" * 100, "is damaged or not whole"),
        (b"PGDMP\x01\x0e\x00" + b"\xff" * 100, "is damaged or not whole"),
    ],
)
def test_what_is_not_an_archive_is_damage(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(DumpDamaged, match=says):
        verify(file)
    with pytest.raises(DumpDamaged, match=says):
        read(file)
