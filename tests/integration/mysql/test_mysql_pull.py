"""Pulls into MariaDB: what a dump may do, who may look, and what a promote leaves."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import json
import threading
from collections.abc import Callable
from typing import Any

import pymysql
import pytest

from env_sync.core.errors import (
    DumpDamaged,
    LeaseLost,
    NameRefused,
    NoPrevious,
    PreviousRefused,
    PromoteFailed,
    ProofMissing,
    RestoreFailed,
    TransformationFailed,
)
from env_sync.domain.finding import Level
from env_sync.engines.base.contract import CopyState, Dump
from env_sync.engines.mysql import engine as engine_module
from env_sync.engines.mysql import promotion as promotion_module
from env_sync.engines.mysql import swap as swap_module
from env_sync.engines.mysql.client_tools import known_dump_tools
from env_sync.engines.mysql.engine import MySQLEngine
from env_sync.engines.mysql.incoming import make_closed
from env_sync.engines.mysql.names import copies_of
from env_sync.engines.mysql.objects import Kind, drop_object
from env_sync.engines.mysql.renaming import Tables
from env_sync.engines.mysql.session import Server, Session
from env_sync.engines.mysql.stash import put_aside
from env_sync.engines.mysql.swap import Plan, _statement, rename
from sandbox.mariadb import SYNC_ACCOUNT, account
from tests.integration.mysql.stage import SECRET, Stage, said, set_up, working

NEW = b"""
/*!50503 SET NAMES utf8mb4 */;
CREATE TABLE `users` (`id` int NOT NULL AUTO_INCREMENT, `email` varchar(100), PRIMARY KEY (`id`));
INSERT INTO `users` VALUES (1,'alice@home.example'),(2,'bob@home.example');
CREATE TABLE `log` (`id` int NOT NULL AUTO_INCREMENT, `said` varchar(100), PRIMARY KEY (`id`)) ENGINE=InnoDB;
CREATE TABLE `added` (`id` int) ENGINE=InnoDB;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`nobody`@`elsewhere`*/ /*!50003 TRIGGER `logged` AFTER UPDATE ON `users`
FOR EACH ROW INSERT INTO log (said) VALUES ('new trigger') */;;
CREATE DEFINER=`nobody`@`elsewhere` PROCEDURE `new_one`() SELECT 2;;
DELIMITER ;
/*!50001 CREATE VIEW `emails` AS SELECT 1 AS `email` */;
/*!50001 CREATE VIEW `emails` AS select `users`.`email` AS `email`,`users`.`id` AS `id` from `users` */;
"""


def objects(stage: Stage, database: str) -> set[str]:
    rows = stage.server.execute(
        "SELECT CONCAT(TABLE_TYPE, ' ', TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
        "UNION SELECT CONCAT('TRIGGER ', TRIGGER_NAME) FROM information_schema.TRIGGERS "
        "WHERE TRIGGER_SCHEMA = %s "
        "UNION SELECT CONCAT('ROUTINE ', ROUTINE_NAME) FROM information_schema.ROUTINES "
        "WHERE ROUTINE_SCHEMA = %s",
        [database] * 3,
    )
    return {name for (name,) in rows}


OLD_OBJECTS = {
    *("BASE TABLE users", "BASE TABLE log", "BASE TABLE gone_above", "VIEW emails", "VIEW gone_view"),
    *("TRIGGER logged", "ROUTINE old_one"),
}
NEW_OBJECTS = {
    *("BASE TABLE users", "BASE TABLE log", "BASE TABLE added", "BASE TABLE env_sync_stamp", "VIEW emails"),
    *("TRIGGER logged", "ROUTINE new_one"),
}


def test_live_is_what_the_dump_was_and_nothing_else(stage: Stage) -> None:
    promotion = stage.pull(stage.dump(NEW))
    assert objects(stage, stage.database) == NEW_OBJECTS
    assert promotion.previous_kept
    # Nobody is called so here.
    [warning] = [each for each in promotion.warnings if "nobody@elsewhere" in each]
    assert "procedure new_one" in warning
    assert stage.run("SELECT COUNT(*), MAX(id) FROM emails") == [(2, 2)]
    stage.run("UPDATE users SET email = 'x'")
    assert stage.run("SELECT DISTINCT said FROM log") == [("new trigger",)]
    # What is gone above went to previous.
    assert "BASE TABLE gone_above" in objects(stage, stage.previous)


def test_undo_brings_everything_back_and_forth(stage: Stage) -> None:
    stage.pull(stage.dump(NEW))
    for run, expected in (("undo", OLD_OBJECTS), ("redo", NEW_OBJECTS)):
        engine = stage.engine(run=run)
        with working(engine):
            undone = engine.restore_previous(lambda _: None)
            assert undone.previous_kept
            # A rerun does not change them back.
            assert engine.restore_previous(lambda _: None).unavailable == undone.unavailable
            assert engine.made_live_by() == engine.work.holder
        engine.release_lease()
        assert objects(stage, stage.database) - {"BASE TABLE env_sync_stamp"} == expected - {
            "BASE TABLE env_sync_stamp"
        }
    assert stage.run("SELECT COUNT(*) FROM emails") == [(2,)]


KEYED = b"""
CREATE TABLE `users` (`id` int PRIMARY KEY, `boss` int, `age` int,
    CONSTRAINT `of_age` CHECK (`age` > 17),
    CONSTRAINT `boss` FOREIGN KEY (`boss`) REFERENCES `users` (`id`)) ENGINE=InnoDB;
