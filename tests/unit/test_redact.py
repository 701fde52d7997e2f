from __future__ import annotations

import psycopg
import pytest

from env_sync.redact import (
    WITHHELD,
    describe_database_error,
    names_in,
    redact_text,
    redact_tool_line,
    redact_tool_text,
)

KNOWN = frozenset({"people", "public", "people_pkey", "postgres", "email"})


@pytest.mark.parametrize(
    "text",
    [
        'relation "people" already exists',
        'COPY failed for table "people": ERROR:  relation "people" violates check constraint "people_pkey"',
        "could not execute query: ERROR:  permission denied for schema public",
        'duplicate key value violates unique constraint "people_pkey"',
        'null value in column "email" of relation "public.people" violates not-null constraint',
        "ERROR:  must be owner of table people",
        "ERROR:  deadlock detected",
        "ERROR:  canceling statement due to lock timeout",
        "FATAL:  terminating connection due to administrator command",
        "ERROR:  cannot drop table people because other objects depend on it",
        "ERROR:  could not extend file: No space left on device",
        "a worker process died unexpectedly",
    ],
)
def test_the_servers_own_words_and_known_names_stay(text: str) -> None:
    assert redact_text(text, KNOWN) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('invalid input syntax for type integer: "alice"', "invalid input syntax for type integer: "),
        ("invalid input syntax for type integer: »alice«", "invalid input syntax for type integer: "),
        (
            'invalid byte sequence for encoding "UTF8": 0xe9 0x41',
            'invalid byte sequence for encoding "UTF8": ',
        ),
        ('relation "people" has "alice" in "people"', 'relation "people" has '),
        ("bad row alice@example.com", "bad row "),
        ("invalid value 07700900123", "invalid value "),
        ('value "people" is "alice', 'value "people" is "'),
        ("value 'o'brien'", "value "),
        ('FEHLER:  Relation "people"', ""),
    ],
)
def test_from_the_first_unknown_word_on_nothing_stays(text: str, shown: str) -> None:
    assert redact_text(text, KNOWN) == shown + WITHHELD


def test_only_errors_warnings_and_their_entry_stay_of_a_tools_lines() -> None:
    text = """\
pg_restore: creating TABLE "public.people"
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 2577; 0 16389 TABLE DATA people postgres
pg_restore: error: COPY failed for table "people": ERROR:  invalid input syntax for type integer: "alice"
DETAIL:  Key (email)=(alice) already exists.
CONTEXT:  COPY people, line 1, column n: "alice"
HINT:  alice
LINE 1: alice
Command was: INSERT INTO people VALUES ('alice');
pg_restore: detail: Query was: alice
pg_restore: warning: errors ignored on restore: 11"""
    assert redact_tool_text(text, KNOWN).split("\n") == [
        "pg_restore: from TOC entry 2577: TABLE DATA people postgres",
        'pg_restore: error: COPY failed for table "people": ERROR:  invalid input syntax for type integer: '
        + WITHHELD,
    ]


def test_a_row_that_looks_like_a_tools_line_is_masked_all_the_same() -> None:
    for row in ("pg_restore: alice", "pg_restore: error: alice", "pg_restore: from TOC entry 1; 0 0 alice"):
        assert "alice" not in (redact_tool_line(row, KNOWN) or "")


def test_what_the_server_said_to_pg_dump_stays() -> None:
    line = "pg_dump: detail: Error message from server: ERROR:  permission denied for table people"
    assert redact_tool_line(line, KNOWN) == "pg_dump: detail: ERROR:  permission denied for table people"


def test_names_of_a_statement() -> None:
    assert names_in('UPDATE "odd ""name" SET email = NULL') >= {'odd "name', "UPDATE", "email"}


def test_errors_of_the_driver_do_not_quote_values() -> None:
    assert "alice" not in describe_database_error(psycopg.DataError("can't parse date 'alice'"))
    assert describe_database_error(psycopg.OperationalError("the connection is lost\nmore")) == (
        "OperationalError: the connection is lost"
    )
