from __future__ import annotations

import pytest
from attrs import evolve

from tests.integration.postgresql.stage import OWNER, READER, Stage, pull

LIVE = """
CREATE SCHEMA app AUTHORIZATION app_owner;
SET ROLE app_owner;
CREATE TABLE app.people (id serial PRIMARY KEY, name text NOT NULL, email text);
INSERT INTO app.people (name, email) VALUES ('Old', 'old@example.com');
CREATE VIEW app.names AS SELECT name FROM app.people;
CREATE FUNCTION app.count_people() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM app.people';
CREATE TYPE app.mood AS ENUM ('well');
CREATE DOMAIN app.percent AS int;
REVOKE EXECUTE ON FUNCTION app.count_people() FROM PUBLIC;
GRANT USAGE ON SCHEMA app TO "app reader";
GRANT SELECT ON app.names TO "app reader" WITH GRANT OPTION;
GRANT SELECT (id, name) ON app.people TO "app reader";
GRANT USAGE ON SEQUENCE app.people_id_seq TO "app reader";
GRANT USAGE ON TYPE app.mood TO "app reader";
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO "app reader";
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
RESET ROLE;
REVOKE CONNECT ON DATABASE app FROM PUBLIC;
GRANT CONNECT ON DATABASE app TO "app reader";
ALTER DATABASE app SET work_mem = '5MB';
ALTER DATABASE app SET search_path = app, "Odd, schema", public;
ALTER ROLE app_owner IN DATABASE app SET statement_timeout = '7s';
ALTER DATABASE app CONNECTION LIMIT 33;
COMMENT ON DATABASE app IS 'Ask the app team
before you touch this.';
"""

# Everything that a client could notice about who owns and may do what, by name.
WHO_MAY = """
SELECT 'relation' AS what, c.oid::regclass::text, pg_get_userbyid(relowner),
    (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(coalesce(relacl, acldefault(
        CASE WHEN relkind = 'S' THEN 's' ELSE 'r' END::"char", relowner))) a)
FROM pg_class c WHERE relnamespace = 'app'::regnamespace AND relkind IN ('r', 'v', 'S')
    AND relname <> 'added_later'
UNION ALL
SELECT 'column', attrelid::regclass::text || '.' || attname, '',
    (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(attacl) a)
FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid = 'app.people'::regclass
UNION ALL
SELECT 'function', oid::regprocedure::text, pg_get_userbyid(proowner),
    (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(proacl) a)
FROM pg_proc WHERE pronamespace = 'app'::regnamespace
UNION ALL
SELECT 'type', oid::regtype::text, pg_get_userbyid(typowner),
    (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(typacl) a)
FROM pg_type WHERE typnamespace = 'app'::regnamespace AND typname IN ('mood', 'percent')
UNION ALL
SELECT 'schema', nspname, pg_get_userbyid(nspowner),
    (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(nspacl) a)
FROM pg_namespace WHERE nspname IN ('app', 'public')
UNION ALL
SELECT 'default', format('%s %s %s', defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype), '',
    (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(defaclacl) a)
FROM pg_default_acl
UNION ALL
SELECT 'database', datname,
    format('%s %s %s', pg_get_userbyid(datdba), datconnlimit, datallowconn),
    (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a)
FROM pg_database WHERE datname = current_database()
UNION ALL
SELECT 'setting', coalesce(pg_get_userbyid(nullif(setrole, 0)), ''), '', setconfig
FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1, 2
"""


def who_may(stage: Stage) -> list[tuple[object, ...]]:
    return stage.query(WHO_MAY)


def test_a_first_pull_makes_live_and_closes_it_to_others(any_stage: Stage) -> None:
    stage = any_stage.with_dump()
    stage.server.create_role("another owner")
    stage.server.grant("another owner", "env_sync")
    stage = evolve(stage, extra={**stage.extra, "owner": "another owner"})
    promotion = pull(stage, stage.engine(), stage.transformation())
    assert promotion.first
    assert promotion.unavailable == 0
    assert not promotion.previous_kept
    assert any("GRANT CONNECT" in warning for warning in promotion.warnings)
    assert stage.query(
        "SELECT count(*), count(*) FILTER (WHERE email ~ '^user-.*@example.com') FROM app.people"
    ) == [(500, 500)]
    assert stage.server.databases() == {"app", "env_sync"}
    for role in (READER, OWNER):
        assert stage.query(f"SELECT has_database_privilege('{role}', 'app', 'CONNECT')") == [(False,)]
    stamp = stage.engine().live_stamp()
    assert stamp
    assert (stamp.dump_key, stamp.born_in) == (stage.dump.key, "production") if stage.dump else None