CREATE TABLE `accounts` (`whose` int, CONSTRAINT `whose` FOREIGN KEY (`whose`) REFERENCES `users` (`id`))
    ENGINE=InnoDB;
INSERT INTO `users` VALUES (%d,NULL,18);
"""
KEYED_OBJECTS = {f"BASE TABLE {name}" for name in ("accounts", "users", "env_sync_stamp")}
GROWN = "CREATE TRIGGER grown BEFORE INSERT ON users FOR EACH ROW SET NEW.age = 18"


def foreign_keys(stage: Stage) -> list[tuple[str, ...]]:
    return stage.server.execute(
        "SELECT CONSTRAINT_SCHEMA, UNIQUE_CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME "
        "FROM information_schema.REFERENTIAL_CONSTRAINTS ORDER BY 1, 2, 3, 4"
    )


@pytest.mark.parametrize("undo", ["whole", "after a kill"])
def test_undo_keeps_foreign_keys_that_both_copies_call_the_same(
    stage: Stage, undo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has each name of one once in a database, also for the moment of a RENAME."""
    for generation in (1, 2):
        stage.pull(stage.dump(KEYED % generation))
    both = [
        (database, database, table, key)
        for database in (stage.database, stage.previous)
        for table, key in (("accounts", "whose"), ("users", "boss"))
    ]
    assert foreign_keys(stage) == both
    for run, generation in (("undo", 1), ("redo", 2)):
        engine = stage.engine(run=run)
        if undo == "after a kill":
            with monkeypatch.context() as patched, working(engine):
                patched.setattr(promotion_module, "rename", killed)
                with pytest.raises(KilledHere):
                    engine.restore_previous(lambda _: None)
        with working(engine):
            assert engine.restore_previous(lambda _: None).previous_kept
        engine.release_lease()
        assert stage.run("SELECT id FROM users") == [(generation,)]
        assert foreign_keys(stage) == both
        assert stage.server.databases() == {"env_sync", stage.database, stage.previous}
        for refused in ("INSERT INTO accounts VALUES (9)", "INSERT INTO users VALUES (9, NULL, 17)"):
            with pytest.raises(pymysql.err.MySQLError):
                stage.run(refused)
    stage.pull(stage.dump(KEYED % 3))
    assert foreign_keys(stage) == both


