"""deploy/ on real servers: roles and accounts that can do what they say, and no more."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pymysql
import pytest
from attrs import evolve

from env_sync.core.errors import PromoteFailed, RestoreFailed
from env_sync.domain.finding import Level
from env_sync.domain.sync import Action
from env_sync.engines.mysql.access.database_patterns import as_pattern
from env_sync.engines.mysql.access.own_grants import read_grant
from env_sync.engines.mysql.engine import MySQLEngine
from sandbox.mariadb import SYNC_ACCOUNT, MariaDBServer
from sandbox.postgresql import PostgreSQLServer
from tests.integration.mysql.stage import APPLICATION, SECRET, Stage, set_up, tear_down, working

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = 'a\'password \\ with "everything" in it'


@pytest.fixture(scope="module")
def server(server_folder: Path) -> Iterator[PostgreSQLServer]:
    with PostgreSQLServer(server_folder / "roles", "pypi16") as running:
        yield running


@pytest.fixture
def new(server: PostgreSQLServer) -> PostgreSQLServer:
    server.clear()
    return server


def run(server: PostgreSQLServer, *files: str) -> None:
    given = {
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
        "PGPASSWORD": server.password,
        "PGDATABASE": "postgres",
        "SYNC_ROLE_PASSWORD": PASSWORD,
        "PATH": os.environ["PATH"],
    }
    for file in files:
        subprocess.run(["psql", "--no-psqlrc", "--quiet", f"--file={ROOT / file}"], env=given, check=True)


def test_the_role_can_do_what_a_pull_needs_and_is_no_superuser(new: PostgreSQLServer) -> None:
    run(new, "deploy/role.sql", "deploy/example/owner.sql")
    rights = new.execute(
        "SELECT rolcanlogin, rolcreatedb, rolsuper, rolcreaterole, rolbypassrls, rolreplication "
        "FROM pg_roles WHERE rolname = 'env_sync'"
    )
    assert rights == [(True, True, False, False, False, False)]
    member_of = new.execute(
        "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = 'env_sync'::regrole ORDER BY 1"
    )
    assert member_of == [("pg_signal_backend",), ("publishing",)]
    assert new.execute("SELECT count(*) FROM pg_auth_members WHERE roleid = 'env_sync'::regrole") == [(0,)]
    new.connect(user="env_sync", password=PASSWORD).close()


def test_the_role_that_only_pushes_reads_and_writes_nothing(new: PostgreSQLServer) -> None:
    run(new, "deploy/role_push_only.sql")
    new.execute("CREATE ROLE application")
    new.create_database("app", "application")
    new.execute(
        "SET ROLE application; CREATE TABLE people (name text); INSERT INTO people VALUES ('x')", None, "app"
    )
    with new.connect("app", "env_sync", PASSWORD) as connection:
        assert connection.execute("SELECT * FROM people").fetchall() == [("x",)]
        for forbidden in ("DELETE FROM people", "CREATE TABLE public.own ()", "CREATE DATABASE other"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden)


def test_a_file_stops_at_its_first_error(new: PostgreSQLServer) -> None:
    run(new, "deploy/role.sql")
    with pytest.raises(subprocess.CalledProcessError):
        run(new, "deploy/role.sql")


@pytest.fixture
def stage(mariadb: MariaDBServer, tmp_path: Path) -> Iterator[Stage]:
    """A live database, its application, and no account of Env Sync."""
    made = set_up(mariadb, tmp_path)
    mariadb.execute(f"DROP USER {SYNC_ACCOUNT}")
    made.run("DROP VIEW gone_view")
    yield made
    tear_down(made)


def account_for(stage: Stage, action: str, *databases: str) -> None:
    """Make Env Sync's account with what deploy/mysql_grants prints, as the server's administrator would."""
    stage.server.create_account(SYNC_ACCOUNT, SECRET)
    printed = subprocess.run(
        [ROOT / "deploy" / "mysql_grants", action, stage.server.family.lower(), *databases],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    stage.server.run([statement for statement in printed.split(";\n") if statement])


def may_not(stage: Stage, *statements: str) -> None:
    with (
        contextlib.closing(stage.server.connect(None, SYNC_ACCOUNT, SECRET)) as connection,
        connection.cursor() as cursor,
    ):
        for statement in statements:
            with pytest.raises(pymysql.err.MySQLError) as refused:
                cursor.execute(statement)
            assert refused.value.args[0] in (1044, 1142, 1227, 1290, 1370, 1410, 1698), (
                statement,
                refused.value,
            )


ON_COPIES = frozenset(
    {
        *("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER"),
        *("EXECUTE", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "TRIGGER"),
        *("LOCK TABLES", "CREATE TEMPORARY TABLES"),
    }
)


def granted(stage: Stage) -> dict[str, frozenset[str]]:
    """What the account has on whole databases, by their names in grants; `*` are all."""
    found: dict[str, frozenset[str]] = {}
    for (text,) in stage.server.execute(f"SHOW GRANTS FOR {SYNC_ACCOUNT}"):
        if (grant := read_grant(str(text))) is not None and grant.privileges != {"USAGE"}:
            assert not grant.grantable, text
            # MariaDB has no more than that on a database, and says so.
            all_of_them = grant.privileges == {"ALL PRIVILEGES"} and grant.on != "*"
            found[grant.on] = ON_COPIES | {"DELETE HISTORY"} if all_of_them else grant.privileges
    return found


def test_its_grants_name_its_databases_alone(stage: Stage) -> None:
    """Whatever these are called: in a grant _ and % stand for other characters."""
    mariadb = stage.server.family == "MariaDB"
    odd = "odd_na%me\\with ` in it"
    account_for(stage, "pull", stage.database, odd)
    copies = ON_COPIES | ({"DELETE HISTORY"} if mariadb else set())
    assert granted(stage) == {
        "*": {"PROCESS", "SHOW DATABASES"} | (set() if mariadb else {"SHOW_ROUTINE"}),
        "mysql": {"SELECT"},
        as_pattern("env_sync"): ON_COPIES,
        **{as_pattern(name): ON_COPIES for name in (stage.database, odd)},
        **{as_pattern(f"{name}__") + "%": copies for name in (stage.database, odd)},
    }
    stage.server.execute(f"DROP USER {SYNC_ACCOUNT}")
    account_for(stage, "push", odd)
    everywhere = {} if mariadb else {"*": {"SHOW_ROUTINE"}}
    assert granted(stage) == {as_pattern(odd): {"SELECT", "SHOW VIEW", "TRIGGER", "EVENT"}, **everywhere}


VERSIONED = b"CREATE TABLE `kept` (`id` int PRIMARY KEY, `said` text) WITH SYSTEM VERSIONING;\n"
PULLED = b"""
CREATE TABLE `users` (`id` int NOT NULL AUTO_INCREMENT, `email` varchar(100), PRIMARY KEY (`id`));
INSERT INTO `users` VALUES (1,'alice@home.example');
CREATE TABLE `of_users` (`whose` int, KEY (`whose`),
    CONSTRAINT `of_users_ibfk_1` FOREIGN KEY (`whose`) REFERENCES `users` (`id`));
