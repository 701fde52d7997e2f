"""What MySQL and MariaDB differ in: the rights of the sync's account, definers, dumps of the other family."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pymysql
import pytest
from attrs import evolve
from pymysql.constants import ER

from env_sync.core.errors import AccessRefused, NameRefused, PromoteFailed, RestoreFailed
from env_sync.domain.sync import Action
from env_sync.engines.mysql import swap
from env_sync.engines.mysql.client import connect
from env_sync.engines.mysql.engine import MySQLEngine
from env_sync.engines.mysql.objects import Object, drop_object
from env_sync.engines.mysql.option_file import option_file
from env_sync.engines.mysql.session import Session
from env_sync.engines.mysql.version import Family
from sandbox.mysql import server_class
from tests.conftest import run_server
from tests.integration.mysql.stage import SECRET, Stage, set_up, tear_down, working

PUSHING = "SELECT, SHOW VIEW, TRIGGER, EVENT ON `signon_production`.*"
PART = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, EXECUTE, CREATE VIEW, "
    "SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, EVENT, TRIGGER, LOCK TABLES, CREATE TEMPORARY TABLES"
)
PULLING = (
    *(
        rf"{PART} ON {name}.*"
        for name in (r"`signon\_production`", r"`signon\_production\_\_%`", r"`env\_sync`")
    ),
    "SELECT ON mysql.*",
    "PROCESS, SHOW DATABASES ON *.*",
)
ROUTINES = {"MariaDB": "SELECT ON mysql.proc", "MySQL": "SHOW_ROUTINE ON *.*"}
DEFINERS = {"MariaDB": "SET USER ON *.*", "MySQL": "SET_ANY_DEFINER ON *.*"}


def as_account(
    stage: Stage, name: str, *grants: str, run: str = "tonight", action: Action = Action.PULL
) -> MySQLEngine:
    """The engine with another account for the sync, which has no more than these grants."""
    stage.server.create_account(name, SECRET, *grants)
    work = stage.engine(run=run).work
    connection, sync = evolve(work.connection, login=name), evolve(work.sync, action=action)
    return MySQLEngine(evolve(work, connection=connection, sync=sync))


def definers(stage: Stage) -> dict[str, str]:
    rows = stage.run(
        "SELECT ROUTINE_NAME, DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() "
        "UNION SELECT TRIGGER_NAME, DEFINER FROM information_schema.TRIGGERS "
        "WHERE TRIGGER_SCHEMA = DATABASE()"
    )
    return dict(rows)


@pytest.fixture
def live(stage: Stage) -> Stage:
    """Without the view that stands on nothing, at which mysqldump stops."""
    stage.run("DROP VIEW gone_view")
    return stage


def test_the_grants_that_the_page_lists_are_enough(live: Stage) -> None:
    family = live.server.family
    dumper = as_account(live, "dumper", PUSHING, ROUTINES[family], action=Action.PUSH)
    with working(dumper):
        dumper.dump(live.folder / "pushed")
    dumper.release_lease()
    content = (live.folder / "pushed").read_bytes()
    assert b"PROCEDURE `old_one`" in gzip.decompress(content)
    live.server.run(["DROP USER env_sync"])
    puller = as_account(live, "puller", *PULLING, ROUTINES[family], DEFINERS[family], run="pull")
    promotion = live.pull(live.dump_file(content), puller)
    assert promotion.warnings == ()
    assert set(definers(live).values()) == {"app@%"}


def test_without_the_right_to_set_definers_nothing_runs_as_the_account(live: Stage) -> None:
    dump = live.dump_file(gzip.compress(live.mysqldump("--routines")))
    live.run("DROP PROCEDURE old_one", "CREATE PROCEDURE old_one() SELECT 'changed'")
    live.server.run(["DROP USER env_sync"])
    puller = as_account(live, "puller", *PULLING)
    invoker, left_out = live.pull(dump, puller).warnings
    assert "(SQL SECURITY INVOKER): procedure old_one." in invoker
    assert "Left out of signon_production" in left_out
    assert "trigger logged" in left_out
    assert "grant puller SET USER" in left_out
    assert definers(live) == {"old_one": "puller@%"}
    assert live.run(
        "SELECT SECURITY_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_NAME = 'old_one'"
    ) == [("INVOKER",)]
    assert live.run("CALL old_one()") == [(1,)]


def failing(plan: swap.Plan, rename: Callable[[swap.Plan], str] = swap._statement) -> str:
    return rename(plan).replace("`users`", "`no such`")


@pytest.mark.parametrize("right", [True, False], ids=["with the right", "without"])
def test_a_trigger_is_given_back_as_whose_it_was_or_is_named(
    live: Stage, right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was dropped for a rename that failed; never is it given back as the account's own."""
    dump = live.dump_file(gzip.compress(live.mysqldump("--routines")))
    live.server.run(["DROP USER env_sync"])
    setting = [DEFINERS[live.server.family]] if right else []
    puller = as_account(live, "puller", *PULLING, *setting)
    with working(puller):
        puller.restore(dump)
        puller.sanitise(())
    monkeypatch.setattr(swap, "_statement", failing)
    said = "no_such_table" if right else "could not be made again: trigger logged of app@%"
    with working(puller), pytest.raises(PromoteFailed, match=said):
        puller.promote((), lambda: None)
    assert definers(live) == {"old_one": "app@%", **({"logged": "app@%"} if right else {})}