@pytest.mark.parametrize(
    ("moves", "says"), [(0, "it is as it was"), (2, "are back"), (4, "are back"), (7, "swapped by a step")]
)
def test_an_undo_whose_rename_a_crash_cut_short_is_taken_back_or_ended(
    stage: Stage, moves: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without atomic RENAMEs keeps those moves that it did: here of 3, 3 and 3 tables."""
    for generation in (1, 2):
        stage.pull(stage.dump(KEYED % generation))
    stage.run_as_application(GROWN)
    engine = stage.engine(run="undo")
    with monkeypatch.context() as patched, working(engine):
        patched.setattr(promotion_module, "rename", cut_short(moves))
        with pytest.raises(KilledHere):
            engine.restore_previous(lambda _: None)
    with working(engine):
        assert says in "; ".join(engine.clean_up().notes)
    generation = 1 if "swapped" in says else 2
    copies = {stage.database: generation, stage.previous: 3 - generation}
    assert stage.server.databases() == {"env_sync", *copies}
    for database, has in copies.items():
        assert stage.run("SELECT id FROM users", database=database) == [(has,)]
        kept = {"TRIGGER grown"} if database == stage.database and has == 2 else set()
        assert objects(stage, database) == KEYED_OBJECTS | kept
    with working(engine):
        engine.restore_previous(lambda _: None)
    assert stage.run("SELECT id FROM users") == [(1,)]


def promote_cut_short(engine: MySQLEngine, dump: Dump, *, moves: int) -> None:
    """A pull whose server crashes when the rename of its promotion has moved so many tables."""
    with working(engine):
        engine.restore(dump)
        engine.sanitise([])
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(promotion_module, "rename", cut_short(moves))
            with pytest.raises(KilledHere):
                engine.promote((), lambda: None)


@pytest.mark.parametrize("moves", [2, 4])
def test_a_promote_whose_rename_a_crash_cut_short_is_run_again(stage: Stage, moves: int) -> None:
    for generation in (1, 2):
        stage.pull(stage.dump(KEYED % generation))
    stage.run_as_application(GROWN)
    engine = stage.engine(run="next")
    promote_cut_short(engine, stage.dump(KEYED % 3), moves=moves)
    with working(engine):
        assert stage.run("SELECT id FROM users") == [(2,)]
        assert objects(stage, stage.database) == {*KEYED_OBJECTS, "TRIGGER grown"}
        engine.promote((), lambda: None)
    for database, generation in ((stage.database, 3), (stage.previous, 2)):
        assert stage.run("SELECT id FROM users", database=database) == [(generation,)]
        assert stage.run("SELECT COUNT(*) FROM accounts", database=database) == [(0,)]


def test_a_promote_onto_an_empty_live_that_a_crash_cut_short_is_run_again(stage: Stage) -> None:
    """Somebody made live, with its character set, and nothing of it goes aside."""
    stage.server.run([f"DROP DATABASE `{stage.database}`", f"CREATE DATABASE `{stage.database}`"])
    engine = stage.engine()
    promote_cut_short(engine, stage.dump(KEYED % 1), moves=1)
    with working(engine):
        assert objects(stage, stage.database) == set()
        engine.promote((), lambda: None)
    assert objects(stage, stage.database) == KEYED_OBJECTS


def test_the_journal_names_the_tables_that_the_rename_moves(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that live's application makes while the step waits for its locks."""
    stage.pull(stage.dump(KEYED % 1))
    engine = stage.engine(run="next")
    with working(engine):
        engine.restore(stage.dump(KEYED % 2))
        engine.sanitise([])
    found = []

    def late(session: Session, *rest: Any) -> float:
        stage.run("CREATE TABLE late (id int)")
        return rename(session, *rest)

    def killed_at(plan: Plan) -> str:
        ((journal,),) = stage.run("SELECT promotion FROM journal", database="env_sync")
        found.append((json.loads(journal)["tables"]["old"], plan))
        raise KilledHere

    with monkeypatch.context() as patched, working(engine):
        patched.setattr(promotion_module, "rename", late)
        patched.setattr(swap_module, "_statement", killed_at)
        with pytest.raises(KilledHere):
            engine.promote((), lambda: None)
    ((tables, plan),) = found
    assert "late" in tables
    assert plan.tables == Tables(old=tuple(tables), new=("accounts", "env_sync_stamp", "users"))
    with working(engine):
        engine.promote((), lambda: None)
    assert objects(stage, stage.database) == KEYED_OBJECTS
    assert "BASE TABLE late" in objects(stage, stage.previous)


def test_a_journal_without_the_tables_of_a_rename_that_was_cut_short_is_left_alone(stage: Stage) -> None:
    """The versions before wrote such; what is where cannot be known."""
    stage.pull(stage.dump(KEYED % 1))
    engine = stage.engine(run="next")
    promote_cut_short(engine, stage.dump(KEYED % 2), moves=1)
    stage.run("UPDATE journal SET promotion = JSON_REMOVE(promotion, '$.tables')", database="env_sync")
    databases = (stage.database, stage.previous, stage.incoming)
    before = [objects(stage, each) for each in databases]
    for _ in range(2):
        with pytest.raises(PromoteFailed, match="Nothing was touched; drop none of them"), working(engine):
            pytest.fail("It was recovered.")
    assert [objects(stage, each) for each in databases] == before
    # As the message says.
    stage.server.run(
        [
            f"RENAME TABLE `{stage.previous}`.`accounts` TO `{stage.database}`.`accounts`",
            f"DELETE FROM env_sync.journal WHERE `database` = '{stage.database}'",
        ]
    )
    with working(engine):
        engine.promote((), lambda: None)
    assert stage.run("SELECT id FROM users") == [(2,)]


class KilledHere(Exception):
    """In the place of SIGKILL."""


def killed(*_: object) -> float:
    raise KilledHere


def cut_short(moves: int) -> Callable[..., float]:
    """In the place of a RENAME: so many of its moves, and then nothing."""

    def rename(session: Session, _: Server, plan: Plan, *__: object) -> float:
        for one in plan.old:
            if one.kind is Kind.TRIGGER:
                drop_object(session, plan.live, one)
        text = _statement(plan).removeprefix("RENAME TABLE ")
        session.execute("SET SESSION foreign_key_checks = 0")
        for move in text.split(", ")[:moves]:
            session.execute(f"RENAME TABLE {move}")
        session.execute("SET SESSION foreign_key_checks = 1")
        raise KilledHere

    return rename


def problems_of(stage: Stage) -> str:
    findings = stage.engine().preflight((), None).findings
    return "\n".join(each.what for each in findings if each.level is Level.PROBLEM)


@pytest.mark.probe("a previous that somebody else made")
def test_a_previous_of_somebody_else_is_not_dropped(stage: Stage) -> None:
    stage.server.run(
        [f"CREATE DATABASE `{stage.previous}`", f"CREATE TABLE `{stage.previous}`.precious (a int)"]
    )
    assert f"There is a database {stage.previous}" in problems_of(stage)
    with pytest.raises(NameRefused, match="may be somebody else's"):
        stage.pull(stage.dump(NEW))
    assert objects(stage, stage.previous) == {"BASE TABLE precious"}
    # One that holds no table is no empty one.
    replaced = f"{stage.database}__replaced"
    stage.server.run(
        [
            f"DROP DATABASE `{stage.previous}`",
            f"CREATE DATABASE `{replaced}`",
            f"CREATE PROCEDURE `{replaced}`.precious() SELECT 1",
        ]
    )
    try:
        with pytest.raises(NameRefused, match="may be somebody else's"):
            stage.pull(stage.dump(NEW))
        assert objects(stage, replaced) == {"ROUTINE precious"}
    finally:
        stage.server.execute(f"DROP DATABASE `{replaced}`")
    assert stage.incoming not in stage.server.databases()


@pytest.mark.parametrize("copy", ["incoming", "outgoing", "previous", "replaced"])
@pytest.mark.probe("a copy that somebody else made")
def test_what_somebody_else_made_under_the_name_of_a_copy_is_not_dropped(stage: Stage, copy: str) -> None:
    """Nor where it holds a stamp that cannot be read, or, for what never is live, that of live."""
    theirs = f"{stage.database}__{copy}"
    redact = stage.transformation("UPDATE users SET email = CONCAT('user-', id);")
    stage.server.run([f"CREATE DATABASE `{theirs}`", f"CREATE TABLE `{theirs}`.precious (a int)"])

    def refused(run: str) -> None:
        assert f"There is a database {theirs}" in problems_of(stage)
        before = objects(stage, stage.database)
        engine = stage.engine(run=run)
        with working(engine):
            with pytest.raises(NameRefused, match=theirs):
                engine.restore(stage.dump(NEW))
            engine.clean_up()
        engine.release_lease()
        assert "BASE TABLE precious" in objects(stage, theirs)
        assert objects(stage, stage.database) == before

    refused("without a stamp")
    stage.server.run(
        [
            f"CREATE TABLE `{theirs}`.env_sync_stamp (name VARCHAR(32) PRIMARY KEY, value LONGTEXT)",
            f"INSERT INTO `{theirs}`.env_sync_stamp VALUES ('told', '{{}}')",
        ]
    )
    refused("with an empty stamp")
    if copy in ("incoming", "outgoing"):
        stage.server.execute(f"DROP DATABASE `{theirs}`")
        stage.pull(stage.dump(NEW), None, redact)
        stage.server.run(
            [
                f"CREATE DATABASE `{theirs}`",
                f"CREATE TABLE `{theirs}`.precious (a int)",
                f"CREATE TABLE `{theirs}`.env_sync_stamp AS SELECT * FROM `{stage.database}`.env_sync_stamp",
            ]
        )
        refused("with that of live")
    stage.server.execute(f"DROP DATABASE `{theirs}`")
    stage.pull(stage.dump(NEW), stage.engine(run="after"), redact)
    assert stage.run("SELECT email FROM users WHERE id = 1") == [("user-1",)]


@pytest.mark.probe("a copy that somebody else made")
def test_what_somebody_makes_in_the_last_moment_is_not_dropped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*arguments: object) -> None:
        stage.server.run(
            [f"CREATE DATABASE `{stage.incoming}`", f"CREATE TABLE `{stage.incoming}`.a (a int)"]
        )
        make_closed(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(engine_module, "make_closed", late)
    engine = stage.engine()
    with working(engine), pytest.raises(RestoreFailed):
        engine.restore(stage.dump(NEW))
    assert objects(stage, stage.incoming) == {"BASE TABLE a"}


def test_a_swap_that_cannot_be_done_does_not_cost_previous(stage: Stage) -> None:
    stage.pull(stage.dump(NEW))
    before = objects(stage, stage.previous)
    engine = stage.engine(run="next", promote_wait=dt.timedelta(seconds=0))
    with contextlib.closing(stage.server.connect(stage.database)) as busy:
        busy.query("BEGIN")
        busy.query("SELECT * FROM users FOR UPDATE")
        with pytest.raises(PromoteFailed, match="could not be swapped"):
            stage.pull(stage.dump(NEW), engine)
    with working(engine):
        engine.clean_up()
    assert objects(stage, stage.previous) == before
    assert {stage.incoming, f"{stage.database}__replaced"}.isdisjoint(stage.server.databases())
    with working(engine):
        engine.restore_previous(lambda _: None)
    assert stage.run("SELECT COUNT(*) FROM users") == [(20,)]


@pytest.mark.parametrize("moved", ["all", "half"])
def test_a_step_that_ends_before_the_swap_leaves_previous_to_the_clean_up(stage: Stage, moved: str) -> None:
    """Half of a RENAME is what a server without atomic ones leaves when it is killed."""
    stage.pull(stage.dump(NEW))
    before = objects(stage, stage.previous)
    engine = stage.engine(run="next")
    replaced = f"{stage.database}__replaced"
    with working(engine):
        if moved == "all":
            put_aside(engine._held.session, copies_of(stage.database))
        else:
            name = "env_sync_stamp"
            stage.server.execute(f"CREATE DATABASE `{replaced}`")
            stage.server.execute(f"RENAME TABLE `{stage.previous}`.{name} TO `{replaced}`.{name}")
    with working(engine):
        assert any("is again what it was" in note for note in engine.clean_up().notes)
    assert objects(stage, stage.previous) == before
    assert replaced not in stage.server.databases()
    with working(engine):
        engine.restore_previous(lambda _: None)
    assert stage.run("SELECT COUNT(*) FROM users") == [(20,)]


def test_what_was_never_previous_is_not_dropped_in_its_place(stage: Stage) -> None:
    """A server without atomic RENAMEs that is killed in an undo may leave live's tables there."""
    stage.pull(stage.dump(NEW))
    replaced = f"{stage.database}__replaced"
    tables = ("added", "env_sync_stamp")
    stage.server.execute(f"CREATE DATABASE `{replaced}`")
    stage.server.run([f"RENAME TABLE `{stage.database}`.{one} TO `{replaced}`.{one}" for one in tables])
    engine = stage.engine(run="next")
    with working(engine):
        engine.clean_up()
        with pytest.raises(NameRefused, match=replaced):
            engine.restore_previous(lambda _: None)
        with pytest.raises(NameRefused, match=replaced):
            engine.restore(stage.dump(NEW))
    assert objects(stage, replaced) == {f"BASE TABLE {one}" for one in tables}


def test_keys_of_other_databases_that_would_follow_live_to_previous_stop_a_pull(stage: Stage) -> None:
    key = f"CONSTRAINT of_users FOREIGN KEY (whose) REFERENCES `{stage.database}`.users (id)"
    stage.server.run(["CREATE DATABASE other", f"CREATE TABLE other.notes (whose int, {key})"])
    try:
        assert "of_users of other.notes" in problems_of(stage)
        engine = stage.engine()
        with working(engine), pytest.raises(RestoreFailed, match=r"of_users of other\.notes"):
            engine.restore(stage.dump(NEW))
        stage.server.execute("DROP TABLE other.notes")
        assert problems_of(stage) == ""
        # An undo would take live's tables to previous as well.
        stage.pull(stage.dump(KEYED % 1), engine)
        stage.server.execute(f"CREATE TABLE other.notes (whose int, {key})")
        undo = stage.engine(run="undo")
        with working(undo), pytest.raises(PromoteFailed, match=r"of_users of other\.notes"):
            undo.restore_previous(lambda _: None)
        assert stage.run("SELECT id FROM users") == [(1,)]
    finally:
        stage.server.execute("DROP DATABASE other")


def test_a_database_whose_name_differs_by_case_or_accent_is_another_one(stage: Stage) -> None:
    names = [stage.database.upper(), stage.database.replace("o", "ö")]
    key = f"CONSTRAINT of_users FOREIGN KEY (whose) REFERENCES `{stage.database}`.users (id)"
    for name in names:
        stage.server.run([f"CREATE DATABASE `{name}`", f"CREATE TABLE `{name}`.notes (whose int, {key})"])
    try:
        for name in names:
            assert f"of_users of {name}.notes" in problems_of(stage)
        # Nor is a key of theirs one to ours.
        for name in names:
            stage.server.run(
                [
                    f"CREATE TABLE `{name}`.more (id int PRIMARY KEY)",
                    f"ALTER TABLE `{name}`.notes DROP FOREIGN KEY of_users",
                    f"ALTER TABLE `{name}`.notes ADD FOREIGN KEY (whose) REFERENCES `{name}`.more (id)",
                ]
            )
        assert problems_of(stage) == ""
    finally:
        stage.server.run([f"DROP DATABASE `{name}`" for name in names])


@pytest.mark.probe("a previous that somebody else made")
def test_undo_refuses_what_was_not_live(stage: Stage) -> None:
    engine = stage.engine(run="undo")
    with working(engine):
        with pytest.raises(NoPrevious):
            engine.restore_previous(lambda _: None)
        stage.server.execute(f"CREATE DATABASE `{stage.previous}`")
        with pytest.raises(PreviousRefused, match="does not say that it was ever live"):
            engine.restore_previous(lambda _: None)
    engine.release_lease()
    stage.pull(stage.dump(NEW))
    stage.server.execute("UPDATE env_sync.was_live SET token = 'another'")
    with working(engine), pytest.raises(PreviousRefused, match="another database"):
        engine.restore_previous(lambda _: None)
    assert objects(stage, stage.database) == NEW_OBJECTS


BEGINNINGS = {"MariaDB": b"enable the sandbox mode", "MySQL": b"-- MySQL dump "}


@pytest.mark.parametrize("program", ["mysqldump", "mariadb-dump"])
def test_what_the_shell_script_dumped_is_restored(stage: Stage, program: str) -> None:
    text = stage.mysqldump(program=program)
    assert BEGINNINGS[stage.server.family] in text[:60]
    stage.run("DELETE FROM users")
    engine = stage.engine()
    dump = stage.dump_file(gzip.compress(text))
    engine.verify(dump.file)
    stage.pull(dump, engine)
    assert stage.run("SELECT COUNT(*) FROM users") == [(20,)]


@pytest.mark.probe("a dump that writes elsewhere")
def test_a_dump_of_several_databases_is_refused(stage: Stage) -> None:
    stage.server.execute("CREATE DATABASE other")
    both = stage.dump_file(gzip.compress(stage.mysqldump("--databases", "other")))
    engine = stage.engine()
    with working(engine), pytest.raises((RestoreFailed, DumpDamaged)):
        engine.restore(both)
    # One that names its own database leaves it no more than any other.
    only = stage.dump_file(gzip.compress(stage.mysqldump("--databases")))
    with working(engine):
        engine.restore(only)
    assert stage.run("SELECT COUNT(*) FROM users", database=stage.incoming) == [(20,)]


@pytest.mark.probe("a forged proof")
def test_a_proof_in_a_dump_is_none(stage: Stage) -> None:
    stage.pull(stage.dump(NEW))
    # The shell script dumps the whole of live, its stamp included.
    text = stage.mysqldump().replace(b"-- MariaDB dump", b"-- MySQL dump")
    assert b"env_sync_stamp" in text
    engine = stage.engine(run="tomorrow")
    with working(engine):
        engine.restore(stage.dump_file(gzip.compress(text)))
        stamp = engine.incoming_stamp()
        assert stamp is not None
        assert stamp.state is CopyState.RAW
        with pytest.raises(ProofMissing):
            engine.promote((), lambda: None)


GRANTS = {
    "SELECT ON *.*": "GRANT SELECT ON *.*",
    r"SELECT ON `signon%`.*": "`signon%`",
    r"INSERT ON `signon\_production\_\_incoming`.*": "incoming",
    "EXECUTE ON `%`.*": "`%`",
}


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.probe("a right that reaches the copies")
def test_nothing_is_restored_where_somebody_else_could_read_it(stage: Stage, grant: str) -> None:
    stage.server.create_account("reporting", SECRET, grant)
    engine = stage.engine()
    with working(engine), pytest.raises(RestoreFailed, match="reporting@%") as raised:
        engine.restore(stage.dump(NEW))
    assert GRANTS[grant] in str(raised.value)
    assert stage.incoming not in stage.server.databases()
    assert any("reporting@%" in each.what for each in engine.preflight((), None).findings)


@pytest.mark.probe("a right that is given during a pull")
def test_who_gets_a_grant_meanwhile_stops_the_promote(stage: Stage) -> None:
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(NEW))
        engine.sanitise(())
        stage.server.create_account("reporting", SECRET, "SELECT ON *.*")
        with pytest.raises(PromoteFailed, match="reporting@%"):
            engine.promote((), lambda: None)
    assert objects(stage, stage.database) == OLD_OBJECTS


