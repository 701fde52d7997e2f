from __future__ import annotations

from pathlib import Path

import pytest

from env_sync.core.errors import TransformationFailed
from env_sync.engines.postgresql.transformation import read_script, tokens

FILE = Path("redact.sql")
ATOMIC = """CREATE FUNCTION f() RETURNS int BEGIN ATOMIC
SELECT 1; SELECT CASE WHEN true THEN 1 END;
END;
SELECT 4;"""


def lines(text: str) -> list[int]:
    script = read_script(FILE, text.encode())
    return [script.line_at(begin) for begin in script.statements]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n-- nothing\n/* nor /* here; */ ; */;;\n", []),
        ("SELECT 1;\nSELECT 2", [1, 2]),
        ("\n\n-- first\nSELECT\n1;;\nSELECT 2;", [4, 6]),
        ("SELECT ';' || \";\" || E'\\';' || U&'x;';\nSELECT 2;", [1, 2]),
        ("SELECT 'a''b;c';\nSELECT 2;", [1, 2]),
        ("DO $$ BEGIN; END; $$;\nDO $x$ $$ ; $$ $x$;\nSELECT a$b$, 1; SELECT 3", [1, 2, 3, 3]),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);\nSELECT 3;", [1, 2]),
        (ATOMIC, [1, 4]),
        ("BEGIN;\nSELECT 1;\nEND;", [1, 2, 3]),
        ("SELECT 'é', 'no end;\nSELECT 2;", [1, 2]),
        ("SELECT $1, 5$2;\nSELECT 2", [1, 2]),
    ],
)
def test_statements_are_found_where_they_begin(text: str, expected: list[int]) -> None:
    assert lines(text) == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"SELECT 1;\n\\i other.sql", r"redact\.sql, line 2: commands of psql"),
        (b"SELECT 1 \\gexec", "line 1: commands of psql"),
        (b'\nCOPY t (a, "b") FROM\nSTDIN;', "line 3: COPY"),
        (b"copy t from stdin with (format csv)", "line 1: COPY"),
        (b"SELECT 1;\nSELECT '\xff';", "line 2: this is not UTF-8"),
        (b"SELECT 1;\n\0", "line 2: there is a NUL"),
    ],
)
def test_what_only_psql_can_run_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(TransformationFailed, match=reason):
        read_script(FILE, content)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT '\\i', \"\\i\", $$ \\i $$; -- \\i\n/* \\i */",
        "COPY t FROM '/tmp/stdin'",
        "SELECT 'COPY t FROM stdin'",
        "SELECT a FROM stdin",
    ],
)
def test_what_only_looks_like_it_is_not(text: str) -> None:
    assert read_script(FILE, text.encode()).text == text


OUTSIDE = "reaches out of the copy"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELECT 1;\nalter database app set role = x", rf"line 2: ALTER DATABASE APP cannot .*{OUTSIDE}"),
        ("ALTER /* in */ -- all\n ROLE env_sync SET search_path = x", OUTSIDE),
        ("CREATE USER x", OUTSIDE),
        ("DROP ROLE x", OUTSIDE),
        ("ALTER SYSTEM SET fsync = off", OUTSIDE),
        ("CREATE SERVER s FOREIGN DATA WRAPPER w", OUTSIDE),
        ("CREATE USER MAPPING FOR x SERVER s", OUTSIDE),
        ("COMMENT ON DATABASE app IS 'proof'", OUTSIDE),
        ("REASSIGN OWNED BY x TO y", OUTSIDE),
        ("GRANT pg_read_all_data TO x", "on the server is not changed"),
        ("REVOKE CONNECT ON DATABASE app FROM x", "on the server is not changed"),
        ("GRANT USAGE ON FOREIGN SERVER s TO x", "on the server is not changed"),
        ("GRANT SET ON PARAMETER row_security TO x", "on the server is not changed"),
        ("SET row_security = on", "row_security stays off"),
        ('SET LOCAL "row_security" TO DEFAULT', "row_security stays off"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql SET row_security = on AS 'SELECT 1'", "stays off"),
        ("ALTER FUNCTION f() SET row_security = on", "stays off"),
        (
            "SELECT 1;\nDO $$ BEGIN IF true THEN\nALTER ROLE x LOGIN; END IF; END $$",
            f"line 2: .*{OUTSIDE}",
        ),
        ("DO 'BEGIN DROP DATABASE app; END'", OUTSIDE),
        ("DO $$ BEGIN EXECUTE 'ALTER ROLE x SUPERUSER'; END $$", OUTSIDE),
        ("DO $$ BEGIN EXECUTE format($q$GRANT x TO %I$q$, 'y'); END $$", "on the server is not changed"),
        ("CREATE OR REPLACE PROCEDURE p() LANGUAGE plpgsql AS $x$ BEGIN CREATE ROLE x; END $x$", OUTSIDE),
        ("DO $$ BEGIN SET row_security = on; END $$", "row_security stays off"),
    ],
)
def test_what_reaches_out_of_the_copy_is_refused(text: str, reason: str) -> None:
    with pytest.raises(TransformationFailed, match=f"(?s){reason}"):
        read_script(FILE, text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "GRANT SELECT ON TABLE app.people TO reader; REVOKE ALL ON ALL TABLES IN SCHEMA app FROM PUBLIC",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader",
        "SET row_security = off; SET LOCAL row_security TO false",
        "SELECT 'ALTER ROLE x', \"alter role\" FROM t; INSERT INTO t VALUES ('drop database x')",
        "CREATE TABLE t (note text DEFAULT 'create user x')",
        "DO $$ BEGIN UPDATE t SET \"grant\" = 'Create user', role = user; RAISE NOTICE 'drop role'; END $$",
        "DO $$ BEGIN EXECUTE 'UPDATE t SET a = 1'; GRANT SELECT ON t TO x; END $$",
        "ALTER TABLE t ADD COLUMN database int, ADD role text",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = app AS 'SELECT 1'",
    ],
)
def test_what_stays_in_the_copy_is_not(text: str) -> None:
    assert read_script(FILE, text.encode()).text == text


def test_a_byte_order_mark_is_no_part_of_it() -> None:
    assert read_script(FILE, "\ufeffSELECT 1".encode()).text == "SELECT 1"


def test_the_parts_are_the_statements_with_what_follows_them() -> None:
    script = read_script(FILE, b"-- x\nSELECT 1; -- one\nDO $$ ; $$;")
    assert list(script.parts()) == [(5, "SELECT 1; -- one\n"), (22, "DO $$ ; $$;")]
    assert list(read_script(FILE, b"-- nothing").parts()) == []


def test_tokens_are_what_means_something() -> None:
    text = 'SELECT -- no\n "A b".c /* /* */ */, $x$ ; $x$ ;'
    assert [(token.kind, token.text) for token in tokens(text)] == [
        ("word", "SELECT"),
        ("identifier", '"A b"'),
        ("other", "."),
        ("word", "c"),
        ("other", ","),
        ("dollar", "$x$ ; $x$"),
        ("semicolon", ";"),
    ]
    assert all(text[token.start : token.end] == token.text for token in tokens(text))