def test_a_trigger_that_could_not_be_given_back_is_not_dropped_while_live_is_locked(live: Stage) -> None:
    dump = live.dump_file(gzip.compress(live.mysqldump("--routines")))
    live.server.run(["DROP USER env_sync"])
    puller = as_account(live, "puller", *PULLING)
    work = evolve(
        puller.work,
        sync=evolve(
            puller.work.sync, options=evolve(puller.work.sync.options, promote_wait=dt.timedelta(seconds=0))
        ),
    )
    puller = MySQLEngine(work)
    with working(puller):
        puller.restore(dump)
        puller.sanitise(())
    with contextlib.closing(live.server.connect(live.database)) as busy:
        busy.query("BEGIN")
        busy.query("SELECT * FROM users FOR UPDATE")
        with working(puller), pytest.raises(PromoteFailed, match="promote_wait"):
            puller.promote((), lambda: None)
    assert definers(live) == {"old_one": "app@%", "logged": "app@%"}


def test_what_cannot_be_dropped_stays_and_is_told(live: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL lets nobody without SYSTEM_USER drop the routine of an account that has it."""
    dump = live.dump_file(gzip.compress(live.mysqldump()))

    def denied(session: Session, database: str, one: Object) -> None:
        if one.name == "old_one":
            raise pymysql.err.OperationalError(ER.SPECIFIC_ACCESS_DENIED_ERROR, "Access denied")
        drop_object(session, database, one)

    monkeypatch.setattr(swap, "drop_object", denied)
    [warning] = live.pull(dump).warnings
    assert warning.startswith("The procedure old_one of signon_production is still what it was before")
    assert live.run("SELECT COUNT(*) FROM users") == [(20,)]
    assert live.run("CALL old_one()") == [(1,)]


def test_the_account_may_have_its_rights_by_a_role_of_its_own(live: Stage) -> None:
    dump = live.dump_file(gzip.compress(live.mysqldump()))
    live.server.run(["DROP USER env_sync"])
    puller = as_account(live, "puller")
    to = {"MariaDB": "FOR", "MySQL": "TO"}[live.server.family]
    live.server.run(
        [
            "CREATE ROLE syncing",
            *(f"GRANT {grant} TO syncing" for grant in PULLING),
            "GRANT syncing TO puller",
            f"SET DEFAULT ROLE syncing {to} puller",
        ]
    )
    try:
        live.pull(dump, puller)
        # What somebody else has by the same role is no longer ours alone.
        live.server.create_account("reporting", SECRET)
        again = as_account(live, "puller", run="tomorrow")
        with working(again):
            live.server.run(["GRANT syncing TO reporting"])
            with pytest.raises(RestoreFailed, match="syncing@"):
                again.restore(dump)
        with pytest.raises(NameRefused, match="syncing@"):
            again.take_lease(at_most=9)
        live.server.run(["REVOKE syncing FROM reporting"])
        again.release_lease()
    finally:
        live.server.run(["DROP ROLE syncing"])


def test_a_partial_revoke_keeps_an_account_out(stage: Stage) -> None:
    if stage.server.family != "MySQL":
        pytest.skip("MariaDB has no partial revokes")
    stage.server.create_account("reporting", SECRET, "SELECT ON *.*")
    stage.server.execute("SET GLOBAL partial_revokes = ON")
    try:
        # Its wildcards are letters now.
        stage.server.create_account("literal", SECRET, "SELECT ON `signon%`.*")
        stage.run(f"REVOKE SELECT ON `{stage.incoming}`.* FROM reporting")
        engine = stage.engine()
        with working(engine):
            engine.restore(stage.dump(OF_MARIADB))
        stage.server.execute("GRANT INSERT ON *.* TO reporting")
        with working(engine), pytest.raises(RestoreFailed, match="reporting@% by GRANT INSERT"):
            engine.restore(stage.dump(OF_MARIADB))
    finally:
        stage.server.run(["DROP USER reporting, literal", "SET GLOBAL partial_revokes = OFF"])


CHANGED = b"DELIMITER ;;\nCREATE PROCEDURE `old_one`() SELECT 'changed';;\nDELIMITER ;\n"


def test_grants_on_a_routine_that_changes_are_gone_and_named(live: Stage) -> None:
    live.server.create_account("caller", SECRET, "EXECUTE ON PROCEDURE `signon_production`.`old_one`")
    try:
        warnings = live.pull(live.dump(OF_MARIADB + CHANGED)).warnings
    finally:
        live.server.execute("DROP USER caller")
    [warning] = [each for each in warnings if "Grants on routines" in each]
    assert "caller@% on procedure old_one" in warning
    assert live.run("CALL old_one()") == [("changed",)]


def test_who_reads_the_binary_log_is_told(stage: Stage) -> None:
    """It holds every row that is put into incoming, and no grant on a database stands in front of it."""
    stage.server.create_account("streamer", SECRET, "REPLICATION SLAVE ON *.*")
    try:
        found = stage.engine().preflight((), None).findings
        told = [one.what for one in found if "streamer@%" in one.what]
        assert ["streamer@% (by REPLICATION SLAVE)" in each for each in told] == [True]
    finally:
        stage.server.execute("DROP USER streamer")


def test_a_server_that_became_a_replica_is_called_read_only(stage: Stage) -> None:
    engine = stage.engine()
    with working(engine):
        stage.server.execute("SET GLOBAL read_only = ON")
        try:
            with pytest.raises(AccessRefused, match="Name the primary in the connection"):
                engine.restore(stage.dump(OF_MARIADB))
        finally:
            stage.server.execute("SET GLOBAL read_only = OFF")


def test_sessions_are_kept_alive(stage: Stage) -> None:
    connection = connect(stage.engine().work.connection, None, program="test")
    try:
        idle = connection._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert connection._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    finally:
        connection.close()
    # Linux's own is two hours.
    assert idle == 60


def test_who_can_take_any_role_or_copy_the_server_is_told(stage: Stage) -> None:
    if stage.server.family != "MySQL":
        pytest.skip("MariaDB has no such privileges")
    stage.server.create_account("backup", SECRET, "BACKUP_ADMIN ON *.*")
    engine = stage.engine()
    told = [one.what for one in engine.preflight((), None).findings if "backup@%" in one.what]
    assert told
    assert "is an administrator (GRANT BACKUP_ADMIN ON *.*)" in told[0]
    with working(engine):
        engine.restore(stage.dump(OF_MARIADB))


KEYLESS = b"""
CREATE TABLE `keyless` (`a` int, `b` int, KEY (`b`)) ENGINE=InnoDB;
INSERT INTO `keyless` VALUES (1,2),(1,2),(NULL,NULL);
"""


def test_a_server_that_wants_primary_keys_or_makes_them(live: Stage) -> None:
    if live.server.family != "MySQL":
        pytest.skip("MariaDB makes none")
    names = ("sql_require_primary_key", "sql_generate_invisible_primary_key")
    try:
        live.server.execute("SET GLOBAL sql_require_primary_key = ON")
        engine = live.engine()
        with working(engine), pytest.raises(RestoreFailed, match=r"Table keyless .* could not be made.*3750"):
            engine.restore(live.dump(KEYLESS))
        live.server.execute("SET GLOBAL sql_generate_invisible_primary_key = ON")
        live.pull(live.dump(KEYLESS), live.engine(attempt="2"))
        # Its key goes into dumps and comes down as it is.
        pushing = live.engine(run="push")
        with working(pushing):
            pushing.dump(live.folder / "pushed")
        pushing.release_lease()
        live.pull(live.dump_file((live.folder / "pushed").read_bytes()), live.engine(run="pull"))
    finally:
        live.server.run([f"SET GLOBAL {name} = OFF" for name in names])
    assert live.run("SELECT * FROM keyless ORDER BY a") == [(None, None), (1, 2), (1, 2)]
    assert live.run("SELECT my_row_id FROM keyless ORDER BY 1") == [(1,), (2,), (3,)]


@pytest.fixture
def without_tls(server_folder: Path, tmp_path: Path) -> Iterator[Stage]:
    """A live database on a server that nobody can reach by TLS."""
    if server_class().family != "MySQL":
        pytest.skip("MariaDB takes a password without TLS as with it")
    for server in run_server(lambda: server_class()(server_folder / "no_tls", settings={"tls-version": ""})):
        made = set_up(server, tmp_path)
        yield made
        tear_down(made)


def test_a_server_without_tls_is_dumped(without_tls: Stage) -> None:
    """Its accounts are of caching_sha2_password, which sends no password as it is."""
    stage = without_tls
    stage.run("DROP VIEW gone_view")
    # Nobody has logged in as the account yet, so the server knows no hash that would do.
    stage.server.run(["FLUSH PRIVILEGES"])
    with option_file(stage.engine().work.connection, Family.MYSQL, stage.folder) as file:
        program = str(stage.server.program("mariadb-dump"))
        command = [program, f"--defaults-extra-file={file}", "--set-gtid-purged=OFF", stage.database]
        done = subprocess.run(command, capture_output=True, check=False, env={})
    assert done.returncode == 0, done.stderr
    with working(stage.engine()) as engine:
        engine.dump(stage.folder / "pushed")


# What mysqldump of MySQL 8 and mariadb-dump write for tables that both families can have.
OF_MARIADB = b"""
/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;
CREATE TABLE `people` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `said` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`said`)),
  `born` datetime NOT NULL DEFAULT current_timestamp(),
  `low` varchar(20) GENERATED ALWAYS AS (lcase(`name`)) VIRTUAL,
  `name` varchar(20) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `name` (`name`)
) ENGINE=InnoDB AUTO_INCREMENT=9 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
INSERT INTO `people` (`id`, `said`, `born`, `name`) VALUES (3,'{"a": 1}','2026-01-01 00:00:00','Alice');
/*!50003 SET sql_mode = 'STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION' */ ;
/*!50003 SET collation_connection = utf8mb4_general_ci */ ;
DELIMITER ;;
CREATE DEFINER=`root`@`localhost` PROCEDURE `lows`() SELECT low FROM people ;;
DELIMITER ;
"""
OF_MYSQL = b"""
CREATE TABLE `people` (
  `id` int NOT NULL AUTO_INCREMENT,
  `said` json DEFAULT NULL,
  `spot` point DEFAULT NULL /*!80003 SRID 0 */,
  `unseen` int DEFAULT '5' /*!80023 INVISIBLE */,
  `low` varchar(20) GENERATED ALWAYS AS (lower(`name`)) VIRTUAL,
  `name` varchar(20) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `name` (`name`) /*!80000 INVISIBLE */,
  CONSTRAINT `positive` CHECK ((`unseen` > 0)) /*!80016 NOT ENFORCED */
) ENGINE=InnoDB AUTO_INCREMENT=9 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
INSERT INTO `people` (`id`, `said`, `spot`, `unseen`, `name`) VALUES
(3,'{\"a\": 1}',0x00000000010100000000000000000010400000000000001440,7,'Alice');
/*!50003 SET sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION' */ ;
/*!50003 SET collation_connection = utf8mb4_general_ci */ ;
DELIMITER ;;
CREATE DEFINER=`root`@`localhost` PROCEDURE `lows`() SELECT low FROM people ;;
DELIMITER ;
"""
# What only the one has, and what the other says of it.
ALONE: Mapping[str, Mapping[bytes, str]] = {
    "MariaDB": {
        b"CREATE TABLE `t` (`a` int) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_no_such_ci;\n": (
            r"Table t of the dump could not be made: unknown_collation \(1273\): Unknown collation"
        ),
        b"CREATE TABLE `t` (`b` json, KEY `c` ((cast(`b` as unsigned array))));\n": (
            r"Table t of the dump could not be made: parse_error \(1064\) at line 1 of the statement"
        ),
    },
    "MySQL": {
        b"CREATE TABLE `t` (`a` int) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=uca1400_ai_ci;\n": (
            r"Table t of the dump could not be made: unknown_collation \(1273\): Unknown collation"
        ),
        b"CREATE SEQUENCE `t` start with 1 minvalue 1 maxvalue 9 increment by 1 cache 3 nocycle;\n": (
            r"Table t of the dump could not be made: parse_error \(1064\) at line 1 of the statement"
        ),
        b"CREATE TABLE `t` (`a` inet6 DEFAULT NULL);\n": (
            r"Table t of the dump could not be made: parse_error \(1064\) at line 1 of the statement"
        ),
        b"CREATE TABLE `t` (`a` int) WITH SYSTEM VERSIONING;\n": (
            r"Table t of the dump could not be made: parse_error \(1064\) at line 1 of the statement"
        ),
    },
}


@pytest.mark.parametrize("text", [OF_MARIADB, OF_MYSQL], ids=["MariaDB's", "MySQL's"])
def test_a_dump_of_either_family_comes_down(stage: Stage, text: bytes) -> None:
    warnings = stage.pull(stage.dump(text)).warnings
    assert [each for each in warnings if "root@localhost" not in each] == []
    assert stage.run("SELECT id, name, low, said LIKE '%1%' FROM people") == [(3, "Alice", "alice", 1)]
    assert stage.run("CALL lows()") == [("alice",)]
    assert "AUTO_INCREMENT=9" in stage.run("SHOW CREATE TABLE people")[0][1]


def test_what_only_the_other_family_has_is_refused_and_named(stage: Stage) -> None:
    for number, (text, said) in enumerate(ALONE[stage.server.family].items()):
        engine = stage.engine(run=f"night {number}")
        with working(engine), pytest.raises(RestoreFailed, match=said):
            engine.restore(stage.dump(text))
        engine.release_lease()
        assert stage.incoming not in stage.server.databases()


def test_a_foreign_key_at_a_key_that_is_not_unique_comes_down(stage: Stage) -> None:
    """Servers before MySQL 8.4 take one without being asked to."""
    stage.pull(
        stage.dump(
            b"CREATE TABLE `child` (`code` int, "
            b"CONSTRAINT `up` FOREIGN KEY (`code`) REFERENCES `parent` (`code`)) ENGINE=InnoDB;\n"
            b"CREATE TABLE `parent` (`id` int PRIMARY KEY, `code` int, KEY (`code`)) ENGINE=InnoDB;\n"
            b"INSERT INTO `child` VALUES (7);\nINSERT INTO `parent` VALUES (1,7);\n"
        )
    )
    with pytest.raises(pymysql.err.IntegrityError):
        stage.run("INSERT INTO child VALUES (8)")