def test_grants_that_name_live_alone_are_no_matter(stage: Stage) -> None:
    stage.server.create_account("app", SECRET, "ALL ON `signon_production`.*")
    stage.pull(stage.dump(NEW))
    with contextlib.closing(stage.server.connect(stage.database, "app", SECRET)) as connection:
        connection.query("SELECT * FROM added")
        for copy in (stage.incoming, stage.previous):
            with pytest.raises(pymysql.err.MySQLError):
                connection.query(f"SELECT * FROM `{copy}`.users")


ACCOUNTS = b"""
CREATE TABLE `accounts` (`id` int PRIMARY KEY, `name` varchar(99));
INSERT INTO `accounts` VALUES (1, 'alice');
CREATE TABLE `people` (`id` int PRIMARY KEY, `email` varchar(99));
INSERT INTO `people` VALUES (1, 'alice@home.example');
DELIMITER ;;
%s
DELIMITER ;
"""
BOTH = "UPDATE accounts SET name = 'x'; UPDATE people SET email = 'x';"


@pytest.mark.probe("a table in the place of another", engines=["mysql"])
@pytest.mark.parametrize("way", ["trigger", "procedure"])
def test_no_temporary_table_of_a_trigger_stands_in_for_another(stage: Stage, way: str) -> None:
    made = b"CREATE TEMPORARY TABLE IF NOT EXISTS people (id int, email varchar(99))"
    code = {
        "trigger": b"CREATE TRIGGER t AFTER UPDATE ON accounts FOR EACH ROW " + made + b" ;;",
        "procedure": b"CREATE PROCEDURE p() " + made + b" ;;\n"
        b"CREATE TRIGGER t AFTER UPDATE ON accounts FOR EACH ROW CALL p() ;;",
    }[way]
    engine = stage.engine()
    with working(engine):
        [warning] = [
            each for each in engine.restore(stage.dump(ACCOUNTS % code)) if "temporary tables" in each
        ]
        assert "trigger t" in warning
        engine.sanitise((stage.transformation(BOTH),))
    assert stage.run("SELECT email FROM people", database=stage.incoming) == [("x",)]