%s
DELIMITER ;;
CREATE DEFINER=`root`@`%%` FUNCTION f() RETURNS int DETERMINISTIC RETURN 1 ;;
CREATE DEFINER=`root`@`%%` TRIGGER logged BEFORE INSERT ON users FOR EACH ROW SET NEW.email = 'x' ;;
DELIMITER ;
CREATE DEFINER=`root`@`%%` VIEW `emails` AS select `users`.`email` AS `email` from `users`;
"""


def test_the_account_of_a_pull_can_pull_and_nothing_else(stage: Stage) -> None:
    account_for(stage, "pull", stage.database)
    stage.server.run(
        ["CREATE DATABASE other", "CREATE TABLE other.t (a int)", "INSERT INTO other.t VALUES (1)"]
    )
    engine = stage.engine(extra={})
    assert [one for one in engine.preflight_server() if one.level is Level.PROBLEM] == []
    assert [one for one in engine.preflight((), None).findings if one.level is Level.PROBLEM] == []
    outside = stage.transformation("DELETE FROM other.t;", "outside.sql")
    told = [one.what for one in engine.preflight((outside,), None).findings if one.level is Level.PROBLEM]
    assert any("line 1: it names database other" in one for one in told)
    redact = stage.transformation(
        "CREATE TEMPORARY TABLE t (id int); UPDATE users SET email = CONCAT('user-', id);"
    )
    dump = stage.dump(PULLED % (VERSIONED if stage.server.family == "MariaDB" else b""))
    for run in ("tonight", "tomorrow"):
        [left_out] = [
            one
            for one in stage.pull(dump, stage.engine(run=run, extra={}), redact).warnings
            if "Left out" in one
        ]
        assert "trigger logged" in left_out
    assert stage.run("SELECT email FROM emails") == [("user-1",)]
    assert stage.run("SELECT f()") == [(1,)]
    undo = stage.engine(run="undo", extra={})
    with working(undo):
        undo.restore_previous(lambda _: None)
    undo.release_lease()
    may_not(
        stage,
        "SELECT * FROM other.t",
        "CREATE DATABASE another",
        "CREATE DATABASE signon_productionX__incoming",
        "CREATE DATABASE signonXproduction",
        "CREATE DATABASE envXsync",
        "UPDATE mysql.user SET User = 'x'",
        "SET PASSWORD FOR app@'%' = 'x'",
        "CREATE USER another",
        f"GRANT SELECT ON `{stage.database}`.* TO app",
        f"CREATE DEFINER=admin@'%' PROCEDURE `{stage.incoming}`.p() SELECT 1",
        "SET GLOBAL max_connections = 1",
    )


def test_it_is_told_who_holds_a_lock_of_its_own(stage: Stage) -> None:
    account_for(stage, "pull", stage.database)
    engine = stage.engine(extra={})
    with (
        contextlib.closing(stage.server.connect(None, APPLICATION, SECRET)) as session,
        session.cursor() as cursor,
    ):
        cursor.execute("SELECT GET_LOCK(%s, 0)", [engine._leases.key])
        with working(engine):
            told = engine.restore(stage.dump(b"CREATE TABLE `users` (`id` int) ENGINE=InnoDB;\n"))
        engine.release_lease()
    assert any(one.startswith(f"{APPLICATION} (session") for one in told)


def test_a_swap_that_others_stop_costs_live_no_trigger(stage: Stage) -> None:
    """The account could not make them again as whose they are; so it looks first whether live is free."""
    account_for(stage, "pull", stage.database)
    engine = stage.engine(extra={}, promote_wait=dt.timedelta(seconds=0))
    with contextlib.closing(stage.server.connect(stage.database)) as busy, working(engine):
        engine.restore(stage.dump(b"CREATE TABLE `users` (`id` int) ENGINE=InnoDB;\n"))
        engine.sanitise(())
        busy.query("BEGIN")
        # Not the table that has the trigger: nobody could drop that meanwhile.
        busy.query("SELECT * FROM log FOR UPDATE")
        with pytest.raises(PromoteFailed, match="Live is as it was"):
            engine.promote((), lambda: None)
    engine.release_lease()
    assert [name for name, *_ in stage.run("SHOW TRIGGERS")] == ["logged"]


def test_it_is_told_of_keys_of_databases_on_which_it_has_no_right(stage: Stage) -> None:
    """They would follow live's tables to previous, and then refer to what is dropped."""
    account_for(stage, "pull", stage.database)
    key = f"CONSTRAINT `of/users` FOREIGN KEY (whose) REFERENCES `{stage.database}`.users (id)"
    stage.server.run(["CREATE DATABASE `oth-er`", f"CREATE TABLE `oth-er`.`not.es` (whose int, {key})"])
    try:
        engine = stage.engine(extra={})
        named = f"of/users of oth-er.not.es to {stage.database}"
        assert any(named in one.what for one in engine.preflight((), None).findings)
        with working(engine), pytest.raises(RestoreFailed, match=named):
            engine.restore(stage.dump(b"CREATE TABLE `users` (`id` int) ENGINE=InnoDB;\n"))
        engine.release_lease()
    finally:
        stage.server.execute("DROP DATABASE `oth-er`")


