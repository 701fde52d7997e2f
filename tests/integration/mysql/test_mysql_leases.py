"""The database of the leases: used only where it is Env Sync's alone; locks that others hold do not count."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from attrs import evolve

from env_sync.core.errors import AccessRefused, LeaseHeld, NameRefused, PromoteFailed
from env_sync.domain.finding import Level
from env_sync.domain.sync import Action
from env_sync.engines.mysql import lease
from env_sync.engines.mysql.engine import MySQLEngine
from env_sync.engines.mysql.lease import MAKE_TABLES
from tests.integration.mysql.stage import SECRET, Stage, working

MADE = ("CREATE DATABASE env_sync CHARACTER SET utf8mb4", *MAKE_TABLES)
LEASE = MAKE_TABLES[0]


@pytest.fixture
def watched(stage: Stage) -> Iterator[Stage]:
    """A server on which everything that somebody else's code does is seen in `own.seen`."""
    stage.server.run(["CREATE DATABASE own", "CREATE TABLE own.seen (who varchar(200))"])
    yield stage
    stage.server.execute("DROP DATABASE own")


def problems(stage: Stage) -> str:
    return "\n".join(one.what for one in stage.engine().preflight_server() if one.level is Level.PROBLEM)


def refused(stage: Stage, *said: str) -> None:
    """It is refused at once, in a step that began before as well, and in the look before the night."""
    engine = stage.engine(run="refused")
    with pytest.raises(NameRefused) as raised:
        engine.take_lease(at_most=9)
    with pytest.raises(NameRefused), engine.at_work():
        pytest.fail("the step went on")
    for text in (*said, "env_sync", "neither read nor written"):
        assert text in str(raised.value)
        assert text in problems(stage)
    # Nobody is told to let others in.
    assert " TO " not in str(raised.value)


def accepted(stage: Stage) -> None:
    assert problems(stage) == ""
    with working(stage.engine(run="accepted")) as engine:
        assert engine.live_stamp() is None
    engine.release_lease()


def make(stage: Stage, *statements: str) -> None:
    stage.server.execute("CREATE DATABASE IF NOT EXISTS env_sync CHARACTER SET utf8mb4")
    stage.server.run(statements, database="env_sync")


RIGHTS = {
    "everything by a pattern": "ALL ON `env%`.*",
    "one character": "INSERT ON `env_sync`.*",
    "to read by name": r"SELECT ON `env\_sync`.*",
    "the other database too": "TRIGGER ON `%`.*",
    "its table": "UPDATE ON env_sync.lease",
    "a column": "UPDATE (expires_at) ON env_sync.lease",
    "every table": "INSERT ON *.*",
    "every trigger": "TRIGGER ON *.*",
    "every view": "CREATE VIEW ON *.*",
    "to drop": "DROP ON *.*",
}


@pytest.mark.parametrize("grant", RIGHTS.values(), ids=RIGHTS)
@pytest.mark.probe("leases that somebody else made or may change")
def test_nobody_else_has_a_right_to_the_leases(stage: Stage, grant: str) -> None:
    make(stage, *MAKE_TABLES)
    stage.server.create_account("dev", SECRET, grant)
    refused(stage, "dev@% by ")
    assert stage.server.execute("SELECT COUNT(*) FROM env_sync.lease") == [(0,)]
    stage.server.execute("DROP USER dev")
    accepted(stage)


@pytest.mark.probe("leases that somebody else made or may change")
def test_nobody_else_could_have_made_them_first(stage: Stage) -> None:
    stage.server.create_account("dev", SECRET, "ALL ON `env%`.*")
    engine = stage.engine()
    with pytest.raises(NameRefused, match=r"dev@% by a grant ON `env%`"):
        engine.take_lease(at_most=9)
    assert "env_sync" not in stage.server.databases()
    stage.server.execute("DROP USER dev")
    accepted(stage)


@pytest.mark.parametrize(
    "grant", ["SELECT ON *.*", "SELECT ON `%`.*", "ALL ON `signon_production`.*", r"ALL ON `env\%`.*"]
)
def test_other_rights_are_no_matter(stage: Stage, grant: str) -> None:
    make(stage, *MAKE_TABLES)
    stage.server.create_account("dev", SECRET, grant)
    accepted(stage)