@pytest.mark.probe("a forged proof", engines=["mysql"])
def test_no_code_of_a_dump_writes_what_the_copy_says_of_itself(stage: Stage) -> None:
    forged = (
        b"CREATE VIEW `s` AS SELECT * FROM `env_sync_stamp` ;;\n"
        b"CREATE TRIGGER t AFTER UPDATE ON accounts FOR EACH ROW "
        b"REPLACE INTO `env_sync_stamp` (name, value) VALUES ('objects', '[]') ;;"
    )
    engine = stage.engine()
    with working(engine):
        [warning] = [
            each for each in engine.restore(stage.dump(ACCOUNTS % forged)) if "env_sync_stamp" in each
        ]
        assert "view s, trigger t" in warning
        engine.sanitise((stage.transformation(BOTH),))
    kept = stage.run("SELECT value FROM env_sync_stamp WHERE name = 'objects'", database=stage.incoming)
    assert [each["name"] for each in json.loads(kept[0][0])] == ["s", "t"]


@pytest.mark.probe("a trigger that undoes a transformation", engines=["mysql"])
def test_what_a_trigger_sets_stops_the_transformation(stage: Stage) -> None:
    # Servers put back sql_mode and foreign_key_checks when a trigger ends, and not these.
    code = b"CREATE TRIGGER t AFTER UPDATE ON accounts FOR EACH ROW SET SESSION time_zone = '+05:00' ;;"
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(ACCOUNTS % code))
        with pytest.raises(TransformationFailed, match=r"line 2: .* set time_zone while it ran"):
            engine.sanitise((stage.transformation(f"SET sql_mode = '';\n{BOTH}"),))
    # What a transformation sets itself is its own affair.
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(ACCOUNTS % code))
        engine.sanitise((stage.transformation("SET foreign_key_checks = 0, NAMES latin1;"),))


