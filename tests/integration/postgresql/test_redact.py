"""What a real server says of rows, and that nothing of a row is left in how it is described."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from env_sync.core.redact import describe_database_error, names_in
from sandbox.postgresql import PostgreSQLServer

# Each holds the word that is looked for in any case, and what is special.
VALUES = (
    "carol@secret.example",
    'carol" is "known',
    "carol's 'own'",
    "carol\nERROR:  carol\nDETAIL:  carol",
    "carol\\n\\'carol\\\\",
    "«carol» “carol” 0xCA401",
    "relation carol",
    "<carol",
)


@pytest.fixture
def session(server: PostgreSQLServer) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    server.create_database("app")
    server.execute(
        "CREATE TABLE people (email text PRIMARY KEY, age int NOT NULL,"
        " short varchar(3), CONSTRAINT is_fine CHECK (email <> 'x' || age || 'x'));"
        "CREATE TABLE visits (person text CONSTRAINT known_person REFERENCES people);"
        "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN lower AS text CHECK (VALUE = lower(VALUE));"
        "CREATE VIEW short_people AS SELECT * FROM people WHERE age < 0 WITH CHECK OPTION;"
        "CREATE TABLE source (v text);"
        "CREATE FUNCTION shout(v text, code text) RETURNS int LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION USING ERRCODE = code, MESSAGE = v, DETAIL = v, HINT = v, COLUMN = v,"
        " CONSTRAINT = v, DATATYPE = v, TABLE = v, SCHEMA = v; END $$;"
        "CREATE FUNCTION dynamic(v text) RETURNS int LANGUAGE plpgsql AS"
        " $$ BEGIN EXECUTE 'SELECT ' || v; RETURN 1; END $$",
        database="app",
    )
    with contextlib.closing(server.connect("app")) as session:
        yield session


def error_of(
    session: psycopg.Connection[tuple[object, ...]], statement: str, value: str
) -> psycopg.Error | None:
    """The error of a statement that reads the value from a row, as a transformation does."""
    session.execute("TRUNCATE source")
    session.execute("INSERT INTO source VALUES (%s)", [value])
    try:
        session.execute(sql.SQL(statement))
    except psycopg.Error as error:
        return error
    return None


def described(
    session: psycopg.Connection[tuple[object, ...]], statement: str, value: str, known: str = ""
) -> str:
    error = error_of(session, statement, value)
    assert error is not None
    return describe_database_error(error, names_in(known))


TYPES = (
    "json jsonb uuid mood timestamp date interval inet bytea xml numeric boolean int[] point macaddr tsrange "
    "bit(3) pg_lsn regtype regrole regnamespace regprocedure"
)
CASES = {
    "INSERT INTO people SELECT v, 1 FROM source UNION ALL SELECT v, 2 FROM source": (
        'unique_violation (23505): constraint "people_pkey", table "people", schema "public"'
    ),
    "INSERT INTO people SELECT v FROM source": (
        'not_null_violation (23502): column "age", table "people", schema "public"'
    ),
    "INSERT INTO visits SELECT v FROM source": (
        'foreign_key_violation (23503): constraint "known_person", table "visits", schema "public"'
    ),
    "INSERT INTO people SELECT v, 1, v FROM source": "string_data_right_truncation (22001)",
    "INSERT INTO short_people SELECT v, 1 FROM source": "with_check_option_violation (44000)",
    "SELECT upper(v)::lower FROM source": (
        'check_violation (23514): constraint "lower_check", data type "lower", schema "public"'
    ),
    "SELECT jsonb_path_query('{}', v::jsonpath) FROM source": "",
    "SELECT to_tsquery(v || ' &&& | x') FROM source": "",
    "SELECT ('[1,' || v)::int4range FROM source": "invalid_text_representation (22P02)",
    "SELECT v::regclass FROM source": "",
    "SELECT current_setting(v) FROM source": "",
    "SELECT nextval(v) FROM source": "",
    "SELECT v ~ ('[' || v) FROM source": "invalid_regular_expression (2201B)",
    "SELECT shout(v, 'P0001') FROM source": "raise_exception (P0001); its text is withheld",
    "SELECT shout(v, '42501') FROM source": "insufficient_privilege (42501); its text is withheld",
    "SELECT shout(v, '23505') FROM source": "unique_violation (23505); its text is withheld",
    "SELECT shout(v, 'XX000') FROM source": "internal_error (XX000)",
    "SELECT shout(v, 'ZZ123') FROM source": "error (ZZ123)",
    "SELECT dynamic(v) FROM source": "",
    "SELECT dynamic('1 FROM ' || quote_ident(v)) FROM source": "undefined_table (42P01): relation ",
    "SELECT * FROM (SELECT v::int FROM source) s": "invalid_text_representation (22P02)",
    **{f"SELECT v::{type} FROM source": "" for type in TYPES.split()},
}


@pytest.mark.probe("personal values in errors")
def test_no_value_of_a_row_is_left_in_a_description(session: psycopg.Connection[tuple[object, ...]]) -> None:
    for statement, says in CASES.items():
        found = 0
        for value in VALUES:
            error = error_of(session, statement, value)
            if error is None:
                continue  # this value happens to be valid there
            found += 1
            text = describe_database_error(error, names_in(statement))
            assert says in text
            assert error.sqlstate is not None
            assert error.sqlstate in text
            assert "carol" not in text.lower()
            assert "CA401" not in text
            assert "\n" not in text
        assert found, statement


def test_a_check_constraint_is_named_without_its_row(session: psycopg.Connection[tuple[object, ...]]) -> None:
    statement = "INSERT INTO people SELECT 'x' || 712 || 'x', 712 FROM source"
    assert described(session, statement, "carol") == (
        'check_violation (23514): constraint "is_fine", table "people", schema "public"'
    )


def test_numbers_and_bytes_of_rows_are_not_told(session: psycopg.Connection[tuple[object, ...]]) -> None:
    for statement in (
        "SELECT (v || '000000000')::int FROM source",
        "SELECT convert_from(('\\xe9' || v)::bytea, 'UTF8') FROM source",
        "SELECT chr(v::int * 1000) FROM source",
        "SELECT make_date(v::int, 13, 1) FROM source",
        "SELECT (v || '-13-41')::date FROM source",
    ):
        assert "7127" not in described(session, statement, "7127", statement)


def test_what_is_wrong_with_a_statement_stays(session: psycopg.Connection[tuple[object, ...]]) -> None:
    for statement, says in {
        "SELECT * FROM nowhere": 'undefined_table (42P01): relation "nowhere" does not exist',
        "SELEC 1": 'syntax_error (42601): syntax error at or near "SELEC"',
        "SELECT (1;": 'syntax_error (42601): syntax error at or near ";"',
        "SELECT agee FROM people": 'undefined_column (42703): column "agee" does not exist',
        "DROP TABLE nowhere": 'undefined_table (42P01): table "nowhere" does not exist',
        "ALTER TABLE people ADD COLUMN age int": (
            'duplicate_column (42701): column "age" of relation "people" already exists'
        ),
        "DROP TABLE people": (
            "dependent_objects_still_exist (2BP01): "
            "cannot drop table people because other objects depend on it"
        ),
        "SELECT 1/0": "division_by_zero (22012); its text is withheld, for it quotes values",
    }.items():
        assert described(session, statement, "x", statement) == says


def test_waiting_and_ending_stay(server: PostgreSQLServer) -> None:
    with server.connect() as session:
        session.execute("SET statement_timeout = 50")
        with pytest.raises(psycopg.Error) as raised:
            session.execute("SELECT pg_sleep(60)")
        assert describe_database_error(raised.value) == (
            "query_canceled (57014): canceling statement due to statement timeout"
        )
    session = server.connect()
    server.execute("SELECT pg_terminate_backend(%s)", [session.info.backend_pid])
    with pytest.raises(psycopg.Error) as raised:
        session.execute("SELECT 1")
    assert describe_database_error(raised.value).endswith(
        "terminating connection due to administrator command"
    )


def test_an_error_that_a_role_gets_names_what_it_may_not_do(server: PostgreSQLServer) -> None:
    server.create_role("reader", "secret")
    server.create_database("app")
    server.execute("CREATE TABLE people (id int)", database="app")
    with server.connect("app", "reader", "secret") as session:
        with pytest.raises(psycopg.Error) as raised:
            session.execute("TABLE people")
        assert describe_database_error(raised.value, {"people"}) == (
            "insufficient_privilege (42501): permission denied for table people"
        )
