"""What is told of the statements of transformations, and of what none of them reaches."""

from __future__ import annotations

import pytest

from env_sync.domain.changed_rows import Changes
from tests.integration.postgresql.stage import OWNER, SOURCE, Stage, pull, working

pytestmark = pytest.mark.probe("what a transformation does not reach", engines=["postgresql"])
MORE = (
    f"{SOURCE} ALTER TABLE app.people ADD phone text, ADD email2 text; CREATE TABLE app.letters (body text);"
)
TRIGGER = (
    "CREATE FUNCTION app.stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
    "CREATE TRIGGER stop BEFORE UPDATE ON app.people FOR EACH ROW EXECUTE FUNCTION app.stop();"
)


def sanitised(stage: Stage, text: str) -> Changes:
    """What is told of a transformation of what the stage's dump holds."""
    assert stage.dump
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump)
        engine.sanitise((stage.transformation(text),))
    return engine.work.changed_rows.take()


def test_each_statement_tells_its_rows(stage: Stage) -> None:
    text = (
        "SET search_path = app; -- UPDATE nothing\n"
        "CREATE FUNCTION two() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;\n"
        "/* DELETE */ UPDATE ONLY app.people SET email = id || '@example.com';\n"
        'WITH old AS (SELECT id FROM people) DELETE FROM "people" USING old WHERE people.id = old.id;\n'
    )
    changes = sanitised(stage.with_dump(), text)
    [(count,)] = [(each.rows,) for each in changes.statements if each.what.startswith("UPDATE")]
    assert count > 0
    assert [str(each) for each in changes.statements] == [
        f"redact.sql:3 UPDATE app.people: {count:,} rows",
        f"redact.sql:4 DELETE people: {count:,} rows",
    ]
    assert changes.warnings == ()


@pytest.mark.parametrize(
    "trap",
    [
        "CREATE RULE nothing AS ON UPDATE TO app.people DO INSTEAD NOTHING;",
        TRIGGER,
    ],
    ids=["a rule", "a trigger"],
)
def test_what_turns_a_statement_into_nothing_is_a_warning(stage: Stage, trap: str) -> None:
    changes = sanitised(stage.with_dump(SOURCE + trap), "UPDATE app.people SET email = 'x' || id;")
    [warning] = changes.warnings
    assert warning.startswith("redact.sql:1 UPDATE app.people changed no row")


def test_new_tables_and_columns_that_no_transformation_names(stage: Stage) -> None:
    first, later = stage.with_dump(), stage.with_dump(MORE)
    stage.server.create_database("app", OWNER)
    pull(first, first.engine(attempt="0"), first.transformation())
    changes = sanitised(later, "UPDATE app.people SET email = 'x' || id, email2 = NULL;")
    assert [warning.partition(" is new")[0] for warning in changes.warnings] == [
        "table app.letters",
        "column app.people.phone",
    ]


def test_a_temporary_table_may_be_empty(stage: Stage) -> None:
    text = "CREATE TEMPORARY TABLE gone (id int) ON COMMIT DROP; DELETE FROM gone;"
    changes = sanitised(stage.with_dump(), text)
    assert [str(each) for each in changes.statements] == ["redact.sql:1 DELETE gone: 0 rows"]
    assert changes.warnings == ()


def test_a_table_that_a_comment_calls_temporary_is_none(stage: Stage) -> None:
    text = (
        "-- CREATE TEMPORARY TABLE people\n"
        "SET search_path = app; SELECT 'CREATE TEMP TABLE people'; DELETE FROM people WHERE id < 0;"
    )
    changes = sanitised(stage.with_dump(), text)
    assert [why for why in changes.warnings if why.startswith("redact.sql:2 DELETE people changed no row")]


@pytest.mark.probe("a table in the place of another")
def test_a_schema_that_is_called_like_our_role_takes_no_transformation(stage: Stage) -> None:
    """Whoever may make schemas above makes one, with tables in it that are called like others."""
    source = "CREATE TABLE people (id int PRIMARY KEY, email text); INSERT INTO people VALUES (1, 'a@home');"
    decoy = f"""
    {source} CREATE SCHEMA {stage.login}; CREATE TABLE {stage.login}.people (LIKE public.people);
    INSERT INTO {stage.login}.people SELECT * FROM public.people;
    """
    first, later = stage.with_dump(source), stage.with_dump(decoy)
    text = "UPDATE people SET email = 'x' || id;"
    stage.server.create_database("app", OWNER)
    pull(first, first.engine(attempt="0"), first.transformation(text))
    changes = sanitised(later, text)
    assert stage.query("SELECT email FROM public.people", stage.incoming) == [("x1",)]
    assert [warning.partition(" is new")[0] for warning in changes.warnings] == ["table env_sync.people"]