@pytest.mark.probe("a dump that writes elsewhere")
@pytest.mark.probe("code of a dump that reaches out of the copy")
def test_what_names_live_in_a_dump_does_not_write_there(stage: Stage) -> None:
    dump = stage.dump(NEW.replace(b"INSERT INTO log (said)", b"INSERT INTO signon_production.log (said)"))
    engine = stage.engine()
    redact = stage.transformation("UPDATE users SET email = CONCAT('user-', id);")
    with working(engine):
        [warning] = [each for each in engine.restore(dump) if "before a dot" in each]
        assert "trigger logged" in warning
        engine.sanitise((redact,))
        assert stage.run("SELECT COUNT(*) FROM log") == [(0,)]
        engine.promote(said(redact), lambda: None)
    stage.run("UPDATE users SET email = 'x'")
    assert stage.run("SELECT COUNT(*) FROM log") == [(2,)]


def test_a_long_transaction_holds_up_the_promote_and_nobody_else(stage: Stage) -> None:
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(NEW))
        engine.sanitise(())
    done = threading.Event()
    read = 0

    def promote() -> None:
        with contextlib.suppress(PromoteFailed), working(engine):
            engine.promote((), lambda: None)
        done.set()

    with contextlib.closing(stage.server.connect(stage.database)) as long, long.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT COUNT(*) FROM users")
        thread = threading.Thread(target=promote)
        thread.start()
        with contextlib.closing(stage.server.connect(stage.database)) as other:
            while read < 20 or not tried(stage):
                other.query("SELECT COUNT(*) FROM users")
                read += 1
            # It was tried, and nobody waits behind it for ever; its triggers are there again in between.
            assert not done.is_set()
        cursor.execute("ROLLBACK")
    thread.join()
    assert objects(stage, stage.database) == NEW_OBJECTS