def test_a_pull_keeps_owners_grants_and_settings(any_stage: Stage) -> None:
    stage = any_stage.with_dump()
    stage.server.create_database("app", OWNER)
    stage.query(LIVE)
    before = who_may(stage)
    for number in (1, 2):
        promotion = pull(stage, stage.engine(attempt=str(number)), stage.transformation())
        assert promotion.warnings == ()
        assert promotion.previous_kept
        assert promotion.unavailable > 0
        assert who_may(stage) == before
        assert stage.server.databases() == {"app", "app__previous", "env_sync"}
    assert stage.query(
        "SELECT count(*), count(*) FILTER (WHERE email ~ '^user-.*@example.com') FROM app.people"
    ) == [(500, 500)]
    # A table that live did not have is readable as live's default privileges say.
    assert stage.query(
        "SELECT has_table_privilege('app reader', 'app.added_later', 'SELECT'), "
        "tableowner FROM pg_tables WHERE tablename = 'added_later'"
    ) == [(True, OWNER)]
    comment = stage.query(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'app'"
    )
    assert comment[0][0].startswith("Ask the app team\nbefore you touch this.\nenv_sync: {")
    assert stage.query(
        "SELECT datallowconn FROM pg_database WHERE datname = 'app__previous'", "postgres"
    ) == [(False,)]
    with stage.live() as connection:
        assert connection.execute("SHOW search_path").fetchone() == ('app, "Odd, schema", public',)


def test_previous_is_dropped_where_it_is_not_to_be_kept(stage: Stage) -> None:
    stage = stage.with_dump()
    stage.server.create_database("app", OWNER)
    promotion = pull(stage, stage.engine(keep_previous=False), stage.transformation())
    assert not promotion.previous_kept
    assert stage.server.databases() == {"app", "env_sync"}


def test_default_privileges_of_another_role_do_not_give_it_all_rights(any_stage: Stage) -> None:
    stage = any_stage.with_dump()
    stage.server.create_database("app", OWNER)
    stage.query(
        "CREATE SCHEMA app AUTHORIZATION app_owner; CREATE ROLE etl; CREATE ROLE adder; "
        'ALTER DEFAULT PRIVILEGES FOR ROLE etl GRANT SELECT ON TABLES TO "app reader"; '
        "ALTER DEFAULT PRIVILEGES FOR ROLE etl GRANT EXECUTE ON FUNCTIONS TO adder; "
        "ALTER DEFAULT PRIVILEGES FOR ROLE etl IN SCHEMA app GRANT INSERT ON TABLES TO adder"
    )
    pull(stage, stage.engine(), stage.transformation())
    assert stage.query(
        "SELECT c.relowner::regrole::text, array_agg(DISTINCT a.grantee::regrole::text || ' ' || "
        "a.privilege_type ORDER BY a.grantee::regrole::text || ' ' || a.privilege_type) "
        "FILTER (WHERE a.grantee <> c.relowner) FROM pg_class c, aclexplode(c.relacl) a "
        "WHERE c.oid = 'app.people'::regclass GROUP BY 1"
    ) == [(OWNER, ['"app reader" SELECT', "adder INSERT"])]
    assert stage.query(
        "SELECT has_function_privilege('etl', oid, 'EXECUTE WITH GRANT OPTION'), "
        "has_function_privilege('adder', oid, 'EXECUTE') FROM pg_proc WHERE proname = 'count_people'"
    ) == [(False, True)]
    stage.query("DROP OWNED BY adder; DROP OWNED BY etl")
    stage.server.drop_database("app__previous")
    stage.server.execute("DROP ROLE etl, adder")