@pytest.mark.parametrize("more", ["WITH GRANT OPTION", "accepted"])
def test_who_runs_the_server_stops_no_sync_by_rights_on_everything(stage: Stage, more: str) -> None:
    """With GRANT OPTION and UPDATE on everything it gives itself whatever it wants; or it is named."""
    make(stage, *MAKE_TABLES)
    rights = "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP ON *.* TO dev"
    stage.server.create_account("dev", SECRET)
    stage.server.execute(rights)
    refused(stage, "dev@% by GRANT")
    if more == "accepted":
        extra = {"accepted_administrators": ["dev@%"]}
    else:
        extra = {}
        stage.server.execute(f"{rights} {more}")
    engine = stage.engine(run="accepted", extra=extra)
    assert not [one for one in engine.preflight_server() if one.level is Level.PROBLEM]
    with working(engine):
        assert engine.live_stamp() is None
    engine.release_lease()


RAN = "INSERT INTO own.seen VALUES (CURRENT_USER())"
AS_INVOKER = "RETURNS int SQL SECURITY INVOKER MODIFIES SQL DATA"
NOT_OURS = "has not the columns and the one key"
SQUATTED = {
    "a trigger": (
        (LEASE, f"CREATE TRIGGER seen BEFORE INSERT ON lease FOR EACH ROW {RAN}"),
        "trigger seen on lease is there",
    ),
    "a trigger on the journal": (
        (*MAKE_TABLES, f"CREATE TRIGGER seen AFTER DELETE ON journal FOR EACH ROW {RAN}"),
        "trigger seen on journal is there",
    ),
    "a view": (
        (
            LEASE.replace("lease", "real_lease"),
            f"CREATE FUNCTION seen() {AS_INVOKER} BEGIN {RAN}; RETURN 1; END",
            "CREATE SQL SECURITY INVOKER VIEW lease AS SELECT * FROM real_lease WHERE seen() = 1",
        ),
        "lease is no plain table (view)",
    ),
    "a view that runs nothing": (
        (LEASE.replace("lease", "real_lease"), "CREATE VIEW lease AS SELECT * FROM real_lease"),
        "lease is no plain table (view)",
    ),
    "an event": (
        (*MAKE_TABLES, f"CREATE EVENT seen ON SCHEDULE EVERY 1 YEAR DO {RAN}"),
        "event seen is there",
    ),
    "a routine": ((*MAKE_TABLES, f"CREATE PROCEDURE seen() {RAN}"), "procedure seen is there"),
    "a column more": (
        (LEASE.replace("pid BIGINT", "more int, pid BIGINT"),),
        NOT_OURS,
    ),
    "a column less": ((LEASE.replace("pid BIGINT NOT NULL,", ""),), NOT_OURS),
    "another type": ((LEASE.replace("pid BIGINT", "pid varchar(20)"),), NOT_OURS),
    "a default": ((LEASE.replace("pid BIGINT NOT NULL", "pid BIGINT NOT NULL DEFAULT 1"),), NOT_OURS),
    "a key more": ((*MAKE_TABLES, "ALTER TABLE was_live ADD UNIQUE (token)"), NOT_OURS),
    "another engine": ((LEASE.replace("InnoDB", "MyISAM"),), "lease is no plain table"),
    "a key that refers to it": (
        (
            *MAKE_TABLES,
            (
                "CREATE TABLE own.child (name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, "
                "CONSTRAINT of_lease FOREIGN KEY (name) REFERENCES env_sync.lease (`database`))"
            ),
        ),
        "foreign key of_lease of own is there",
    ),
}


@pytest.mark.parametrize(("made", "says"), SQUATTED.values(), ids=SQUATTED)
@pytest.mark.probe("leases that somebody else made or may change")
def test_tables_that_somebody_else_made_are_not_used(
    watched: Stage, made: tuple[str, ...], says: str
) -> None:
    """Whoever made them may have lost all rights since."""
    make(watched, *made)
    refused(watched, says, "DROP DATABASE `env_sync`")
    assert watched.server.execute("SELECT COUNT(*) FROM own.seen") == [(0,)]
    watched.server.run(["DROP TABLE IF EXISTS own.child", "DROP DATABASE env_sync"])
    accepted(watched)


def test_an_account_that_cannot_see_who_has_rights_is_told_what_lets_it(stage: Stage) -> None:
    stage.server.run([f"DROP USER {stage.engine().work.connection.login}"])
    stage.server.create_account(
        stage.engine().work.connection.login, SECRET, r"ALL ON `env\_sync`.*", "ALL ON `signon_production%`.*"
    )
    with pytest.raises(AccessRefused, match=r"GRANT SELECT ON mysql\.\* TO it"):
        stage.engine().take_lease(at_most=9)
    assert r"GRANT SELECT ON mysql.* TO it" in problems(stage)
    assert "env_sync" not in stage.server.databases()


