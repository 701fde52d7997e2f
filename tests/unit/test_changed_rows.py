"""What is told of the statements of transformations."""

from __future__ import annotations

import pytest

from env_sync.domain.changed_rows import (
    MOST,
    Changed,
    ChangedRows,
    not_named,
    statement_name,
    temporary_tables,
)


def changed(what: str, rows: int, **fields: bool) -> Changed:
    return Changed(file="sanitise.sql", line=12, what=what, rows=rows, **fields)


def test_a_statement_tells_where_it_stands_and_its_rows() -> None:
    assert str(changed("UPDATE users", 4000)) == "sanitise.sql:12 UPDATE users: 4,000 rows"
    assert str(changed("DELETE sessions", 1)) == "sanitise.sql:12 DELETE sessions: 1 row"


@pytest.mark.parametrize(
    "what", ["UPDATE users", "DELETE users", "MERGE users", "update_by_query users", "aggregate users"]
)
def test_one_that_changed_nothing_is_a_warning_by_name(what: str) -> None:
    told = ChangedRows()
    told.add(changed(what, 0))
    [warning] = told.take().warnings
    assert warning.startswith(f"sanitise.sql:12 {what} changed no row")


def test_no_warning_where_there_need_be_nothing_to_change() -> None:
    told = ChangedRows()
    for each in (
        changed("UPDATE users", 1),
        changed("INSERT users", 0),
        changed("UPDATE users", 0, may_find_none=True),
    ):
        told.add(each)
    assert told.take().warnings == ()


def test_each_take_begins_anew() -> None:
    told = ChangedRows()
    told.add(changed("UPDATE users", 0))
    told.warn(["look"])
    assert len(told.take().warnings) == 2
    assert told.take() == ChangedRows().take()


def test_very_many_statements_are_counted() -> None:
    told = ChangedRows()
    for _ in range(MOST + 3):
        told.add(changed("UPDATE users", 2))
    statements = told.take().statements
    assert len(statements) == MOST + 1
    assert (statements[-1].what, statements[-1].rows) == ("3 more statements", 6)


@pytest.mark.parametrize(
    ("parts", "verb", "name"),
    [
        (["UPDATE", "users", "SET", "email"], "UPDATE", "UPDATE users"),
        (["update", "only", "app", ".", "users", "u", "SET"], "UPDATE", "UPDATE app.users"),
        (["DELETE", "FROM", "sessions", "WHERE"], "DELETE", "DELETE sessions"),
        (["DELETE", "LOW_PRIORITY", "FROM", "sessions"], "DELETE", "DELETE sessions"),
        (["WITH", "x", "AS", "SELECT", "UPDATE", "a b", "SET"], "UPDATE", "UPDATE a b"),
        (["DELETE"], "DELETE", "DELETE"),
        (["SELECT"], "DELETE", "DELETE"),
    ],
)
def test_a_statement_is_called_by_its_verb_and_its_table(parts: list[str], verb: str, name: str) -> None:
    assert statement_name(parts, verb) == name


BEFORE = {("users", "id"), ("users", "email"), ("app.pages", "id")}


def test_new_tables_and_columns_that_nothing_names_are_told() -> None:
    now = {*BEFORE, ("users", "phone"), ("letters", "text"), ("letters", "to")}
    warnings = list(not_named(BEFORE, now, ["UPDATE users SET email = NULL"]))
    assert [warning.partition(" is new")[0] for warning in warnings] == [
        "table letters",
        "column users.phone",
    ]


def test_what_a_transformation_names_is_known() -> None:
    now = {*BEFORE, ("app.letters", "text"), ("users", "Phone")}
    text = 'UPDATE users SET "phone" = NULL; DELETE FROM app.letters;'
    assert list(not_named(BEFORE, now, [text])) == []


def test_a_column_is_not_named_where_only_its_table_is() -> None:
    [warning] = not_named(BEFORE, {*BEFORE, ("users", "phone")}, ["TRUNCATE users", "phon"])
    assert "users.phone" in warning


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("UPDATE users SET email = NULL", True),
        ("UPDATE public.users SET email = NULL; DELETE FROM other.app_users", True),
        ("UPDATE pages SET app = id; UPDATE users SET email = NULL", True),
        ("SET search_path = other, public; UPDATE users SET email = NULL", True),
        ("UPDATE users SET email = NULL; DELETE FROM app.users", False),
        ('UPDATE users SET email = NULL; DELETE FROM "App" . "users"', False),
        ("UPDATE users SET email = NULL; SET search_path = app; UPDATE users SET email = NULL", False),
        ("UPDATE users SET email = NULL; SET SCHEMA 'app'; UPDATE users SET email = NULL", False),
    ],
)
def test_a_table_that_has_the_name_of_another_is_named_with_its_schema(text: str, told: bool) -> None:
    warnings = list(not_named(BEFORE, {*BEFORE, ("app.users", "email")}, [text]))
    assert [warning.partition(" is new")[0] for warning in warnings] == ["table app.users"] * told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("UPDATE pages SET text = NULL", False),
        ("UPDATE public.pages SET text = NULL", False),
        ("UPDATE app.pages SET text = NULL", True),
        ('UPDATE app . "pages" SET text = NULL', True),
        ("SET search_path = app; UPDATE pages SET text = NULL", True),
    ],
)
def test_a_name_without_a_schema_is_of_the_one_that_is_looked_at(text: str, told: bool) -> None:
    warnings = list(not_named(BEFORE, {*BEFORE, ("pages", "text")}, [text]))
    assert [warning.partition(" is new")[0] for warning in warnings] == ["table pages"] * told


def test_columns_of_tables_of_one_name_are_told_apart() -> None:
    before = {*BEFORE, ("app.users", "id")}
    now = {*before, ("users", "phone"), ("app.users", "phone")}
    [warning] = not_named(before, now, ["UPDATE users SET phone = NULL"])
    assert warning.startswith("column app.users.phone is new")


def test_there_is_nothing_to_compare_with_before_the_first_pull() -> None:
    assert list(not_named(set(), BEFORE, ["UPDATE x SET y = 1"])) == []


def test_temporary_tables_are_no_data_of_the_database() -> None:
    text = (
        "CREATE TEMP TABLE a AS SELECT 1; create temporary table if not exists `b` (id int); "
        'CREATE LOCAL TEMPORARY TABLE "c" (id int); CREATE TABLE d (id int);'
    )
    assert temporary_tables(text) == {"a", "b", "c"}


def test_a_name_that_may_be_a_value_is_withheld() -> None:
    now = {*BEFORE, ("ann@home.example", "id"), ("users", "bob@home.example")}
    assert [warning.partition(" is new")[0] for warning in not_named(BEFORE, now, ["SELECT 1"])] == [
        "table [name withheld: may be a value]",
        "column users.[name withheld: may be a value]",
    ]