def tried(stage: Stage) -> bool:
    """Whether the journal says that a promotion was begun."""
    return bool(stage.server.execute("SELECT 1 FROM env_sync.journal"))


def test_a_transaction_that_does_not_end_leaves_live_as_it_was(stage: Stage) -> None:
    engine = stage.engine(promote_wait=dt.timedelta(seconds=1))
    with working(engine):
        engine.restore(stage.dump(NEW))
        engine.sanitise(())
    with contextlib.closing(stage.server.connect(stage.database)) as long, long.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT COUNT(*) FROM users")
        with working(engine), pytest.raises(PromoteFailed, match="promote_wait"):
            engine.promote((), lambda: None)
    assert objects(stage, stage.database) == OLD_OBJECTS
    # The same attempt can go on.
    with working(engine):
        assert engine.promote((), lambda: None).previous_kept
    assert objects(stage, stage.database) == NEW_OBJECTS


class Killed(BaseException):
    """Stands for the end of a process."""


def test_whoever_has_the_lease_next_ends_a_promotion(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = Session.execute
    moment = 0
    while True:
        stage.server.run([f"DROP DATABASE IF EXISTS `{name}`" for name in stage.server.databases()])
        set_up(stage.server, stage.folder)
        engine = stage.engine(run=f"night {moment}")
        with working(engine):
            engine.restore(stage.dump(NEW))
            engine.sanitise(())
        left = [moment]

        def watched(session: Session, *arguments: object, left: list[int] = left) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return execute(session, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(Session, "execute", watched)
        try:
            with engine.at_work():
                engine.promote((), lambda: None)
        except Killed:
            ended = False
        else:
            ended = True
        monkeypatch.setattr(Session, "execute", execute)
        engine.release_lease()
        other = stage.engine(run="next")
        with working(other):
            other.clean_up()
            assert not tried(stage)
        other.release_lease()
        found = objects(stage, stage.database)
        assert found in (OLD_OBJECTS, NEW_OBJECTS), moment
        if ended:
            break
        moment += 7
    assert found == NEW_OBJECTS
    assert moment > 30


def test_a_promotion_that_another_version_began_is_left_to_it(stage: Stage) -> None:
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(NEW))
        engine.sanitise(())
    stage.server.execute("INSERT INTO env_sync.journal VALUES (%s, '{\"version\": 99}')", [stage.database])
    refused = pytest.raises(
        PromoteFailed, match=r"another version of Env Sync.*Bring it to its end with that"
    )
    with refused, engine.at_work():
        pytest.fail("the step went on")
    assert tried(stage)
    assert objects(stage, stage.database) == OLD_OBJECTS


@pytest.mark.parametrize(
    "name", ["odd.name $1", "Ärger 日本", 'quo"ted', "tick`ed", "it's", "back\\slash", "100%s"]
)
@pytest.mark.probe("names with quotes, percent signs and line breaks")
def test_databases_of_any_name(named_stage: Callable[[str], Stage], name: str) -> None:
    stage = named_stage(name)
    engine = stage.engine()
    with working(engine):
        engine.dump(stage.folder / "dump")
    dump = stage.dump_file((stage.folder / "dump").read_bytes())
    engine.verify(dump.file)
    stage.pull(dump, stage.engine(attempt="2"))
    assert stage.run("SELECT COUNT(*) FROM users") == [(20,)]


def test_a_dump_holds_what_other_clients_take(stage: Stage) -> None:
    stage.pull(stage.dump(NEW))
    engine = stage.engine(run="push")
    with working(engine):
        facts = engine.dump(stage.folder / "out")
    text = gzip.decompress((stage.folder / "out").read_bytes())
    assert text.startswith(b"-- MySQL dump ")
    for absent in (b"sandbox", b"\nUSE ", b"CREATE DATABASE", b"env_sync_stamp", b"DROP TABLE"):
        assert absent not in text
    assert text.rstrip().splitlines()[-1].startswith(b"-- Dump completed")
    assert [(facts.server_version,)] == stage.server.execute("SELECT VERSION()")
    assert known_dump_tools()


def test_a_transformation_that_changes_definitions(stage: Stage) -> None:
    redact = stage.transformation(
        "ALTER TABLE users ADD COLUMN seen int DEFAULT 3;\nDROP TRIGGER logged;\nDROP PROCEDURE new_one;\n"
        "UPDATE users SET email = '';\n"
    )
    stage.pull(stage.dump(NEW), None, redact)
    assert stage.run("SELECT email, seen FROM users") == [("", 3), ("", 3)]
    assert {"TRIGGER logged", "ROUTINE new_one"}.isdisjoint(objects(stage, stage.database))


def test_a_transformation_that_names_live_is_not_run(stage: Stage) -> None:
    engine = stage.engine()
    bad = stage.transformation("DELETE FROM signon_production.users;")
    with working(engine):
        engine.restore(stage.dump(NEW))
        with pytest.raises(TransformationFailed, match="line 1: it names database signon_production"):
            engine.sanitise((bad,))
    assert stage.incoming not in stage.server.databases()
    assert stage.run("SELECT COUNT(*) FROM users") == [(20,)]


@pytest.mark.parametrize("text", ["", "-- UPDATE users SET email = '';\n"])
def test_a_transformation_without_a_statement_is_no_sanitising(stage: Stage, text: str) -> None:
    engine = stage.engine()
    empty = stage.transformation(text, "empty.sql")
    with working(engine):
        engine.restore(stage.dump(NEW))
        with pytest.raises(TransformationFailed, match=r"empty\.sql holds no statement"):
            engine.sanitise((empty,))
    assert stage.incoming not in stage.server.databases()


def test_a_transformation_that_names_live_in_double_quotes_is_not_run(stage: Stage) -> None:
    before = stage.server.execute("SELECT @@GLOBAL.sql_mode")[0][0]
    stage.server.execute("SET GLOBAL sql_mode = 'ANSI_QUOTES'")
    try:
        engine = stage.engine()
        bad = stage.transformation('UPDATE "signon_production"."users" SET email = 1;')
        with working(engine):
            engine.restore(stage.dump(NEW))
            with pytest.raises(TransformationFailed, match="it names database"):
                engine.sanitise((bad,))
    finally:
        stage.server.execute("SET GLOBAL sql_mode = %s", [before])
    assert stage.run("SELECT COUNT(*) FROM users WHERE email = '1'") == [(0,)]


VERSIONED = b"""
CREATE TABLE `users` (`id` int NOT NULL, `email` varchar(100), PRIMARY KEY (`id`)) WITH SYSTEM VERSIONING;
INSERT INTO `users` VALUES (1,'alice@home.example');
"""


def test_earlier_versions_of_rows_do_not_come_down(stage: Stage) -> None:
    if stage.server.family != "MariaDB":
        pytest.skip(f"{stage.server.family} keeps none")
    redact = stage.transformation("UPDATE users SET email = 'redacted';")
    stage.pull(stage.dump(VERSIONED), None, redact)
    assert stage.run("SELECT email FROM users FOR SYSTEM_TIME ALL") == [("redacted",)]
    assert "SYSTEM VERSIONED users" in objects(stage, stage.database)


def test_nor_does_a_table_whose_earlier_versions_may_not_be_deleted(stage: Stage) -> None:
    if stage.server.family != "MariaDB":
        pytest.skip(f"{stage.server.family} keeps none")
    engine = stage.engine()
    redact = stage.transformation("UPDATE users SET email = 'redacted';")
    stage.server.execute(f"REVOKE DELETE HISTORY ON *.* FROM {account(SYNC_ACCOUNT)}")
    try:
        with working(engine):
            engine.restore(stage.dump(VERSIONED))
            with pytest.raises(TransformationFailed, match="GRANT DELETE HISTORY"):
                engine.sanitise((redact,))
    finally:
        stage.server.execute(f"GRANT DELETE HISTORY ON *.* TO {account(SYNC_ACCOUNT)}")
    assert stage.incoming not in stage.server.databases()


def test_a_preflight_finds_what_would_fail_and_writes_nothing(stage: Stage) -> None:
    before = stage.server.execute("SHOW GLOBAL STATUS LIKE 'Com_create%'")
    bad = stage.transformation("UPDATE users SET emial = '';", "bad.sql")
    engine = stage.engine()
    assert [each.what for each in engine.preflight_server() if each.level is Level.PROBLEM] == []
    found = engine.preflight((bad,), None)
    assert [each for each in found.findings if each.level is Level.PROBLEM and "emial" in each.what]
    assert found.live_size
    good = stage.transformation("UPDATE users SET email = 'a%';", "good.sql")
    assert [
        each.what for each in engine.preflight((good,), None).findings if each.level is Level.PROBLEM
    ] == []
    assert stage.server.execute("SHOW GLOBAL STATUS LIKE 'Com_create%'") == before
    assert stage.run("SELECT COUNT(*) FROM users WHERE email = ''") == [(0,)]


def test_a_lease_that_another_attempt_took_is_lost(stage: Stage) -> None:
    first, second = stage.engine(attempt="1"), stage.engine(attempt="2")
    first.take_lease(at_most=9)
    second.take_lease(at_most=9)
    with pytest.raises(LeaseLost, match="newer attempt"), first.at_work():
        pass
    with second.at_work():
        assert second.live_stamp() is None
