"""Who could let himself into incoming is told, and who was let in for a while is seen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from env_sync.core.errors import AccessRefused, PromoteFailed, RestoreFailed, TransformationFailed
from env_sync.domain.finding import Level
from env_sync.engines.postgresql.restore import restore_archive
from sandbox.postgresql import PostgreSQLServer
from tests.integration.postgresql.stage import (
    OWNER,
    SECRET,
    SOURCE,
    STRANGER,
    VERSIONS,
    Stage,
    said,
    set_up,
    working,
)

READS = pytest.mark.probe("a right that reaches the copies")
GIVEN = pytest.mark.probe("a right that is given during a pull")
OF_EACH_VERSION = pytest.mark.parametrize(
    "any_stage", [(name, False) for name in VERSIONS], indirect=True, ids=VERSIONS
)
LET_IN = (
    "GRANT CONNECT ON DATABASE app__incoming TO stranger",
    "REVOKE CONNECT ON DATABASE app__incoming FROM stranger",
)
LOGIN_TRIGGER = """
CREATE FUNCTION app.login() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION app.login();
"""
CHANGED = "rights on database app__incoming .* were changed"
BEFORE_16 = {
    "creates roles": ("CREATE ROLE admin LOGIN CREATEROLE", "CREATEROLE"),
    "can become one that creates roles": (
        "CREATE ROLE maker CREATEROLE; CREATE ROLE admin LOGIN NOINHERIT IN ROLE maker",
        "membership in maker",
    ),
}
SINCE_16 = {
    "has the admin option": (
        "CREATE ROLE admin LOGIN; GRANT env_sync TO admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
        "ADMIN OPTION on env_sync",
    ),
    "has it by a path": (
        """
        CREATE ROLE inner_group; CREATE ROLE outer_group; CREATE ROLE admin LOGIN;
        GRANT env_sync TO inner_group WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
        GRANT inner_group TO outer_group; GRANT outer_group TO admin
        """,
        "ADMIN OPTION on env_sync",
    ),
    "may give himself a member of it": (
        """
        CREATE ROLE one_of_us IN ROLE env_sync; CREATE ROLE admin LOGIN;
        GRANT one_of_us TO admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE
        """,
        "membership in env_sync",
    ),
}
EVER = {
    "can become a superuser": ("CREATE ROLE admin LOGIN IN ROLE postgres", "membership in postgres"),
    "reads files": (
        "CREATE ROLE admin LOGIN IN ROLE pg_read_server_files",
        "membership in pg_read_server_files",
    ),
    "copies the server": ("CREATE ROLE admin LOGIN REPLICATION", "REPLICATION"),
}
WAYS = {**BEFORE_16, **SINCE_16, **EVER}
WAYS_OF_VERSIONS = [
    *(("postgresql15", way) for way in (*BEFORE_16, *EVER)),
    *(("postgresql18", way) for way in (*SINCE_16, *EVER)),
]


@pytest.fixture
def with_live(any_stage: Stage) -> Stage:
    stage = any_stage.with_dump()
    stage.server.create_database("app", OWNER)
    return stage


@pytest.fixture
def ready(stage: Stage) -> Stage:
    stage = stage.with_dump()
    stage.server.create_database("app", OWNER)
    return stage


@pytest.fixture
def with_login_trigger(postgresql18: PostgreSQLServer, tmp_path: Path) -> Iterator[Stage]:
    """A dump with an event trigger of logins, which only a superuser restores."""
    yield set_up(postgresql18, tmp_path, superuser=True).with_dump(SOURCE + LOGIN_TRIGGER)
    postgresql18.clear()


def do(stage: Stage, *statements: str) -> None:
    """Each in a transaction of its own; what they changed is counted at once."""
    with contextlib.closing(stage.server.connect()) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        connection.execute("SELECT pg_stat_force_next_flush()")


def told(stage: Stage, level: Level = Level.NOTE) -> list[str]:
    return [one.what for one in stage.engine().preflight_server() if one.level is level]


@READS
@pytest.mark.parametrize(
    ("any_stage", "way"),
    [((version, False), way) for version, way in WAYS_OF_VERSIONS],
    indirect=["any_stage"],
    ids=[f"{version} {way}" for version, way in WAYS_OF_VERSIONS],
)
def test_who_could_let_himself_in_is_told_until_accepted(any_stage: Stage, way: str) -> None:
    stage = any_stage
    statements, by = WAYS[way]
    assert told(stage) == told(stage, Level.PROBLEM) == []
    stage.server.execute(statements)
    [note] = told(stage)
    assert note.startswith("These roles can read what is not sanitised yet on ")
    assert f": admin (by {by}). Take that from them" in note
    accepting = evolve(stage, extra={**stage.extra, "accepted_readers": ["admin"]})
    [note] = told(accepting)
    assert note.startswith(f"admin (by {by}) can read incoming before it is sanitised, and may")
    assert told(stage, Level.PROBLEM) == []


def test_who_only_creates_roles_cannot_since_16(stage: Stage) -> None:
    stage.server.execute(BEFORE_16["creates roles"][0])
    assert told(stage) == []


@READS
def test_each_night_tells_who_could(ready: Stage) -> None:
    """At its beginning, and again of who can by its end."""
    assert ready.dump
    do(ready, SINCE_16["has the admin option"][0])
    with working(ready.engine()) as engine:
        [warning] = engine.restore(ready.dump)
        assert ": admin (by ADMIN OPTION on env_sync). Take that" in warning
        engine.sanitise([])
        do(ready, "ALTER ROLE stranger REPLICATION")
        [warning] = engine.promote((), lambda: None).warnings
        assert ": admin (by ADMIN OPTION on env_sync), stranger (by REPLICATION). Take that" in warning


@GIVEN
@OF_EACH_VERSION
def test_a_grant_that_was_taken_away_again_stops_it(with_live: Stage) -> None:
    assert with_live.dump
    file = with_live.transformation()
    with working(with_live.engine()) as engine:
        engine.restore(with_live.dump)
        do(with_live, *LET_IN)
        with pytest.raises(TransformationFailed, match=CHANGED):
            engine.sanitise([file])
        assert "app__incoming" not in with_live.server.databases()
        engine.restore(with_live.dump)
        engine.sanitise([file])
        do(with_live, *LET_IN)
        with pytest.raises(PromoteFailed, match=CHANGED):
            engine.promote(said(file), lambda: None)


@GIVEN
def test_one_while_it_is_restored_stops_it(ready: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ready.dump

    def restore(*given: Any, **named: Any) -> tuple[str, ...]:
        do(ready, *LET_IN)
        return restore_archive(*given, **named)

    monkeypatch.setattr("env_sync.engines.postgresql.engine.restore_archive", restore)
    with working(ready.engine()) as engine, pytest.raises(RestoreFailed, match=CHANGED):
        engine.restore(ready.dump)
    assert "app__incoming" not in ready.server.databases()


@GIVEN
@pytest.mark.parametrize("first", [False, True], ids=["live is there", "first pull"])
@pytest.mark.parametrize(
    ("statements", "says"),
    [(LET_IN, CHANGED), (LET_IN[:1], r"stranger \(by a grant\)")],
    ids=["for a while", "still"],
)
def test_it_is_looked_for_right_before_the_swap(
    stage: Stage, first: bool, statements: Sequence[str], says: str
) -> None:
    stage = stage.with_dump()
    if not first:
        stage.server.create_database("app", OWNER)
    assert stage.dump
    file = stage.transformation()
    looks = [] if first else [lambda: None]

    def look() -> None:
        if looks:
            looks.pop()
        else:
            do(stage, *statements)

    with working(stage.engine()) as engine:
        engine.restore(stage.dump)
        engine.sanitise([file])
        with pytest.raises(PromoteFailed, match=says):
            engine.promote(said(file), look)
    assert ("app" in stage.server.databases()) is not first


@GIVEN
@OF_EACH_VERSION
def test_a_membership_that_was_taken_away_again_is_told(with_live: Stage) -> None:
    assert with_live.dump
    file = with_live.transformation()
    with working(with_live.engine()) as engine:
        engine.restore(with_live.dump)
        do(with_live, "GRANT env_sync TO stranger", "REVOKE env_sync FROM stranger")
        engine.sanitise([file])
        [warning] = engine.promote(said(file), lambda: None).warnings
    assert warning.startswith(
        "Memberships of roles were taken away or altered on the server of app__incoming "
    )
    assert "Whoever was a member of env_sync meanwhile could have read it" in warning
    assert '"accept_memberships": true' in warning


@GIVEN
def test_who_is_a_member_and_cannot_log_in_any_more_is_told(ready: Stage) -> None:
    accepting = evolve(ready, extra={**ready.extra, "accept_memberships": True})
    assert ready.dump
    with working(accepting.engine()) as engine:
        engine.restore(ready.dump)
        do(ready, "GRANT env_sync TO stranger", "ALTER ROLE stranger NOLOGIN")
        engine.sanitise([])
        [warning] = engine.promote((), lambda: None).warnings
    assert warning.startswith("Who is a member of env_sync on the server of app__incoming ")


@OF_EACH_VERSION
def test_logins_that_come_are_no_news_and_those_that_go_can_be_accepted(with_live: Stage) -> None:
    """As Vault makes them, and the administrator's own role."""
    accepting = evolve(with_live, extra={**with_live.extra, "accept_memberships": "true"})
    assert with_live.dump
    with working(with_live.engine()) as engine:
        engine.restore(with_live.dump)
        do(with_live, "CREATE ROLE hourly LOGIN IN ROLE app_owner", "GRANT app_owner TO stranger")
        engine.sanitise([])
        assert engine.promote((), lambda: None).warnings == ()
    with working(accepting.engine(attempt="2")) as engine:
        engine.restore(with_live.dump)
        do(with_live, "DROP ROLE hourly")
        engine.sanitise([])
        assert engine.promote((), lambda: None).warnings == ()
    assert told(with_live) == []
    assert told(accepting)[0].startswith("accept_memberships of connection ")