CLOSED = """
CREATE FUNCTION only_some() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT ''x''::text';
REVOKE EXECUTE ON FUNCTION only_some() FROM PUBLIC;
CREATE FUNCTION "Any ""odd"" name"(a "char") RETURNS int LANGUAGE sql AS 'SELECT 1';
REVOKE ALL ON FUNCTION "Any ""odd"" name"("char") FROM PUBLIC;
CREATE PROCEDURE work() LANGUAGE sql AS '';
REVOKE EXECUTE ON PROCEDURE work() FROM PUBLIC;
CREATE DOMAIN inner_part AS int;
REVOKE USAGE ON DOMAIN inner_part FROM PUBLIC;
CREATE FUNCTION for_all() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION opened() RETURNS int LANGUAGE sql AS 'SELECT 1';
REVOKE EXECUTE ON FUNCTION opened() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(float8) FROM PUBLIC;
"""
OPEN_TO_ALL = """
SELECT p.proname FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE p.pronamespace = 'public'::regnamespace AND a.grantee = 0
UNION ALL SELECT t.typname FROM pg_type t, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a
WHERE t.typname = 'inner_part' AND a.grantee = 0 ORDER BY 1
"""


@pytest.mark.parametrize("first", [True, False], ids=["first pull", "later pull"])
def test_what_not_everybody_may_use_above_is_not_open_to_all_here(any_stage: Stage, first: bool) -> None:
    stage = any_stage.with_dump(CLOSED)
    if not first:
        stage.server.create_database("app", OWNER)
        stage.query(
            "GRANT CREATE ON SCHEMA public TO app_owner; SET ROLE app_owner; "
            "CREATE FUNCTION opened() RETURNS int LANGUAGE sql AS 'SELECT 1'; RESET ROLE; "
            'ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT EXECUTE ON FUNCTIONS TO "app reader"'
        )
    pull(stage, stage.engine())
    # Of a function that live has, live says who may call it.
    assert stage.query(OPEN_TO_ALL) == [("for_all",), *([] if first else [("opened",)])]
    sleeping = "SELECT has_function_privilege('stranger', 'pg_sleep(float8)', 'EXECUTE')"
    assert stage.query(sleeping) == [(True,)]


def test_grants_on_columns_that_are_gone_do_not_stop_the_pull(any_stage: Stage) -> None:
    stage = any_stage.with_dump()
    stage.server.create_database("app", OWNER)
    stage.query(
        """
        CREATE SCHEMA app AUTHORIZATION app_owner; SET ROLE app_owner;
        CREATE TABLE app.people (id int, name text, "E mail" text); CREATE TABLE app.gone (id int);
        CREATE VIEW app.names AS SELECT 'x' AS title;
        GRANT SELECT (id, "E mail"), UPDATE ("E mail") ON app.people TO "app reader";
        GRANT SELECT (title) ON app.names TO stranger; GRANT SELECT (id) ON app.gone TO stranger;
        """
    )
    [warning] = pull(stage, stage.engine(), stage.transformation()).warnings
    assert warning.startswith("Grants on columns that live has and the dump has not were not carried over: ")
    assert "app.names (title), app.people (E mail)." in warning
    assert stage.query(
        "SELECT attname, attacl::text FROM pg_attribute WHERE attacl IS NOT NULL "
        "AND attrelid = 'app.people'::regclass"
    ) == [("id", '{"\\"app reader\\"=r/app_owner"}')]


def test_grants_on_what_is_the_servers_own_are_named(any_stage: Stage) -> None:
    stage = any_stage.with_dump("CREATE TABLE t (id int)")
    stage.server.create_database("app", OWNER)
    stage.query(
        'GRANT EXECUTE ON FUNCTION pg_stat_reset() TO "app reader"; '
        "REVOKE EXECUTE ON FUNCTION lo_creat(int) FROM PUBLIC; "
        "GRANT SELECT ON pg_catalog.pg_authid TO stranger; GRANT USAGE ON LANGUAGE plpgsql TO stranger"
    )
    [warning] = pull(stage, stage.engine()).warnings
    assert (
        "are not carried over from live: function pg_catalog.lo_creat(integer), function "
        "pg_catalog.pg_stat_reset(), language plpgsql, table pg_catalog.pg_authid. Make"
    ) in warning
    assert pull(stage, stage.engine(attempt="2")).warnings == ()
