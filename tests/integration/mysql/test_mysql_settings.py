"""What one transformation sets, the next does not inherit; as whom and where it runs is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from env_sync.core.errors import TransformationFailed
from env_sync.engines.mysql import client_settings
from env_sync.engines.mysql.session import Session
from tests.integration.mysql.stage import Stage, said, working

pytestmark = pytest.mark.probe("settings that a transformation, live or a role changes", engines=["mysql"])

DUMP = b"""
CREATE TABLE `users` (`id` int NOT NULL, `email` varchar(100), `boss` int, PRIMARY KEY (`id`),
    CONSTRAINT `boss` FOREIGN KEY (`boss`) REFERENCES `users` (`id`)) ENGINE=InnoDB;
INSERT INTO `users` VALUES (1,'alice@home.example',NULL),(2,'bob@home.example',1);
"""
REDACT = "UPDATE users SET email = CONCAT('user-', id);"
LEFT_BEHIND = {
    "safe updates": "SET sql_safe_updates = 1;",
    "mode": "SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT';",
    "keys": "SET foreign_key_checks = 0;",
    "zone": "SET time_zone = '+05:00';",
    "names": "SET NAMES latin1;",
    "limit": "SET sql_select_limit = 0;",
    "a variable": "SET @left_behind = 'there';",
    "a temporary table in the place of ours": "CREATE TEMPORARY TABLE users (id int, email varchar(100));",
}
NOTHING_LEFT = """
CREATE TABLE seen AS SELECT @@sql_safe_updates AS safe, @@sql_mode = @@GLOBAL.sql_mode AS mode,
    @@foreign_key_checks AS checked, @@time_zone AS zone, @@character_set_client AS names,
    @@sql_select_limit > 1000 AS no_limit, @left_behind AS variable;
"""

LOOK = "SELECT safe, mode, checked, zone, names, no_limit, variable FROM seen"
UNTOUCHED = [(0, 1, 1, "+00:00", "utf8mb4", 1, None)]


def sanitise(stage: Stage, *texts: str) -> None:
    files: list[Path] = [
        stage.transformation(text, f"file_{number}.sql") for number, text in enumerate(texts, 1)
    ]
    engine = stage.engine()
    engine.take_lease(at_most=9)
    with engine.at_work():
        engine.restore(stage.dump(DUMP))
        engine.sanitise(files)
        engine.promote(said(*files), lambda: None)
    engine.release_lease()


@pytest.mark.parametrize("left", LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_what_one_file_leaves_the_next_does_not_find(stage: Stage, left: str) -> None:
    sanitise(stage, left, f"{NOTHING_LEFT}{REDACT}")
    assert stage.run(LOOK) == UNTOUCHED
    assert stage.run("SELECT email FROM users ORDER BY id") == [("user-1",), ("user-2",)]


def test_a_statement_that_one_file_prepares_is_not_there_for_the_next(stage: Stage) -> None:
    """It could be prepared for what nobody reads in the file that runs it."""
    with pytest.raises(TransformationFailed, match=r"file_2\.sql, line 1: .*unknown_stmt_handler"):
        sanitise(stage, "PREPARE left_behind FROM 'SELECT 1';", "EXECUTE left_behind;")


def test_a_file_may_set_what_it_needs_for_itself(stage: Stage) -> None:
    sanitise(
        stage, "SET foreign_key_checks = 0; SET sql_mode = 'ANSI_QUOTES'; DELETE FROM users WHERE \"id\" = 1;"
    )
    assert stage.run("SELECT id FROM users") == [(2,)]


@pytest.mark.parametrize(
    ("name", "value"),
    # The first refuses updates without a key, for people at a console.
    [("sql_safe_updates", 1), ("foreign_key_checks", 0), ("time_zone", "+05:00")],
)
def test_what_the_server_is_set_to_does_not_count(stage: Stage, name: str, value: object) -> None:
    [(before,)] = stage.server.execute(f"SELECT @@GLOBAL.{name}")
    stage.server.execute(f"SET GLOBAL {name} = %s", [value])
    try:
        sanitise(stage, f"{NOTHING_LEFT}{REDACT}")
    finally:
        stage.server.execute(f"SET GLOBAL {name} = %s", [before])
    assert stage.run(LOOK) == UNTOUCHED
    assert stage.run("SELECT email FROM users ORDER BY id") == [("user-1",), ("user-2",)]


@pytest.mark.parametrize(
    "text", ["SET ROLE NONE;", "SET DEFAULT ROLE NONE;", "SET @@GLOBAL.sql_safe_updates = 1;"]
)
def test_as_whom_it_runs_is_not_its_own_to_say(stage: Stage, text: str) -> None:
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(DUMP))
        with pytest.raises(TransformationFailed, match=r"line 1: SET .* cannot be run here"):
            engine.sanitise((stage.transformation(text),))
    assert stage.incoming not in stage.server.databases()


def test_a_role_that_it_changes_all_the_same_fails_it(stage: Stage) -> None:
    """By a text that is put together when it runs, which nobody can look at before."""
    to = {"MariaDB": "FOR", "MySQL": "TO"}[stage.server.family]
    stage.server.run(["CREATE ROLE more", "GRANT more TO env_sync", f"SET DEFAULT ROLE more {to} env_sync"])
    try:
        engine = stage.engine()
        with working(engine):
            engine.restore(stage.dump(DUMP))
            text = f"{REDACT} SET @sql = CONCAT('SET RO', 'LE NONE'); PREPARE x FROM @sql; EXECUTE x;"
            with pytest.raises(TransformationFailed, match=r"began as .* and ended as"):
                engine.sanitise((stage.transformation(text),))
        assert stage.incoming not in stage.server.databases()
    finally:
        stage.server.execute("DROP ROLE more")


def test_a_session_that_is_not_kept_together_fails_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a proxy does that sends each statement to another session of the server."""
    execute = Session.execute

    def elsewhere(session: Session, statement: str, *rest: object) -> object:
        if statement.startswith("SET SESSION sql_mode = @@GLOBAL"):
            return []
        return execute(session, statement, *rest)  # type: ignore[arg-type]

    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(DUMP))
        monkeypatch.setattr(Session, "execute", elsewhere)
        with pytest.raises(TransformationFailed, match=r"is not what it was set to be \(sql_mode"):
            engine.sanitise((stage.transformation(REDACT),))
        monkeypatch.setattr(Session, "execute", execute)
    assert stage.incoming not in stage.server.databases()
    assert client_settings.SETTINGS["sql_safe_updates"] == "0"


@pytest.mark.parametrize("when", ["before the first statement", "after the last one"])
def test_a_session_of_another_account_fails_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """As a proxy has it that gives a session back to the wrong client, for a moment."""
    read, execute = client_settings.read_beginning, Session.execute
    begun: list[str] = []

    def watched(session: Session, statement: str, *rest: object) -> object:
        begun.extend([statement] if statement == "START TRANSACTION" else [])
        return execute(session, statement, *rest)  # type: ignore[arg-type]

    def read_by_check(session: Session) -> client_settings.Beginning:
        wrong = bool(begun) == (when == "after the last one")
        return evolve(read(session), account="another@%") if wrong else read(session)

    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(DUMP))
        # Only the look before the first statement and the one at the proof read it there.
        monkeypatch.setattr(client_settings, "read_beginning", read_by_check)
        monkeypatch.setattr(Session, "execute", watched)
        with pytest.raises(TransformationFailed, match=r"that began as env_sync@% .* is another@%"):
            engine.sanitise((stage.transformation(REDACT),))
        monkeypatch.undo()
    assert stage.incoming not in stage.server.databases()