def test_what_an_earlier_version_wrote_is_compared_as_it_meant_it(ready: Stage) -> None:
    """It counted all that was done to memberships, and told neither members nor the database."""
    assert ready.dump
    with working(ready.engine()) as engine:
        for grants in ([], ["GRANT app_owner TO stranger"]):
            engine.restore(ready.dump)
            closed = ready.comment(ready.incoming).closed
            assert closed
            earlier = evolve(closed, taken_away=None, members=None, database=None)
            ready.put_comment(ready.incoming, evolve(ready.comment(ready.incoming), closed=earlier))
            # As in the steps after it, of a restore that kept nothing.
            engine.closed = ""
            do(ready, *grants)
            engine.sanitise([])
            warnings = engine.promote((), lambda: None).warnings
            assert [warning[:22] for warning in warnings] == ["Memberships of roles w"] * len(grants)


def test_where_nothing_tells_how_it_was_opened_that_is_said(ready: Stage) -> None:
    """As a version leaves it that did not keep that, neither in the comment nor in its results."""
    assert ready.dump
    with working(ready.engine()) as engine:
        engine.restore(ready.dump)
        engine.sanitise([])
        ready.put_comment(ready.incoming, evolve(ready.comment(ready.incoming), closed=None))
        engine.closed = ""
        [warning] = engine.promote((), lambda: None).warnings
    assert "does not say how it was when it was opened for us alone" in warning


