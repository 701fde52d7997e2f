"""A function or operator of a dump that a transformation calls in place of the server's is told by name."""

from __future__ import annotations

import pytest

from env_sync.engines.base.contract import CopyState
from tests.integration.postgresql.stage import SOURCE, VERSIONS, Stage, working
from tests.integration.postgresql.undone import holding, run

PROBE = pytest.mark.probe("a function that shadows the server's")
OF_EACH_VERSION = pytest.mark.parametrize(
    "any_stage", [(name, False) for name in VERSIONS], indirect=True, ids=VERSIONS
)
SHADOWS = f"""
{SOURCE}
ALTER TABLE app.people ADD phone varchar DEFAULT '1';
CREATE FUNCTION public.md5(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
CREATE FUNCTION app.upper(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
CREATE FUNCTION public.not_the_servers(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
"""
OPERATOR = """
CREATE FUNCTION public.keep(varchar, text) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
CREATE OPERATOR public.|| (LEFTARG = varchar, RIGHTARG = text, PROCEDURE = public.keep);
"""
MD5 = "public.md5(character varying)"
KEEP = "public.||(character varying, text)"
UPPER = "app.upper(character varying)"
# Each is a statement of one line, and what is told of it.
CALLS = [
    ("UPDATE app.people SET phone = md5(phone);", f"calls {MD5}"),
    ("UPDATE app.people SET phone = MD5 (phone) -- upper(;", f"may call {MD5}"),
    (" WHERE id > 0 RETURNING phone;", ""),
    ('UPDATE app.people SET phone = "md5"(phone);', f"calls {MD5}"),
    ("WITH hashed AS (SELECT id, md5(phone) FROM app.people) SELECT count(*) FROM hashed;", f"calls {MD5}"),
    ("UPDATE app.people SET email = md5(email), name = md5(name);", ""),
    ("UPDATE app.people SET phone = pg_catalog.md5(phone);", ""),
    ("UPDATE app.people SET phone = public.md5(phone);", ""),
    ("UPDATE app.people SET phone = not_the_servers(phone) || ' md5(phone)';", ""),
    ("UPDATE app.people SET phone = upper(phone);", ""),
    ("SET search_path = app;", ""),
    ("UPDATE people SET phone = upper(phone);", f"calls {UPPER}"),
    ("UPDATE people SET phone = md5(phone);", ""),
    ("SET LOCAL SCHEMA 'public';", ""),
    ("SAVEPOINT a; SET search_path = app; ROLLBACK TO SAVEPOINT a;", ""),
    ("UPDATE app.people SET phone = md5(phone);", f"may call {MD5}"),
    ("SET search_path = public;", ""),
    ("DO $$ BEGIN UPDATE app.people SET phone = md5(phone); END $$;", f"may call {MD5}"),
    ("ALTER TABLE app.people ALTER phone TYPE text USING md5(phone);", f"may call {MD5}"),
    ("SELECT set_config('search_path', 'app', true);", ""),
    ("UPDATE app.people SET phone = upper(phone);", f"may call {UPPER}"),
    ("RESET search_path;", ""),
    ("UPDATE app.people SET phone = upper(phone);", ""),
    ("SET search_path = public;", ""),
    ("CREATE TABLE made AS SELECT 'x'::varchar AS phone;", ""),
    ("UPDATE made SET phone = md5(phone);", f"may call {MD5}"),
]


def told(stage: Stage, *texts: str) -> list[str]:
    """The warnings of transformations on what the stage's dump holds."""
    assert stage.dump
    engine = stage.engine()
    files = [stage.transformation(text, f"file{number}.sql") for number, text in enumerate(texts)]
    with working(engine):
        engine.restore(stage.dump)
        assert engine.sanitise(files).state is CopyState.SANITISED
    return [one.partition(", which came")[0] for one in engine.work.changed_rows.take().warnings]


@PROBE
@OF_EACH_VERSION
def test_only_a_call_that_resolves_to_it_is_told(any_stage: Stage) -> None:
    stage = any_stage.with_dump(SHADOWS)
    text = "\n".join(statement for statement, _ in CALLS)
    expected = [f"file0.sql:{line} {said}" for line, (_, said) in enumerate(CALLS, 1) if said]
    assert told(stage, text) == expected


@PROBE
def test_an_operator_is_told_as_well(stage: Stage) -> None:
    text = "UPDATE app.people SET phone = phone || '@example.com';"
    other = "UPDATE app.people SET email = email || '', phone = phone OPERATOR(pg_catalog.||) '';"
    assert told(stage.with_dump(SHADOWS + OPERATOR), text, other) == [f"file0.sql:1 calls {KEEP}"]