def test_an_account_that_cannot_see_what_runs_there_is_told_what_lets_it(stage: Stage) -> None:
    make(stage, *MAKE_TABLES)
    login = stage.engine().work.connection.login
    stage.server.execute(f"DROP USER {login}")
    stage.server.create_account(
        login, SECRET, r"SELECT, INSERT, UPDATE, DELETE, CREATE ON `env\_sync`.*", "SELECT ON mysql.*"
    )
    with pytest.raises(NameRefused, match=r"GRANT TRIGGER, EVENT, EXECUTE ON `env\\_sync`\.\*"):
        stage.engine().take_lease(at_most=9)
    stage.server.execute(rf"GRANT TRIGGER, EVENT, EXECUTE ON `env\_sync`.* TO {login}")
    stage.engine().take_lease(at_most=9)


@pytest.fixture
def locked(stage: Stage) -> Iterator[Stage]:
    """Another account holds every named lock that a sync of this database could take."""
    stage.server.create_account("dev", SECRET)
    with contextlib.closing(stage.server.connect(None, "dev", SECRET)) as session, session.cursor() as cursor:
        leases = stage.engine()._leases
        for key in (lease.TAKING, leases.key, leases._group_key):
            cursor.execute("SELECT GET_LOCK(%s, 0)", [key])
        yield stage


def pusher(stage: Stage, *grants: str) -> MySQLEngine:
    stage.server.create_account(
        "pusher", SECRET, "SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON `signon_production`.*", *grants
    )
    stage.run("DROP VIEW gone_view")
    work = stage.engine(run="push").work
    sync = evolve(work.sync, action=Action.PUSH)
    return MySQLEngine(evolve(work, sync=sync, connection=evolve(work.connection, login="pusher")))


@pytest.mark.parametrize("told", [True, False], ids=["whose lock it is is told", "and where it is not"])
@pytest.mark.probe("a lock that anybody can take")
def test_a_lock_of_somebody_else_does_not_stop_a_push(locked: Stage, told: bool) -> None:
    engine = pusher(locked, *(["PROCESS ON *.*"] if told else []))
    with working(engine):
        facts = engine.dump(locked.folder / "pushed")
    engine.release_lease()
    [warning] = [one for one in facts.warnings if "named lock" in one]
    assert warning.startswith("dev (session" if told else "another account (session")
    assert (locked.folder / "pushed").stat().st_size


@pytest.mark.probe("a lock that anybody can take")
def test_a_lock_of_somebody_else_does_not_stop_a_pull(locked: Stage) -> None:
    dump = locked.dump(b"CREATE TABLE `users` (`id` int) ENGINE=InnoDB;\n")
    engine = locked.engine()
    engine.take_lease(at_most=9)
    with engine.at_work():
        assert any("dev (session" in one for one in engine.restore(dump))
        engine.sanitise(())
        assert any("dev (session" in one for one in engine.promote((), lambda: None).warnings)
    # The table still says who has the lease.
    with pytest.raises(LeaseHeld, match="env_sync_integration/tonight"):
        locked.engine(run="another").take_lease(at_most=9)
    engine.release_lease()


@pytest.mark.parametrize("sees", [True, False])
def test_who_may_not_recover_pushes_nothing_of_a_swap_that_did_not_end(stage: Stage, sees: bool) -> None:
    """As far as the account may see that: what live has then may lack tables."""
    make(stage, *MAKE_TABLES)
    to = stage.folder / "pushed"
    with working(pusher(stage, *(["SELECT ON *.*"] if sees else []))) as engine:
        stage.run("INSERT INTO journal VALUES ('another', '{}')", database="env_sync")
        assert engine.dump(to).server_version
        stage.run(f"INSERT INTO journal VALUES ('{stage.database}', '{{}}')", database="env_sync")
        if sees:
            with pytest.raises(PromoteFailed, match=r"did not end.*nothing was dumped"):
                engine.dump(to)
        else:
            assert engine.dump(to).server_version
        # Nothing is read that may be code of somebody else.
        stage.run("RENAME TABLE journal TO theirs", database="env_sync")
        stage.run("CREATE VIEW journal AS SELECT * FROM theirs", database="env_sync")
        assert engine.dump(to).server_version
    engine.release_lease()


def test_a_lock_of_our_own_account_stops_a_push(stage: Stage) -> None:
    engine = pusher(stage)
    with (
        contextlib.closing(stage.server.connect(None, "pusher", SECRET)) as session,
        session.cursor() as cursor,
    ):
        cursor.execute("SELECT GET_LOCK(%s, 0)", [engine._leases.key])
        with pytest.raises(LeaseHeld, match="Another process is at work"):
            engine.take_lease(at_most=9)
    engine.take_lease(at_most=9)