def test_lost_statistics_are_called_that(ready: Stage) -> None:
    assert ready.dump
    with working(ready.engine()) as engine:
        engine.restore(ready.dump)
        comment = ready.comment(ready.incoming)
        assert comment.closed
        # As a crash leaves it, of which they began anew.
        before = evolve(comment.closed, memberships=comment.closed.memberships + 1000)
        ready.put_comment(ready.incoming, evolve(comment, closed=before))
        engine.closed = ""
        engine.sanitise([])
        [warning] = engine.promote((), lambda: None).warnings
    assert "lost its statistics" in warning


@GIVEN
@pytest.mark.parametrize("step", ["sanitise", "promote"])
@pytest.mark.parametrize("how", ["taken away", "rewritten"])
def test_who_changes_what_shows_that_he_was_let_in_is_stopped(ready: Stage, how: str, step: str) -> None:
    """A member for a while may write the comment as our role."""
    assert ready.dump
    file = ready.transformation()

    def let_in() -> None:
        do(ready, "GRANT env_sync TO stranger", *LET_IN, "REVOKE env_sync FROM stranger")
        comment, closed = ready.comment(ready.incoming), None
        if how == "rewritten":
            [(row,)] = ready.query(f"SELECT xmin::text FROM pg_database WHERE datname = '{ready.incoming}'")
            assert comment.closed
            assert comment.closed.taken_away is not None
            closed = evolve(comment.closed, row=row, taken_away=comment.closed.taken_away + 1)
        ready.put_comment(ready.incoming, evolve(comment, closed=closed))

    says = "no longer says how it was when it was opened" if how == "taken away" else "that was changed"
    with working(ready.engine()) as engine:
        engine.restore(ready.dump)
    # Each step is another process, which has what the one before kept.
    kept = engine.closed
    with working(ready.engine()) as engine:
        engine.closed = kept
        if step == "sanitise":
            let_in()
            with pytest.raises(TransformationFailed, match=says):
                engine.sanitise([file])
            assert ready.incoming not in ready.server.databases()
            return
        engine.sanitise([file])
        let_in()
        with pytest.raises(PromoteFailed, match=says):
            engine.promote(said(file), lambda: None)