@PROBE
def test_of_what_the_server_does_not_tell_an_operator_is_compared_by_its_signs(stage: Stage) -> None:
    others = """
    CREATE FUNCTION public.alike(varchar, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE OPERATOR public.~~ (LEFTARG = varchar, RIGHTARG = text, PROCEDURE = public.alike);
    """
    text = """
DO $$ BEGIN UPDATE app.people SET phone = phone || 'x'; END $$;
CREATE TABLE made AS SELECT phone||'x' AS phone FROM app.people;
MERGE INTO app.people p USING made m ON m.phone = 'none' WHEN MATCHED THEN UPDATE SET phone = p.phone || 'x';
DO $$ BEGIN UPDATE app.people SET phone = phone OPERATOR(pg_catalog.||) 'x|'; END $$;
DO $$ BEGIN DELETE FROM app.people WHERE phone LIKE 'x'; END $$;
DO $$ BEGIN DELETE FROM app.people WHERE phone OPERATOR(pg_catalog.~~) 'x' OR id < -1; END $$;
"""
    warnings = told(stage.with_dump(SHADOWS + OPERATOR + others), text)
    assert [one for one in warnings if " call " in one] == [
        *(f"file0.sql:{line} may call {KEEP}" for line in (2, 3, 4)),
        "file0.sql:6 may call public.~~(character varying, text)",
    ]


@PROBE
def test_a_natural_join_compares_by_an_operator(stage: Stage) -> None:
    same = """
    CREATE FUNCTION public.same(varchar, varchar) RETURNS bool LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, PROCEDURE = public.same);
    """
    text = "CREATE TABLE made AS SELECT phone FROM app.people NATURAL JOIN app.people AS others;"
    expected = ["file0.sql:1 may call public.=(character varying, character varying)"]
    assert told(stage.with_dump(SHADOWS + same), text) == expected


@PROBE
def test_a_name_that_may_be_a_value_is_withheld(stage: Stage) -> None:
    source = f"""
    {SOURCE} ALTER TABLE app.people ADD phone varchar;
    CREATE SCHEMA "ann@home.example"; CREATE DOMAIN "ann@home.example"."bob@home.example" AS text;
    CREATE FUNCTION "ann@home.example".md5(varchar, "ann@home.example"."bob@home.example" DEFAULT '')
    RETURNS text LANGUAGE sql AS 'SELECT $1::text';
    """
    text = 'SET search_path = "ann@home.example"; UPDATE app.people SET phone = md5(phone);'
    hidden = "[name withheld: may be a value]"
    assert told(stage.with_dump(source), text) == [
        f"file0.sql:1 calls {hidden}.md5(character varying, {hidden}.{hidden})"
    ]


@PROBE
@pytest.mark.parametrize("any_stage", [("postgresql15", False)], indirect=True, ids=["postgresql15"])
def test_what_a_dump_adds_to_an_extension_is_the_dumps(any_stage: Stage) -> None:
    """The sync's role owns a trusted extension that it makes, and may add to it."""
    stage = any_stage.with_dump(f"{SOURCE} ALTER TABLE app.people ADD phone varchar;")
    assert stage.dump
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump)
        stage.query(
            """
            SET ROLE env_sync; CREATE EXTENSION citext SCHEMA public;
            CREATE FUNCTION public.md5(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
            ALTER EXTENSION citext ADD FUNCTION public.md5(varchar);
            """,
            stage.incoming,
        )
        engine.sanitise([stage.transformation(CALLS[0][0])])
    [warning] = engine.work.changed_rows.take().warnings
    assert f"calls {MD5}, which came with the data" in warning


def test_it_says_what_to_do(stage: Stage) -> None:
    stage = stage.with_dump(SHADOWS)
    assert stage.dump
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump)
        engine.sanitise([stage.transformation(CALLS[0][0])])
    [warning] = engine.work.changed_rows.take().warnings
    assert warning == (
        f"redact.sql:1 calls {MD5}, which came with the data, in place of the server's own: see what it "
        "does, or write pg_catalog.md5 where the server's is meant"
    )


@pytest.mark.parametrize("any_stage", [("postgresql15", False)], indirect=True, ids=["postgresql15"])
def test_those_of_extensions_are_the_servers(any_stage: Stage) -> None:
    """`citext` has its own `replace`."""
    source = f"{SOURCE} CREATE EXTENSION citext; ALTER TABLE app.people ALTER email TYPE citext;"
    text = "UPDATE app.people SET email = replace(email, 'home', 'away');"
    assert told(any_stage.with_dump(source), text) == []


@PROBE
@pytest.mark.parametrize("any_stage", [("postgresql15", False)], indirect=True, ids=["postgresql15"])
def test_one_that_shadows_an_extensions_is_told(any_stage: Stage) -> None:
    """pgcrypto has `digest(text, text)`; of a varchar that of the dump comes first, in its schema as well."""
    source = f"""{SOURCE} CREATE EXTENSION pgcrypto SCHEMA public; ALTER TABLE app.people ADD phone varchar;
    CREATE FUNCTION public.digest(varchar, text) RETURNS bytea LANGUAGE sql AS 'SELECT $1::text::bytea';
    """
    text = "UPDATE app.people SET phone = digest(phone{}, 'sha256');"
    stage = holding(any_stage, source)
    [warning], _ = run(stage, text.format(""))
    assert "calls public.digest(character varying, text), which came with the data, in place of an" in warning
    assert warning.endswith("cast the arguments to the types of the extension's where that is meant")
    assert run(stage, text.format("::text"))[0] == []
