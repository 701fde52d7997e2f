from __future__ import annotations

import psycopg
import pytest
from psycopg.pq import DiagnosticField

from env_sync.core.redact import (
    WITHHELD,
    describe_database_error,
    describe_mysql_error,
    names_in,
    redact_mysql_line,
    redact_text,
    redact_tool_line,
    redact_tool_text,
    without_credentials,
)
from env_sync.core.secret import Secret
from env_sync.core.shown_names import NAME_WITHHELD, shown_name

DENIED = "Access denied; you need"
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
pg_restore: warning: errors ignored on restore: 11
pg_restore: warning: cannot restore the archive"""
    assert redact_tool_text(text, KNOWN).split("\n") == [
        "pg_restore: from TOC entry 2577: TABLE DATA people postgres",
        'pg_restore: error: COPY failed for table "people": ERROR:  invalid input syntax for type integer: '
        + WITHHELD,
        "pg_restore: warning: cannot restore the archive",
    ]


def test_a_row_that_looks_like_a_tools_line_is_masked_all_the_same() -> None:
    for row in ("pg_restore: alice", "pg_restore: error: alice", "pg_restore: from TOC entry 1; 0 0 alice"):
        assert "alice" not in (redact_tool_line(row, KNOWN) or "")


def test_what_the_server_said_to_pg_dump_stays() -> None:
    line = "pg_dump: detail: Error message from server: ERROR:  permission denied for table people"
    assert redact_tool_line(line, KNOWN) == "pg_dump: detail: ERROR:  permission denied for table people"


def test_names_of_a_statement() -> None:
    assert names_in('UPDATE "odd ""name" SET email = NULL') >= {'odd "name', "UPDATE", "email"}


def error(state: str, text: str = "alice", **diagnosis: str) -> psycopg.Error:
    """An error as the server tells it, with what it gives besides the text."""
    given = {"sqlstate": state, "message_primary": text, **diagnosis}
    info: dict[int, bytes | None] = {
        DiagnosticField[name.upper()]: value.encode() for name, value in given.items()
    }
    try:
        return psycopg.errors.lookup(state)(text, info=info)
    except KeyError:
        return psycopg.DatabaseError(text, info=info)


@pytest.mark.parametrize(
    ("state", "condition", "text"),
    [
        ("08006", "connection_failure", "connection lost"),
        ("0A000", "feature_not_supported", "cannot copy from view people"),
        ("25006", "read_only_sql_transaction", "cannot execute UPDATE in a read only transaction"),
        ("28P01", "invalid_password", 'password authentication failed for user "people"'),
        ("2BP01", "dependent_objects_still_exist", "cannot drop table people"),
        ("2D000", "invalid_transaction_termination", "cannot commit while a subtransaction is running"),
        ("3B001", "invalid_savepoint_specification", 'savepoint "people" does not exist'),
        ("3D000", "invalid_catalog_name", 'database "people" does not exist'),
        ("3F000", "invalid_schema_name", 'schema "public" does not exist'),
        ("40P01", "deadlock_detected", "deadlock detected"),
        ("42501", "insufficient_privilege", "permission denied for table people"),
        ("53300", "too_many_connections", "too many connections for role people"),
        ("54001", "statement_too_complex", "stack limit exceeded"),
        ("55P03", "lock_not_available", "canceling statement due to lock timeout"),
        ("57P01", "admin_shutdown", "terminating connection due to administrator command"),
        ("58P01", "undefined_file", "could not access file: no such file"),
    ],
)
def test_what_is_said_of_sessions_and_the_server_stays(state: str, condition: str, text: str) -> None:
    assert describe_database_error(error(state, text), KNOWN) == f"{condition} ({state}): {text}"


def test_a_text_that_stays_is_one_line_and_ends_at_the_first_value() -> None:
    said = describe_database_error(error("42703", 'column "email" of\nrelation alice'), KNOWN)
    assert said == f'undefined_column (42703): column "email" of relation {WITHHELD}'
    # What the server names beside the text is known as well.
    named = error(
        "42703", 'column "age" of relation "visits" does not exist', column_name="age", table_name="visits"
    )
    assert describe_database_error(named) == (
        'undefined_column (42703): column "age" of relation "visits" does not exist'
    )
    assert describe_database_error(error("42000", "")) == "syntax_error_or_access_rule_violation (42000): "


def test_names_take_the_place_of_a_text_that_quotes_values() -> None:
    named = error(
        "23514",
        constraint_name="is_fine",
        column_name="age",
        datatype_name="percent",
        table_name="people",
        schema_name="public",
    )
    assert describe_database_error(named) == (
        'check_violation (23514): constraint "is_fine", column "age", data type "percent", table "people", '
        'schema "public"'
    )
    assert describe_database_error(error("23505", table_name="people")) == (
        'unique_violation (23505): table "people"'
    )
    assert describe_database_error(error("22P02")) == (
        "invalid_text_representation (22P02); its text is withheld, for it quotes values"
    )


@pytest.mark.parametrize(
    ("raised", "condition"),
    [
        (error("P0001", table_name="alice"), "raise_exception (P0001)"),
        (error("XX000", table_name="alice"), "internal_error (XX000)"),
        (error("42501", source_function="exec_stmt_raise"), "insufficient_privilege (42501)"),
        (error("23505", source_function="exec_stmt_raise", table_name="alice"), "unique_violation (23505)"),
    ],
)
def test_nothing_stays_of_what_a_function_of_a_user_may_have_said(
    raised: psycopg.Error, condition: str
) -> None:
    assert describe_database_error(raised, {"alice"}) == (
        f"{condition}; its text is withheld, for it may quote values of rows"
    )


def test_a_condition_without_a_name_is_told_by_its_code() -> None:
    assert describe_database_error(error("ZZ123")) == (
        "error (ZZ123); its text is withheld, for it quotes values"
    )


def test_errors_of_the_driver_do_not_quote_values() -> None:
    assert describe_database_error(psycopg.DataError("can't parse date 'alice'")) == (
        "DataError; its text is withheld, for it may quote values"
    )
    assert describe_database_error(psycopg.OperationalError("the connection is lost\nmore")) == (
        "OperationalError: the connection is lost"
    )
    assert describe_database_error(psycopg.InterfaceError(" \nthe connection is closed\n")) == (
        "InterfaceError: the connection is closed"
    )
    assert describe_database_error(psycopg.OperationalError()) == "OperationalError: no text"


# MySQL


@pytest.mark.parametrize(
    ("code", "text", "told"),
    [
        (
            1062,
            "Duplicate entry 'alice@example.com' for key 'users.email'",
            "dup_entry (1062) for key users.email",
        ),
        (1062, "Duplicate entry 'x' for key 'alice@example.com'", "dup_entry (1062)"),
        (1062, "Duplicate entry 'alice'", "dup_entry (1062)"),
        (1586, "Duplicate entry 'alice' for key 'email'", "error (1586) for key email"),
        (
            1064,
            "You have an error ... near 'alice''s' at line 3",
            "parse_error (1064) at line 3 of the statement",
        ),
        (1064, "You have an error near 'alice'", "parse_error (1064)"),
        (
            1292,
            "Truncated incorrect DOUBLE value: 'alice'",
            "truncated_wrong_value (1292); its text is withheld, for it may quote values",
        ),
        (
            1366,
            "Incorrect integer value: 'alice' for column `a`.`b`",
            "truncated_wrong_value_for_field (1366); its text is withheld, for it may quote values",
        ),
        (1644, "alice was here", "error (1644); its text is withheld, for it may quote values"),
        (
            1227,
            "Access denied; you need alice@example.com",
            f"specific_access_denied_error (1227): {DENIED} {WITHHELD}",
        ),
        (
            1054,
            "Unknown column 'emial' in\n'field list'",
            "bad_field_error (1054): Unknown column 'emial' in 'field list'",
        ),
        (2013, "lost connection during query", "cr_server_lost (2013): lost connection during query"),
        (9999, "alice", "error (9999); its text is withheld, for it may quote values"),
        (None, "alice", "error (no number); its text is withheld, for it may quote values"),
        (0, "alice", "error (no number); its text is withheld, for it may quote values"),
    ],
)
def test_an_error_of_mysql_is_told_without_values(code: int | None, text: str, told: str) -> None:
    assert describe_mysql_error(code, text, {"emial"}) == told


@pytest.mark.parametrize(
    "privilege",
    [
        *("SUPER", "PROCESS", "SET USER", "SET_USER_ID", "SET_ANY_DEFINER", "ALLOW_NONEXISTENT_DEFINER"),
        *("SYSTEM_USER", "SYSTEM_VARIABLES_ADMIN", "SESSION_VARIABLES_ADMIN", "CONNECTION_ADMIN"),
        *("SHOW_ROUTINE", "RELOAD", "FLUSH_TABLES", "BINLOG"),
    ],
)
def test_the_privilege_that_is_needed_is_told_where_mysql_denies_something(privilege: str) -> None:
    text = f"{DENIED} (at least one of) the {privilege} privilege(s) for this operation"
    assert describe_mysql_error(1227, text) == f"specific_access_denied_error (1227): {text}"


def test_privileges_are_no_words_of_the_server_elsewhere() -> None:
    assert describe_mysql_error(1054, "SUPER") == f"bad_field_error (1054): {WITHHELD}"


@pytest.mark.parametrize("program", ["mysqldump", "mariadb-dump"])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Got error: 1045: \"Access denied for user 'alice'@'h' (using password: YES)\" when trying",
            f"access_denied_error (1045): Access denied for user {WITHHELD}",
        ),
        (
            "Couldn't execute 'show create table `alice`': Table 'a.b' doesn't exist (1146)",
            f"no_such_table (1146): Table 'a.b' {WITHHELD}",
        ),
        ('Error 1146: "no table b"', "no_such_table (1146): no table b"),
        ("Error: 'access denied' alice", f"access denied' {WITHHELD}"),
        ("Couldn't find table: alice", f"{WITHHELD}"),
        ("cannot read table b", "cannot read table b"),
    ],
)
def test_lines_of_mysqldump_are_told_without_values(program: str, said: str, told: str) -> None:
    assert redact_mysql_line(f"{program}: {said}", {"a", "b"}) == f"{program}: {told}"


@pytest.mark.parametrize("line", ["alice@example.com", "INSERT: mysqldump: table", ""])
def test_a_line_that_is_not_mysqldumps_own_is_dropped(line: str) -> None:
    assert redact_mysql_line(line) is None


def test_a_name_that_may_be_a_value_is_withheld() -> None:
    """Somebody called a constraint like a row, or a table like a customer."""
    for name in ("ada@home.example", "Ada Lovelace", "+44 20 7946 0000", "customer_20794600", "Änne", "a'b"):
        named = error("23514", constraint_name=name, table_name="people")
        assert describe_database_error(named) == (
            f'check_violation (23514): constraint {NAME_WITHHELD}, table "people"'
        )
        assert shown_name(name) == NAME_WITHHELD
        assert describe_mysql_error(1062, f"Duplicate entry 'x' for key '{name}'") == "dup_entry (1062)"
        # A name that stands in the statement is told.
        assert name in describe_database_error(named, [name])
        text = f'constraint "{name}" for relation "people" already exists'
        assert name not in describe_database_error(error("42710", text, constraint_name=name), KNOWN)
    assert shown_name("public.people_email_key") == "public.people_email_key"


def test_what_a_statement_made_at_run_time_is_called_by_known_words_alone() -> None:
    known = {"people", "email"}
    for name, shown in (
        ("people_email_key", True),
        ("people_pkey", True),
        ("people_email_idx1", False),
        ("Ann", False),
        ("people_Ann_key", False),
        ("email", True),
    ):
        named = error("23505", constraint_name=name, table_name="people")
        assert (name in describe_database_error(named, known, strict=True)) is shown
        assert name in describe_database_error(named, known)
        duplicate = f"Duplicate entry 'x' for key 'people.{name}'"
        assert (name in describe_mysql_error(1062, duplicate, known, strict=True)) is shown
        exists = error("42P07", f'relation "{name}" already exists', table_name=name)
        assert (name in describe_database_error(exists, known, strict=True)) is shown
        assert name in describe_database_error(exists, known)


def test_a_text_without_credentials() -> None:
    secret = Secret("hunter2")
    assert without_credentials("a hunter2 b hunter2", secret) == "a *** b ***"
    assert (
        without_credentials("at https://u:hunter2@h/x and more", Secret("")) == "at https://***@h/x and more"
    )
    assert without_credentials("at https://u:pa/ss?x@h/x") == "at https://***@h/x"
    assert without_credentials("nothing of it") == "nothing of it"
