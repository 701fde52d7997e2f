"""Triggers and rules of a dump that keep what a transformation was to change are told by name."""

from __future__ import annotations

import pytest

from tests.integration.postgresql.stage import SOURCE, VERSIONS, Stage
from tests.integration.postgresql.undone import holding, run

PROBE = pytest.mark.probe("a trigger that undoes a transformation")
OF_EACH_VERSION = pytest.mark.parametrize(
    "any_stage", [(name, False) for name in VERSIONS], indirect=True, ids=VERSIONS
)
KEPT = f"""
{SOURCE}
CREATE FUNCTION app.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
NEW.email := OLD.email; RETURN NEW; END $$;
CREATE FUNCTION app.instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER keep BEFORE UPDATE ON app.people FOR EACH ROW EXECUTE FUNCTION app.keep();
CREATE TRIGGER later AFTER UPDATE ON app.people FOR EACH ROW EXECUTE FUNCTION app.keep();
CREATE TRIGGER first BEFORE INSERT ON app.people FOR EACH ROW EXECUTE FUNCTION app.instead();
CREATE TRIGGER instead INSTEAD OF UPDATE ON app.names FOR EACH ROW EXECUTE FUNCTION app.instead();
CREATE TABLE app.decoy (LIKE app.added_later);
INSERT INTO app.decoy SELECT * FROM app.added_later;
CREATE RULE elsewhere AS ON UPDATE TO app.added_later DO INSTEAD UPDATE app.decoy SET note = NEW.note;
CREATE TABLE app.parted (id int, email text) PARTITION BY LIST (id);
CREATE TABLE app.parted_1 PARTITION OF app.parted FOR VALUES IN (1);
CREATE TABLE app.parted_2 PARTITION OF app.parted FOR VALUES IN (2);
INSERT INTO app.parted VALUES (1, 'a@home.example'), (2, 'b@home.example');
CREATE TRIGGER keep BEFORE UPDATE ON app.parted_1 FOR EACH ROW EXECUTE FUNCTION app.keep();
CREATE TRIGGER keep BEFORE UPDATE ON app.parted_2 FOR EACH ROW EXECUTE FUNCTION app.keep();
"""
OF_PEOPLE = "trigger keep of app.people"
# Each is a statement of one line, in a file of its own, and what is told of it.
TOLD = [
    ("UPDATE app.people SET email = 'x' || id;", [f"UPDATE app.people went through {OF_PEOPLE}"]),
    ("SET search_path = app; UPDATE people SET email = 'x';", [f"UPDATE people went through {OF_PEOPLE}"]),
    ("DO $$ BEGIN UPDATE app.people SET email = 'x'; END $$;", [f"a statement went through {OF_PEOPLE}"]),
    (
        "WITH n AS (UPDATE app.people SET email = 'x' RETURNING id) SELECT count(*) FROM n;",
        [f"a statement went through {OF_PEOPLE}"],
    ),
    (
        "INSERT INTO app.people SELECT * FROM app.people ON CONFLICT (id) DO UPDATE SET email = 'x';",
        [f"INSERT app.people went through {OF_PEOPLE}"],
    ),
    ("DELETE FROM app.people WHERE id = 1;", []),
    ("INSERT INTO app.people (name) VALUES ('x'); SELECT count(*) FROM app.people;", []),
    ("ALTER TABLE app.people DISABLE TRIGGER keep; UPDATE app.people SET email = 'x' || id;", []),
    (
        "UPDATE App.Names SET name = 'x';",
        ["UPDATE App.Names went through trigger instead of app.names"],
    ),
    (
        "UPDATE app.added_later SET note = 'x';",
        ["UPDATE app.added_later went through rule elsewhere of app.added_later"],
    ),
    (
        "DO $$ BEGIN UPDATE app.added_later SET note = 'x'; END $$;",
        ["a statement went through rule elsewhere of app.added_later"],
    ),
    ("ALTER TABLE app.added_later DISABLE RULE elsewhere; UPDATE app.added_later SET note = 'x';", []),
    (
        "UPDATE app.parted SET email = 'x';",
        [f"UPDATE app.parted went through trigger keep of app.parted_{number}" for number in (1, 2)],
    ),
]


@PROBE
@OF_EACH_VERSION
def test_what_a_statement_went_through_is_told_by_name(any_stage: Stage) -> None:
    stage = holding(any_stage, KEPT)
    for text, said in TOLD:
        warnings, _ = run(stage, text)
        assert [one.partition(", which came")[0] for one in warnings] == [
            f"file0.sql:1 {one}" for one in said
        ]
    [warning], rows = run(stage, TOLD[0][0], query="SELECT email FROM app.people WHERE id = 1")
    # This is why.
    assert rows == [("person1@home.example",)]
    assert warning.endswith("(ALTER TABLE ... DISABLE TRIGGER, and ENABLE TRIGGER again)")
    # The transformation's own are its own affair, and each is told once.
    own = "CREATE TRIGGER own BEFORE DELETE ON app.people FOR EACH ROW EXECUTE FUNCTION app.keep();"
    assert run(stage, f"{own} DELETE FROM app.people WHERE id < 0;")[0][1:] == []
    assert len(run(stage, TOLD[0][0], TOLD[0][0])[0]) == 1


# Each fits what is asked of the catalogs better than the server's, which needs a cast.
BLINDING = """
CREATE FUNCTION public.zero(smallint, integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 0';
CREATE FUNCTION public.never(oid, integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE FUNCTION public.never(oid, regclass) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE OPERATOR public.& (LEFTARG = smallint, RIGHTARG = integer, FUNCTION = public.zero);
CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = integer, FUNCTION = public.never);
CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = public.never);
"""


@PROBE
@OF_EACH_VERSION
def test_no_operator_of_the_dump_answers_for_the_server(any_stage: Stage) -> None:
    stage = holding(any_stage, KEPT + BLINDING)
    for text, said in (TOLD[0], TOLD[-1]):
        warnings, _ = run(stage, text)
        assert [one.partition(", which came")[0] for one in warnings] == [
            f"file0.sql:1 {one}" for one in said
        ]