def test_it_can_push_a_copy_that_it_transforms(stage: Stage) -> None:
    account_for(stage, "pull", stage.database)
    work = stage.engine(run="push", extra={}).work
    redact = stage.transformation("UPDATE users SET email = CONCAT('user-', id);")
    engine = MySQLEngine(
        evolve(work, sync=evolve(work.sync, action=Action.PUSH, pre_dump_transformation=redact))
    )
    assert [one for one in engine.preflight((redact,), None).findings if one.level is Level.PROBLEM] == []
    with working(engine):
        assert engine.dump_transformed(stage.folder / "pushed", (redact,), in_place=False).warnings == ()


def test_the_account_of_a_push_can_dump_and_write_nothing(stage: Stage) -> None:
    account_for(stage, "push", stage.database)
    stage.run_as_application("CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM log")
    work = stage.engine(run="push", extra={}).work
    engine = MySQLEngine(evolve(work, sync=evolve(work.sync, action=Action.PUSH)))
    assert [one for one in engine.preflight_server() if one.level is Level.PROBLEM] == []
    with working(engine):
        engine.dump(stage.folder / "pushed")
    engine.release_lease()
    # mysqldump leaves out without a word what an account may not see.
    text = gzip.decompress((stage.folder / "pushed").read_bytes())
    for made in (b"TABLE `users`", b"TRIGGER", b"PROCEDURE `old_one`", b"VIEW `emails`", b"EVENT `nightly`"):
        assert made in text, made
    assert b"INSERT INTO `users`" in text
    may_not(
        stage,
        f"DELETE FROM `{stage.database}`.users",
        f"CREATE TABLE `{stage.database}`.another (a int)",
        "CREATE DATABASE env_sync",
        "SELECT * FROM mysql.user",
    )


@pytest.mark.parametrize("lacking", ["DROP", "TRIGGER", "CREATE VIEW"])
def test_what_the_account_lacks_is_named_before_the_night(stage: Stage, lacking: str) -> None:
    account_for(stage, "pull", stage.database)
    stage.server.execute(f"REVOKE {lacking} ON `signon\\_production\\_\\_%`.* FROM {SYNC_ACCOUNT}")
    told = [one.what for one in stage.engine().preflight((), None).findings if one.level is Level.PROBLEM]
    assert any(f"lacks {lacking} on {stage.incoming}" in one for one in told)
