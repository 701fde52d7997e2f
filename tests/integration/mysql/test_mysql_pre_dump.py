"""A push that transforms: live stays as it is, its copy is closed and goes, the dump is as one of live."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from env_sync.core.errors import NameRefused, ProofMissing, RestoreFailed, TransformationFailed
from env_sync.domain.sync import Action
from env_sync.engines.base.contract import DumpFacts
from env_sync.engines.mysql import incoming as incoming_module
from env_sync.engines.mysql import outgoing as outgoing_module
from env_sync.engines.mysql.dump import dump_database
from env_sync.engines.mysql.engine import MySQLEngine
from env_sync.engines.mysql.identifiers import qualified, quoted
from env_sync.engines.mysql.metadata import TABLE
from env_sync.engines.mysql.session import Session
from env_sync.engines.mysql.swap import make_like
from tests.integration.mysql.stage import APPLICATION, SECRET, Stage, said, working

REDACT = "UPDATE users SET email = CONCAT('user-', id);"
RAW = b"old-1@example.com"
COUNT = "SELECT COUNT(*), SUM(email LIKE 'old-%') FROM users"
LIVE, REDACTED = [(20, 20)], [(20, 0)]


@pytest.fixture
def live(stage: Stage) -> Stage:
    return whole(stage)


def whole(stage: Stage) -> Stage:
    """Without the view that stands on nothing, at which mysqldump stops."""
    stage.run_as_application(
        "CREATE TABLE late (id int, said varchar(50))",
        "INSERT INTO late VALUES (1, 'new in production')",
        "CREATE TRIGGER of_late BEFORE INSERT ON late FOR EACH ROW SET NEW.id = 1",
        # Comes before what it stands on, in every list.
        "CREATE VIEW a_view AS SELECT email FROM emails",
        "CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DO DELETE FROM log",
    )
    return stage


def pushing(stage: Stage, *, in_place: bool = False) -> MySQLEngine:
    work = stage.engine().work
    sync = evolve(
        work.sync,
        action=Action.PUSH,
        pre_dump_transformation=stage.folder / "redact.sql",
        pre_dump_in_place=in_place,
        excluded_tables=("late",),
    )
    return MySQLEngine(evolve(work, sync=sync))


def push(stage: Stage, text: str = REDACT, *, in_place: bool = False) -> DumpFacts:
    engine = pushing(stage, in_place=in_place)
    file = stage.transformation(text)
    try:
        with working(engine):
            return engine.dump_transformed(to(stage), [file], in_place=in_place)
    finally:
        engine.release_lease()


def to(stage: Stage) -> Path:
    return stage.folder / "pushed"


def outgoing(stage: Stage) -> str:
    return f"{stage.database}__outgoing"


def content(stage: Stage) -> bytes:
    return gzip.decompress(to(stage).read_bytes())


def untouched(stage: Stage) -> None:
    """Live is as it was, and of the push nothing is left."""
    assert stage.run(COUNT) == LIVE
    assert stage.server.databases() == {stage.database, "env_sync"}
    assert not to(stage).exists()
    assert not list(stage.folder.glob("live.dump*"))


def test_the_dump_is_transformed_and_live_is_not(live: Stage) -> None:
    facts = push(live, REDACT + "INSERT INTO users (email) SELECT 'late' FROM late;")
    assert facts.transformations == said(live.folder / "redact.sql")
    assert facts.warnings == ()
    assert facts.started < facts.finished
    assert live.run(COUNT) == LIVE
    assert live.server.databases() == {live.database, "env_sync"}
    assert [each.name for each in live.folder.iterdir() if "dump" in each.name] == []
    text = content(live)
    assert b"'user-20'" in text
    assert RAW not in text
    # The excluded table was there for the transformation, and is not in the dump, nor its trigger.
    assert b"'late'" in text
    assert b"new in production" not in text
    assert b"of_late" not in text
    assert text.count(b"EVENT `tidy`") == 1, text[-3000:]


@pytest.mark.parametrize("name", ["signon", "email-alert-api_production", "Ünïcode", "a `b`", "x" * 54])
def test_the_dump_is_one_of_live_by_its_name(named_stage: Callable[[str], Stage], name: str) -> None:
    stage = whole(named_stage(name))
    push(stage)
    text = content(stage)
    assert f"    Database: {name}\n".encode() in text
    assert b"outgoing" not in text
    assert TABLE.encode() not in text
    with working(pushing(stage)) as engine:
        engine.verify(to(stage))


def test_any_client_restores_it(live: Stage) -> None:
    push(live)
    live.run("CREATE DATABASE laptop", f"GRANT ALL ON laptop.* TO {APPLICATION}")
    where = [f"--host={live.server.host}", f"--port={live.server.port}", "--user=env_sync", "laptop"]
    done = subprocess.run(
        [live.server.program("mariadb"), "--no-defaults", *where],
        env={"MYSQL_PWD": SECRET},
        input=content(live),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert live.run(COUNT, database="laptop") == REDACTED
    assert len(live.run("SELECT * FROM a_view", database="laptop")) == 20
    assert live.run("SHOW PROCEDURE STATUS WHERE Db = 'laptop'")[0][1] == "old_one"


def test_a_pull_takes_the_dump_as_any_other(live: Stage) -> None:
    push(live)
    file = live.transformation("SELECT 1;")
    live.pull(live.dump_file(to(live).read_bytes()), None, file)
    assert live.run(COUNT) == REDACTED


FAILING = {
    "first": "SELECT no_such FROM users;\n" + REDACT,
    "last": REDACT + "\nSELECT no_such FROM users;",
    "commit": REDACT + "COMMIT;",
    "live": f"{REDACT} UPDATE signon_production.users SET email = NULL;",
    "the copy": f"{REDACT} UPDATE signon_production__outgoing.users SET email = NULL;",
    "too long": "UPDATE users SET email = REPEAT(email, 100);",
    "definition": "ALTER TABLE users ADD COLUMN more int; SELECT no_such FROM users;",
}


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("way", FAILING)
def test_a_statement_that_fails_leaves_no_dump(live: Stage, way: str, in_place: bool) -> None:
    before = live.run("SHOW CREATE TABLE users")
    with pytest.raises(TransformationFailed, match=r"redact\.sql, line \d: ") as failed:
        push(live, FAILING[way], in_place=in_place)
    assert "@example.com" not in str(failed.value)
    assert "ncoming" not in str(failed.value)
    assert "no dump is uploaded" in str(failed.value)
    untouched(live)
    assert live.run("SHOW CREATE TABLE users") == before


def test_in_place_live_itself_is_transformed(live: Stage) -> None:
    facts = push(live, REDACT, in_place=True)
    assert facts.transformations == said(live.folder / "redact.sql")
    assert live.run(COUNT) == REDACTED
    assert RAW not in content(live)
    assert live.server.databases() == {live.database, "env_sync"}
    assert live.engine().live_stamp() is None


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE log",
        "DROP TABLE log",
        "CREATE INDEX said ON log (said)",
        "RENAME TABLE log TO logs",
        "CALL old_one()",
        "PREPARE x FROM 'COMMIT'",
        "EXECUTE IMMEDIATE 'COMMIT'",
        "IF 1 THEN COMMIT; END IF",
        "SET @a = 1, autocommit = 1",
        "SET STATEMENT max_statement_time = 9 FOR TRUNCATE log",
        "/*!99999 SELECT */ TRUNCATE log",
        "UNLOCK TABLES",
        "SELECT 1; COMMIT",
        "ANALYZE TABLE log",
    ],
)
def test_in_place_nothing_may_commit(live: Stage, statement: str) -> None:
    with pytest.raises(TransformationFailed, match=r"redact\.sql, line 3: .* may commit"):
        push(live, f"{REDACT}\nDELIMITER $$\n{statement} $$\n", in_place=True)
    untouched(live)


def test_in_place_a_savepoint_and_a_temporary_table_are_no_commit(live: Stage) -> None:
    text = (
        "CREATE TEMPORARY TABLE t AS SELECT id FROM users; SAVEPOINT a; DELETE FROM users; "
        "ROLLBACK TO a; DROP TEMPORARY TABLE t;"
    )
    with pytest.raises(TransformationFailed, match="line 2"):
        push(live, f"{text}\nSELECT no_such FROM users;", in_place=True)
    untouched(live)
    push(live, text + REDACT, in_place=True)
    assert live.run(COUNT) == REDACTED


def test_in_place_needs_tables_that_can_be_rolled_back(live: Stage) -> None:
    live.run("CREATE TABLE old_engine (id int) ENGINE=MyISAM")
    with pytest.raises(TransformationFailed, match="rows of old_engine, whose engine"):
        push(live, in_place=True)
    untouched(live)


def test_an_account_that_could_read_the_copy_stops_the_push(
    live: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def watched(session: Session, database: str, like: str) -> None:
        made.append(database)
        make_like(session, database, like)

    monkeypatch.setattr(incoming_module, "make_like", watched)
    live.server.create_account("curious", SECRET, "SELECT ON `signon%`.*")
    found = [one.what for one in pushing(live).preflight([live.transformation(REDACT)], None).findings]
    assert any("curious@%" in one and "so a push refuses" in one for one in found)
    with pytest.raises(RestoreFailed, match=r"curious@% by a grant ON `signon%`"):
        push(live)
    assert made == []
    untouched(live)


def left(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process leaves it that is killed while it restores."""
    with monkeypatch.context() as patched:
        patched.setattr(MySQLEngine, "_dropping", lambda engine, copy: nothing_dropped())
        patched.setattr(outgoing_module, "restore_dump", interrupted)
        with pytest.raises(KeyboardInterrupt):
            push(stage)
    assert outgoing(stage) in stage.server.databases()


