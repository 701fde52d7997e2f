"""Triggers of a dump that write again what a transformation changed are told, and ordinary ones are not."""

from __future__ import annotations

import pytest

from tests.integration.postgresql.stage import SOURCE, VERSIONS, Stage
from tests.integration.postgresql.undone import holding, run

PROBE = pytest.mark.probe("a trigger that undoes a transformation")
OF_EACH_VERSION = pytest.mark.parametrize(
    "any_stage", [(name, False) for name in VERSIONS], indirect=True, ids=VERSIONS
)
BRINGS = f"""
{SOURCE} CREATE TABLE app.kept AS SELECT id, email FROM app.people;
CREATE FUNCTION app.back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
UPDATE app.people SET email = OLD.email WHERE id = OLD.id; RETURN NULL; END $$;
CREATE FUNCTION app.anew() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
DELETE FROM app.people WHERE id = OLD.id; INSERT INTO app.people SELECT OLD.*; RETURN NULL; END $$;
CREATE FUNCTION app.all_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
UPDATE app.people p SET email = o.email FROM old_rows o WHERE p.id = o.id; RETURN NULL; END $$;
CREATE FUNCTION app.from_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
UPDATE app.people p SET email = k.email FROM app.kept k WHERE p.id = k.id; RETURN NULL; END $$;
"""
CHANGE = "UPDATE app.people SET email = 'x' || id;"
ALL_OF_PEOPLE = "wrote 500 rows of app.people besides what it says, by trigger back of app."
# What is brought, what is run in one line, and what is told.
UNDOING = {
    "after each row": (
        (
            "CREATE TRIGGER back AFTER UPDATE ON app.people FOR EACH ROW WHEN (pg_trigger_depth() = 0) "
            "EXECUTE FUNCTION app.back()"
        ),
        CHANGE,
        f"file0.sql:1 UPDATE app.people {ALL_OF_PEOPLE}people",
    ),
    "the row anew": (
        ("CREATE TRIGGER back AFTER UPDATE ON app.people FOR EACH ROW EXECUTE FUNCTION app.anew()"),
        CHANGE,
        f"file0.sql:1 UPDATE app.people {ALL_OF_PEOPLE}people",
    ),
    "after a deletion": (
        (
            "CREATE TRIGGER back AFTER DELETE ON app.people FOR EACH ROW WHEN (pg_trigger_depth() = 0) "
            "EXECUTE FUNCTION app.anew()"
        ),
        "DELETE FROM app.people;",
        f"file0.sql:1 DELETE app.people {ALL_OF_PEOPLE}people",
    ),
    "after the statement": (
        (
            "CREATE TRIGGER back AFTER UPDATE ON app.people REFERENCING OLD TABLE AS old_rows FOR EACH "
            "STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION app.all_back()"
        ),
        CHANGE,
        f"file0.sql:1 UPDATE app.people {ALL_OF_PEOPLE}people",
    ),
    "of another table, for no row": (
        (
            "CREATE TRIGGER back AFTER UPDATE ON app.added_later FOR EACH STATEMENT "
            "EXECUTE FUNCTION app.from_kept()"
        ),
        f"{CHANGE} UPDATE app.added_later SET note = 'x' WHERE false;",
        f"file0.sql:1 UPDATE app.added_later {ALL_OF_PEOPLE}added_later",
    ),
    "put off": (
        (
            "CREATE CONSTRAINT TRIGGER back AFTER UPDATE ON app.added_later DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION app.from_kept()"
        ),
        f"UPDATE app.added_later SET note = 'x'; DO $$ BEGIN {CHANGE} END $$;",
        f"At the end SET CONSTRAINTS {ALL_OF_PEOPLE}added_later",
    ),
}
ORDINARY = f"""
{SOURCE}
ALTER TABLE app.people ADD updated_at timestamptz, ADD letters int;
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF (NEW.name = 'UPDATE') OR TG_OP = 'UPDATE' THEN NEW.updated_at := now(); END IF; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON app.people FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TABLE app.audit (at timestamptz, what text);
CREATE FUNCTION app.audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
INSERT INTO app.audit VALUES (now(), TG_OP); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app.people FOR EACH ROW EXECUTE FUNCTION app.audit();
CREATE TABLE app.letters (id int PRIMARY KEY, person int REFERENCES app.people ON DELETE CASCADE, text text);
INSERT INTO app.letters SELECT n, n, 'a letter' FROM generate_series(1, 500) n;
CREATE FUNCTION app.count_letters() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
UPDATE app.people SET letters = 1 WHERE id = NEW.person; RETURN NULL; END $$;
CREATE TRIGGER counted AFTER INSERT OR UPDATE ON app.letters FOR EACH ROW
EXECUTE FUNCTION app.count_letters();
CREATE TABLE app.firms (id int PRIMARY KEY); INSERT INTO app.firms SELECT generate_series(1, 500);
CREATE TABLE app.notes (id int, firm int REFERENCES app.firms ON DELETE SET NULL ON UPDATE CASCADE, name text,
    updated_at timestamptz);
INSERT INTO app.notes SELECT n, n, 'a note' FROM generate_series(1, 500) n;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON app.notes FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TABLE app.visits (id int, email text) PARTITION BY RANGE (id);
CREATE TABLE app.visits_1 PARTITION OF app.visits FOR VALUES FROM (0) TO (10);
CREATE TABLE app.visits_2 PARTITION OF app.visits FOR VALUES FROM (10) TO (20);
INSERT INTO app.visits SELECT n % 20, 'a@home' FROM generate_series(1, 500) n;
CREATE TRIGGER audit AFTER UPDATE ON app.visits FOR EACH ROW EXECUTE FUNCTION app.audit();
CREATE TABLE app.parent (id int, email text); CREATE TABLE app.child () INHERITS (app.parent);
INSERT INTO app.child VALUES (1, 'a@home'), (2, 'b@home');
CREATE TRIGGER audit AFTER UPDATE ON app.child FOR EACH ROW EXECUTE FUNCTION app.audit();
"""
HARMLESS = """
UPDATE app.letters SET text = 'none';
UPDATE app.people SET email = 'x' || id, name = 'with update';
UPDATE app.people SET email = 'y' || id WHERE updated_at < now()::timestamp with time zone OR true;
UPDATE app.notes SET name = 'none';
UPDATE app.visits SET email = 'x';
UPDATE app.visits SET id = 19 - id;
UPDATE app.child SET email = 'x';
UPDATE app.parent SET email = 'y';
INSERT INTO app.people (id, name, email) SELECT id, 'z', 'z' || id FROM app.people
    ON CONFLICT (id) DO UPDATE SET email = excluded.email;
MERGE INTO app.people p USING app.kept k ON p.id = k.id WHEN MATCHED THEN UPDATE SET email = 'm' || p.id;
WITH n AS (UPDATE app.people SET email = 'w' || id RETURNING id) UPDATE app.notes SET name = 'none';
DO $$ BEGIN UPDATE app.people SET email = 'd' || id; END $$;
SELECT app.count_people();
UPDATE app.people SET email = 'e' || id;
DELETE FROM app.people WHERE id <= 300;
UPDATE app.firms SET id = id + 1000;
DELETE FROM app.firms;
TRUNCATE app.visits;
INSERT INTO app.visits VALUES (1, 'x');
"""


def besides(warnings: list[str]) -> list[str]:
    return [one.partition(", which came")[0] for one in warnings if " besides " in one]


@PROBE
@OF_EACH_VERSION
def test_what_a_trigger_writes_again_is_told(any_stage: Stage) -> None:
    stage = holding(any_stage, BRINGS)
    for trigger, text, told in UNDOING.values():
        stage.query(f"SET ROLE {stage.login}; {trigger}", stage.incoming)
        warnings, rows = run(stage, text, query="SELECT count(*) FROM app.people WHERE email LIKE '%@home%'")
        assert besides(warnings) == [told]
        # This is why.
        assert rows == [(500,)]
        table = told.rpartition(" of ")[2]
        off = f"ALTER TABLE {table} DISABLE TRIGGER back; "
        assert besides(run(stage, off + text)[0]) == []
        stage.query(f"DROP TRIGGER back ON {table}", stage.incoming)


@OF_EACH_VERSION
def test_ordinary_triggers_and_foreign_keys_are_not(any_stage: Stage) -> None:
    stage = holding(any_stage, f"{ORDINARY} CREATE TABLE app.kept AS SELECT id FROM app.people;")
    assert besides(run(stage, HARMLESS)[0]) == []
