"""Code of a dump that puts a table in the place of another while a transformation runs is told."""

from __future__ import annotations

import pytest
from attrs import evolve

from tests.integration.postgresql.stage import SOURCE, VERSIONS, Stage
from tests.integration.postgresql.undone import holding, run

PROBE = pytest.mark.probe("a table in the place of another")
OF_EACH_VERSION = pytest.mark.parametrize(
    "any_stage", [(name, False) for name in VERSIONS], indirect=True, ids=VERSIONS
)
DOES = {
    "ALTER TABLE app.people RENAME TO people_; CREATE TABLE app.people AS TABLE app.people_": (
        "made, renamed or dropped tables"
    ),
    "ALTER SCHEMA app RENAME TO app_; CREATE SCHEMA app; CREATE TABLE app.people AS TABLE app_.people": (
        "made, renamed or dropped tables"
    ),
    "ALTER TABLE app.people RENAME email TO email_; ALTER TABLE app.people ADD email text": "altered columns",
    "CREATE RULE none AS ON UPDATE TO app.people DO INSTEAD NOTHING": "altered rules or views",
    "ALTER TABLE app.people DISABLE TRIGGER touch": "altered triggers",
    # These leave all names where they are.
    "TRUNCATE app.decoy": "",
    "REFRESH MATERIALIZED VIEW app.seen": "",
    "CREATE TEMP TABLE people (id int); DROP TABLE pg_temp.people": "",
}
SHADOW = """
CREATE FUNCTION public.md5(varchar) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;
"""
CHANGE = "UPDATE public.accounts SET note = 'x'; UPDATE app.people SET email = 'x' || id;"


def dump(does: str, timing: str) -> str:
    return f"""
    {SOURCE} CREATE TABLE public.accounts (note text); INSERT INTO public.accounts VALUES ('y');
    CREATE TABLE app.decoy (id int); CREATE MATERIALIZED VIEW app.seen AS SELECT id FROM app.people;
    CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER touch BEFORE INSERT ON app.people FOR EACH ROW EXECUTE FUNCTION app.touch();
    CREATE FUNCTION public.does() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN NULL; END $$;
    CREATE {timing} EXECUTE FUNCTION public.does();
    """


@PROBE
@OF_EACH_VERSION
def test_code_that_puts_another_table_there_is_told(any_stage: Stage) -> None:
    for number, (does, what) in enumerate(DOES.items()):
        for where, timing in (
            ("file0.sql:1", "TRIGGER does AFTER UPDATE ON public.accounts FOR EACH STATEMENT"),
            (
                "At the end",
                "CONSTRAINT TRIGGER does AFTER UPDATE ON public.accounts INITIALLY DEFERRED FOR EACH ROW",
            ),
        ):
            stage = evolve(any_stage, database=f"app{number}{where[0]}")
            warnings, _ = run(holding(stage, dump(does, timing)), CHANGE)
            told = [one.partition(", which it")[0] for one in warnings if " ran code that " in one]
            assert [one for one in told if what in one] == told
            assert [one.startswith(f"{where} ran code") for one in told] == ([True] if what else [])


@OF_EACH_VERSION
def test_what_a_transformation_defines_itself_is_not(any_stage: Stage) -> None:
    text = """
    CREATE TABLE app.mine (id int); SELECT id INTO app.made FROM app.people; DROP TABLE app.mine;
    CREATE TABLE app.other AS SELECT id FROM app.people; ALTER TABLE app.people RENAME email TO mail;
    DO $$ BEGIN ALTER TABLE app.people RENAME mail TO email; END $$; INSERT INTO app.made SELECT 1;
    WITH a AS (INSERT INTO app.made VALUES (2) RETURNING id) SELECT count(*) FROM a;
    CREATE TEMP TABLE people AS SELECT 1 AS id; DELETE FROM people;
    CREATE TEMP TABLE a (id int PRIMARY KEY); CREATE TEMP TABLE b (id int REFERENCES a);
    """
    # Nor what we do for the session before and after each file, as to find out what a call means.
    stage = holding(any_stage, f"{SOURCE} {SHADOW}")
    warnings, _ = run(stage, "SELECT md5('x');", text, "SELECT md5(name) FROM app.people;")
    assert [one for one in warnings if " ran code " in one] == []