class nothing_dropped:  # noqa: N801 - stands for a function
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_clean_up_drops_what_a_killed_step_left(live: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    left(live, monkeypatch)
    with working(pushing(live)) as engine:
        assert engine.clean_up().notes == (f"dropped {outgoing(live)}, which was restoring",)
    untouched(live)


@pytest.mark.parametrize("action", [Action.PUSH, Action.PULL])
def test_a_later_run_drops_it_too(live: Stage, monkeypatch: pytest.MonkeyPatch, action: Action) -> None:
    dump = live.dump_file(gzip.compress(live.mysqldump()))
    left(live, monkeypatch)
    if action is Action.PUSH:
        push(live)
    else:
        with working(live.engine("another")) as engine:
            engine.restore(dump)
    assert outgoing(live) not in live.server.databases()


def test_clean_up_leaves_the_copy_of_another_run_alone(live: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    left(live, monkeypatch)
    work = pushing(live).work
    other = evolve(work.holder, run="env_sync_integration/another")
    with working(MySQLEngine(evolve(work, holder=other))) as engine:
        assert "was left alone" in engine.clean_up().notes[0]
    assert outgoing(live) in live.server.databases()


class Killed(BaseException):
    """Stands for the end of a process."""


def test_a_copy_that_was_dropped_by_half_is_still_ours(live: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is the last statement of the process that drops it, the next one knows it, and drops it."""
    execute = Session.execute
    moment, ended = 0, False
    while not ended:
        left(live, monkeypatch)
        live.run(
            "CREATE TABLE people (id int)",
            "CREATE VIEW everybody AS SELECT id FROM people",
            "CREATE FUNCTION f() RETURNS int RETURN 1",
            "CREATE PROCEDURE p() SELECT 1",
            database=outgoing(live),
        )
        dropped = 0

        def watched(
            session: Session, statement: str, *rest: Any, moment: int = moment, **options: Any
        ) -> Any:
            nonlocal dropped
            if statement.startswith("DROP "):
                if dropped == moment:
                    raise Killed
                dropped += 1
                if statement.startswith("DROP DATABASE"):
                    # The server takes tables first, and may be killed between any two.
                    parts = live.run(
                        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() "
                        "UNION SELECT ROUTINE_NAME FROM information_schema.ROUTINES "
                        "WHERE ROUTINE_SCHEMA = DATABASE()",
                        database=outgoing(live),
                    )
                    assert parts == [(TABLE,)]
            return execute(session, statement, *rest, **options)

        with working(pushing(live)) as engine, monkeypatch.context() as patched:
            patched.setattr(Session, "execute", watched)
            try:
                engine.clean_up()
                ended = True
            except Killed:
                moment += 1
        with working(pushing(live)) as engine:
            engine.clean_up()
        assert outgoing(live) not in live.server.databases()
    assert moment >= 5


def test_a_copy_that_was_only_just_made_is_ours(live: Stage) -> None:
    live.run(f"CREATE DATABASE {quoted(outgoing(live))}")
    with working(pushing(live)) as engine:
        assert engine.clean_up().notes == (f"dropped {outgoing(live)}, which was without a stamp",)
    untouched(live)


def test_a_database_of_somebody_else_is_left_alone(live: Stage) -> None:
    live.run(f"CREATE DATABASE {quoted(outgoing(live))}")
    live.run("CREATE TABLE theirs (id int)", database=outgoing(live))
    found = [one.what for one in pushing(live).preflight([live.transformation(REDACT)], None).findings]
    assert any("that Env Sync did not make" in one for one in found)
    with pytest.raises(NameRefused, match="that Env Sync did not make"):
        push(live)
    with working(pushing(live)) as engine:
        assert engine.clean_up().notes == ()
    assert live.run("SELECT COUNT(*) FROM theirs", database=outgoing(live)) == [(0,)]


def test_a_copy_that_was_replaced_is_not_pushed(live: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease was lost, say, while it dumped."""

    def replacing(server: object, database: str, *rest: object, **options: object) -> DumpFacts:
        facts = dump_database(server, database, *rest, **options)  # type: ignore[arg-type]
        if database == outgoing(live):
            live.run(f"UPDATE {qualified(database, TABLE)} SET value = '{{}}' WHERE name = 'told'")
        return facts

    monkeypatch.setattr(outgoing_module, "dump_database", replacing)
    with pytest.raises(ProofMissing, match="nothing was uploaded"):
        push(live)
    untouched(live)


def test_before_the_night_it_is_tried_on_live(live: Stage) -> None:
    def found(text: str, *, in_place: bool = False) -> list[str]:
        engine = pushing(live, in_place=in_place)
        return [one.what for one in engine.preflight([live.transformation(text)], None).findings]

    [room] = [one for one in found(REDACT) if "administrator" not in one]
    assert room.startswith(f"The push makes {outgoing(live)}")
    assert any("line 1" in one and "emial" in one for one in found("UPDATE users SET emial = NULL;"))
    assert any("may commit" in one for one in found("TRUNCATE log;", in_place=True))
    assert not any("may commit" in one for one in found("TRUNCATE log;"))
    assert live.run(COUNT) == LIVE
    assert live.server.databases() == {live.database}


def test_before_the_night_an_account_that_may_only_dump_is_named(live: Stage) -> None:
    live.server.create_account("dumper", SECRET, "SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON *.*")
    work = pushing(live).work
    engine = MySQLEngine(evolve(work, connection=evolve(work.connection, login="dumper")))
    found = [one.what for one in engine.preflight([live.transformation("SELECT 1;")], None).findings]
    assert any("dumper lacks" in one and "CREATE" in one for one in found)