@GIVEN
def test_a_copy_of_incoming_in_its_place_is_stopped(ready: Stage) -> None:
    """A member for a while may make databases as our role."""
    assert ready.dump
    file = ready.transformation()
    with working(ready.engine()) as engine:
        engine.restore(ready.dump)
        engine.sanitise([file])
        comment = ready.comment(ready.incoming)
        ready.server.execute(f"CREATE DATABASE taken TEMPLATE {ready.incoming} OWNER env_sync")
        ready.server.execute("REVOKE ALL ON DATABASE taken FROM PUBLIC")
        ready.server.drop_database(ready.incoming)
        ready.server.execute(f"ALTER DATABASE taken RENAME TO {ready.incoming}")
        ready.put_comment(ready.incoming, comment)
        assert engine.incoming_stamp() is None
        [warning] = engine.work.changed_rows.take().warnings
        assert "was another database than the one that the restore of this group made" in warning
        for kept in (engine.closed, ""):
            engine.closed = kept
            with pytest.raises(PromoteFailed, match="is not the one that was opened for us alone"):
                engine.promote(said(file), lambda: None)


@GIVEN
@pytest.mark.parametrize(
    ("statement", "named"),
    [("REVOKE env_sync FROM stranger", "stranger"), ("DROP ROLE stranger", "a role that was dropped")],
)
def test_who_stayed_in_it_stops_it(ready: Stage, statement: str, named: str) -> None:
    """He goes on as our role, although he is no member any more."""
    assert ready.dump
    with working(ready.engine()) as engine:
        engine.restore(ready.dump)
        do(ready, "GRANT env_sync TO stranger")
        with contextlib.closing(ready.server.connect(ready.incoming, STRANGER, SECRET)) as theirs:
            theirs.execute("SET ROLE env_sync")
            do(ready, statement)
            assert theirs.execute("SELECT count(*) FROM app.people").fetchall() == [(500,)]
            with pytest.raises(TransformationFailed, match=rf"by {named} \(it is connected now\)"):
                engine.sanitise([ready.transformation()])
    assert "app__incoming" not in ready.server.databases()


@GIVEN
@OF_EACH_VERSION
def test_nothing_is_told_of_a_night_in_which_nobody_was_let_in(with_live: Stage) -> None:
    stage = with_live
    assert stage.dump
    file = stage.transformation()
    with working(stage.engine()) as engine:
        assert engine.restore(stage.dump) == ()
        # None of these lets anybody in.
        do(stage, "VACUUM FREEZE pg_database", "COMMENT ON ROLE stranger IS 'x'")
        stage.query("VACUUM FREEZE", stage.incoming)
        engine.sanitise([file])
        assert engine.promote(said(file), lambda: None).warnings == ()
    assert stage.comment("app").closed is None


def test_an_event_trigger_of_logins_is_no_grant(with_login_trigger: Stage) -> None:
    """It changes the row of the database as a grant does."""
    stage = with_login_trigger
    with working(stage.engine()) as engine:
        assert stage.dump
        engine.restore(stage.dump)
        engine.sanitise([])
        engine.promote((), lambda: None)
    assert stage.query("SELECT evtname FROM pg_event_trigger") == [("on_login",)]


def test_a_list_of_readers_that_is_none_is_refused_at_once(ready: Stage) -> None:
    assert ready.dump
    wrong = evolve(ready, extra={**ready.extra, "accepted_readers": "admin"})
    with working(wrong.engine()) as engine, pytest.raises(AccessRefused, match="is no list of names"):
        engine.restore(ready.dump)
