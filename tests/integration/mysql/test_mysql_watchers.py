"""Who could see rows of a copy without a right on it, above all in the binary log."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from env_sync.core.errors import AccessRefused, PromoteFailed, RestoreFailed, TransformationFailed
from env_sync.domain.finding import Level
from env_sync.engines.mysql.access.privileges import ACTING as CAN_ACT
from env_sync.engines.mysql.engine import MySQLEngine
from sandbox.mariadb import SYNC_ACCOUNT, MariaDBServer
from sandbox.mysql import server_class
from sandbox.process import wait_for
from tests.integration.mysql.stage import (
    ACCEPTED,
    APPLICATION,
    SECRET,
    Stage,
    said,
    set_up,
    tear_down,
    working,
)

USERS = (
    b"CREATE TABLE `users` (`email` varchar(99) PRIMARY KEY) ENGINE=InnoDB;\n"
    b"INSERT INTO `users` VALUES ('alice@home.example');\n"
)
NAMED = {**ACCEPTED, "accepted_readers": ["replica@10.%", "watcher@%"]}
MARIADB = server_class().family == "MariaDB"
ACTING = (
    ("SET USER", "BINLOG REPLAY", "CONNECTION ADMIN", "REPLICATION SLAVE ADMIN")
    if MARIADB
    else (
        *("SET_ANY_DEFINER", "ROLE_ADMIN", "SYSTEM_VARIABLES_ADMIN", "BINLOG_ADMIN"),
        "REPLICATION_SLAVE_ADMIN",
    )
)


@pytest.fixture
def logging_stage(logging_server: MariaDBServer, tmp_path: Path) -> Iterator[Stage]:
    """A live database on a server that writes a binary log."""
    stage = set_up(logging_server, tmp_path)
    yield stage
    tear_down(stage)


@contextlib.contextmanager
def watcher(stage: Stage, *grants: str) -> Iterator[None]:
    """An account with these grants, for the length of a block."""
    stage.server.create_account("watcher", SECRET, *grants)
    try:
        yield
    finally:
        stage.server.run(["DROP USER watcher", "DELETE FROM mysql.proxies_priv WHERE User = 'watcher'"])


def found(stage: Stage, level: Level, **extra: object) -> str:
    """What a look before the night says of it."""
    findings = stage.engine(extra={**ACCEPTED, **extra}).preflight((), None).findings
    return "\n".join(each.what for each in findings if each.level is level)


def restored(stage: Stage, engine: MySQLEngine) -> tuple[str, ...]:
    """The warnings of a restore."""
    try:
        with working(engine):
            return engine.restore(stage.dump(USERS))
    finally:
        engine.release_lease()


def stops_a_pull_unless_named(stage: Stage, privilege: str, *more: str) -> None:
    """It has `more` with that."""
    assert f"watcher@% (by {privilege})" in found(stage, Level.PROBLEM)
    with pytest.raises(RestoreFailed, match=rf"watcher@% \(by {privilege}\).*`accepted_readers`"):
        restored(stage, stage.engine())
    assert stage.incoming not in stage.server.databases()
    exactly = {**ACCEPTED, "accepted_readers": [f"watcher@%: {', '.join((privilege, *more))}"]}
    assert found(stage, Level.PROBLEM, **exactly) == ""
    assert "watcher@%" in found(stage, Level.NOTE, **exactly)
    assert restored(stage, stage.engine(extra=exactly)) == ()
    # By its name alone it is accepted for whatever else it gets, which is told where it is much.
    told = (
        [f'`accepted_readers` of connection .*Write "watcher@%: .*{privilege}']
        if privilege in CAN_ACT
        else []
    )
    for warnings in (restored(stage, stage.engine(extra=NAMED)), [found(stage, Level.NOTE, **NAMED)]):
        assert all(re.search(one, "\n".join(warnings)) for one in told)
        assert told or "says not what for" not in "\n".join(warnings)


@pytest.mark.probe("a right that reaches the copies")
@pytest.mark.parametrize("privilege", ["REPLICATION SLAVE", *(["REPLICATION CLIENT"] if MARIADB else [])])
def test_who_reads_the_binary_log_stops_a_pull_unless_it_is_named(
    logging_stage: Stage, privilege: str
) -> None:
    stage = logging_stage
    # To MariaDB the second is BINLOG MONITOR by an older name.
    with watcher(stage, f"{privilege} ON *.*"):
        stops_a_pull_unless_named(stage, privilege)
        if MARIADB:
            assert "alice@home.example" in statements_in_log(stage, privilege)


def statements_in_log(stage: Stage, privilege: str) -> str:
    """What `watcher` sees of the log, by SHOW BINLOG EVENTS where that is enough."""
    user, password = ("watcher", SECRET) if privilege == "REPLICATION CLIENT" else (None, None)
    with (
        contextlib.closing(
            stage.server.connect(None, user, password) if user else stage.server.connect()
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SHOW BINARY LOGS")
        *_, (file, *_) = cursor.fetchall()
        cursor.execute("SHOW BINLOG EVENTS IN %s", [file])
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


@pytest.mark.probe("a right that is given during a pull")
def test_who_may_read_the_log_meanwhile_stops_proof_and_promote(logging_stage: Stage) -> None:
    stage = logging_stage
    redact = stage.transformation("UPDATE users SET email = 'x';")
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(USERS))
        with (
            watcher(stage, "REPLICATION SLAVE ON *.*"),
            pytest.raises(TransformationFailed, match="watcher@%"),
        ):
            engine.sanitise([redact])
        assert stage.incoming not in stage.server.databases()
        engine.restore(stage.dump(USERS))
        engine.sanitise([redact])
        with watcher(stage, "REPLICATION SLAVE ON *.*"), pytest.raises(PromoteFailed, match="watcher@%"):
            engine.promote(said(redact), lambda: None)
        # The proof still holds, where the right is taken away.
        engine.promote(said(redact), lambda: None)
    engine.release_lease()
    assert stage.run("SELECT email FROM users") == [("x",)]


@pytest.mark.probe("a right that is given during a pull")
def test_who_stayed_in_incoming_stops_a_pull_until_the_session_ends(stage: Stage) -> None:
    """A right on a database is kept by who is in it, also after it was dropped and made anew."""
    redact, copy = stage.transformation("UPDATE users SET email = 'x';"), stage.incoming
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(USERS))
        with watcher(stage, f"SELECT ON `{copy}`.*"):
            staying = stage.server.connect(copy, "watcher", SECRET)
            stage.server.execute(f"REVOKE SELECT ON `{copy}`.* FROM watcher")
            try:
                who = rf"watcher@127\.0\.0\.1 \(by session \d+ in {copy}\)"
                with pytest.raises(TransformationFailed, match=who):
                    engine.sanitise([redact])
                # The copy is gone, and another one would be the same to the session.
                stage.server.run([f"CREATE DATABASE `{copy}`", f"CREATE TABLE `{copy}`.raw SELECT 'raw'"])
                with staying.cursor() as cursor:
                    cursor.execute("SELECT * FROM raw")
                    assert cursor.fetchall() == (("raw",),)
                stage.server.execute(f"DROP DATABASE `{copy}`")
                assert "watcher@127.0.0.1" in found(stage, Level.PROBLEM)
                with pytest.raises(RestoreFailed, match=rf"{who}.*End their sessions.*KILL"):
                    engine.restore(stage.dump(USERS))
            finally:
                staying.close()
            wait_for(lambda: found(stage, Level.PROBLEM) == "", "the session to end")
            engine.restore(stage.dump(USERS))
        engine.sanitise([redact])
    engine.release_lease()


@pytest.mark.probe("a right that is given during a pull")
def test_who_still_reads_the_log_stops_a_pull_until_the_session_ends(logging_stage: Stage) -> None:
    stage = logging_stage
    named = {**ACCEPTED, "accepted_readers": ["watcher@10.%"]}
    with watcher(stage, "REPLICATION SLAVE ON *.*"):
        reading = stage.server.connect(None, "watcher", SECRET)
        reading.query("SET @master_binlog_checksum = 'NONE', @source_binlog_checksum = 'NONE'")
        # COM_BINLOG_DUMP from the first position of the first file, as a replica of that number.
        [(file, *_), *_] = stage.server.execute("SHOW BINARY LOGS")
        reading._execute_command(0x12, struct.pack("<IHI", 4, 0, 4711) + file.encode())
        stage.server.execute("REVOKE REPLICATION SLAVE ON *.* FROM watcher")
        try:
            wait_for(lambda: "reads the binary log" in found(stage, Level.PROBLEM), "the log to be sent")
            with pytest.raises(RestoreFailed, match=r"watcher@.*\(by session \d+, which reads the binary"):
                restored(stage, stage.engine())
            assert restored(stage, stage.engine(extra=named)) == ()
        finally:
            reading._force_close()
            stage.server.run(
                [
                    f"KILL {number}"
                    for (number,) in stage.server.execute(
                        "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'watcher'"
                    )
                ]
            )
    assert restored(stage, stage.engine()) == ()


def test_sessions_that_cannot_be_seen_are_a_warning(stage: Stage) -> None:
    stage.server.execute(f"REVOKE PROCESS ON *.* FROM {SYNC_ACCOUNT}")
    [warning] = restored(stage, stage.engine())
    assert "lacks PROCESS" in warning
    assert "lacks PROCESS" in found(stage, Level.NOTE)


@contextlib.contextmanager
def log_in_tables(stage: Stage, *settings: str) -> Iterator[None]:
    """The server logs statements into tables, for the length of a block."""
    names = (
        "log_output",
        "slow_query_log",
        "long_query_time",
        "log_queries_not_using_indexes",
        "general_log",
    )
    ((*before,),) = stage.server.execute("SELECT " + ", ".join(f"@@GLOBAL.{name}" for name in names))
    stage.server.run([f"SET GLOBAL {setting}" for setting in ("log_output = 'TABLE'", *settings)])
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            stage.server.execute(f"SET GLOBAL {name} = %s", [value])
        stage.server.run([f"TRUNCATE mysql.{log}" for log in ("slow_log", "general_log")])


@pytest.mark.probe("raw values in logs and profiles")
def test_a_slow_log_keeps_no_row_of_a_dump(stage: Stage) -> None:
    with log_in_tables(
        stage, "slow_query_log = 1", "long_query_time = 0", "log_queries_not_using_indexes = 1"
    ):
        stage.run_as_application("SELECT email, 'seen' FROM users")
        engine = stage.engine()
        redact = stage.transformation("UPDATE users SET email = CONCAT(email, 'x');")
        stage.pull(stage.dump(USERS), engine, redact)
        rows = stage.server.execute("SELECT CONVERT(sql_text USING utf8mb4) FROM mysql.slow_log")
    logged = "\n".join(text for (text,) in rows)
    assert "'seen'" in logged
    # MySQL lets only administrators keep their statements out of it.
    assert ("alice@home.example" in logged) == (not MARIADB)


@pytest.mark.probe("raw values in logs and profiles")
@pytest.mark.parametrize("setting", ["general_log", *([] if MARIADB else ["slow_query_log"])])
def test_a_log_that_is_a_table_is_a_warning_of_each_night(stage: Stage, setting: str) -> None:
    log = setting.replace("query_", "")
    with log_in_tables(stage, f"{setting} = 1", "long_query_time = 0"):
        [warning] = restored(stage, stage.engine())
        column = "argument" if setting == "general_log" else "sql_text"
        rows = stage.server.execute(f"SELECT CONVERT({column} USING utf8mb4) FROM mysql.{log}")
        assert "alice@home.example" in "\n".join(text for (text,) in rows)
        assert f"logs statements into mysql.{log}, and" in warning
        assert warning in found(stage, Level.NOTE)
        assert restored(stage, stage.engine(extra={**ACCEPTED, "accept_log_tables": True})) == ()
    assert restored(stage, stage.engine()) == ()


def test_raw_rows_in_the_log_are_a_warning_until_that_is_accepted(logging_stage: Stage) -> None:
    stage = logging_stage
    redact = stage.transformation("DELETE FROM users;")

    def warnings(*, sanitises: bool = True, **extra: object) -> list[str]:
        engine = stage.engine(extra=extra, transformation=redact if sanitises else None)
        told = restored(stage, engine)
        noted = engine.preflight((redact,) if sanitises else (), None).findings
        assert [each.what for each in noted if "binary log" in each.what] == list(told)
        return list(told)

    [warning] = warnings()
    kept = "for 3 days" if MARIADB else "for 30 days"
    assert f"keeps the rows as they were before they were sanitised, {kept}" in warning
    assert warnings(accept_raw_log=True) == []
    # What is not sanitised is in live as it is in the log.
    assert warnings(sanitises=False) == []
    if MARIADB:
        stage.server.execute("SET GLOBAL expire_logs_days = 0")
        try:
            [warning] = warnings()
        finally:
            stage.server.execute("SET GLOBAL expire_logs_days = 3")
        assert "until somebody purges it" in warning
    # It is written all the same, for replicas need what becomes live.
    assert stage.server.execute("SELECT @@GLOBAL.log_bin") == [(1,)]


@pytest.mark.probe("a right that reaches the copies")
def test_who_may_act_as_anybody_stops_a_pull_unless_it_is_named(stage: Stage) -> None:
    for number, privilege in enumerate(ACTING):
        stage.server.create_account(f"acts_{number}", SECRET, f"{privilege} ON *.*")
    problems = found(stage, Level.PROBLEM)
    for number, privilege in enumerate(ACTING):
        assert f"acts_{number}@% (by {privilege})" in problems
        others = [f"acts_{other}@%" for other in range(len(ACTING)) if other != number]
        with pytest.raises(RestoreFailed, match=rf"acts_{number}@% \(by {privilege}\) can read.*accepted_r"):
            restored(stage, stage.engine(extra={**ACCEPTED, "accepted_readers": others}))
    assert stage.incoming not in stage.server.databases()
    everybody = [f"acts_{number}@%: {privilege}" for number, privilege in enumerate(ACTING)]
    assert found(stage, Level.PROBLEM, accepted_readers=everybody) == ""
    assert restored(stage, stage.engine(extra={**ACCEPTED, "accepted_readers": everybody})) == ()


@pytest.mark.probe("a right that reaches the copies")
def test_grant_option_makes_nobody_an_administrator(stage: Stage) -> None:
    """It passes on what one has."""
    with watcher(stage, "USAGE ON *.*"):
        stage.server.execute("GRANT PROCESS ON *.* TO watcher WITH GRANT OPTION")
        assert "watcher@% (by PROCESS)" in found(stage, Level.NOTE)
        stage.server.execute("GRANT SELECT ON *.* TO watcher")
        assert "watcher@% could read" in found(stage, Level.PROBLEM)
        with pytest.raises(RestoreFailed, match=r"watcher@% by GRANT SELECT ON .*`accepted_administrators`"):
            restored(stage, stage.engine(extra=NAMED))
        runs = {**ACCEPTED, "accepted_administrators": ["watcher@%"]}
        assert restored(stage, stage.engine(extra=runs)) == ()
        assert "watcher@% is an administrator" in found(stage, Level.NOTE, **runs)
        # By a role as well one is an administrator, whom nobody can keep out.
        stage.server.run(["CREATE ROLE dba", "GRANT CREATE USER ON *.* TO dba", "GRANT dba TO watcher"])
        try:
            assert restored(stage, stage.engine()) == ()
        finally:
            stage.server.execute("DROP ROLE dba")


@pytest.mark.probe("a right that reaches the copies")
def test_a_role_of_everybody_that_makes_administrators_stops_a_pull(stage: Stage) -> None:
    """MariaDB's PUBLIC, or MySQL's `mandatory_roles`."""
    server, role = stage.server, "PUBLIC" if MARIADB else "dba"
    try:
        if MARIADB:
            server.execute("GRANT CREATE USER ON *.* TO PUBLIC")
        else:
            server.run(
                [
                    "CREATE ROLE dba",
                    "GRANT CREATE USER ON *.* TO dba",
                    "SET GLOBAL mandatory_roles = '`dba`@`%`'",
                ]
            )
        told = rf"everybody \(by role {role}@%?, which makes administrators\)"
        assert re.search(told, found(stage, Level.PROBLEM))
        accepts = {**ACCEPTED, "accept_superuser": True}
        with pytest.raises(RestoreFailed, match=told):
            restored(stage, stage.engine(extra=accepts))
    finally:
        if MARIADB:
            server.run(["DELETE FROM mysql.global_priv WHERE User = 'PUBLIC'", "FLUSH PRIVILEGES"])
        else:
            server.run(["SET GLOBAL mandatory_roles = ''", "DROP ROLE dba"])


@pytest.mark.probe("a right that reaches the copies")
@pytest.mark.parametrize(
    ("grant", "stops"),
    [
        ("INSERT ON mysql.*", True),
        ("UPDATE ON `my%`.*", True),
        ("INSERT ON mysql.db", True),
        ("UPDATE (User) ON mysql.tables_priv", True),
        ("SELECT ON mysql.*", False),
        # As the accounts of backups have it.
        ("INSERT, UPDATE ON mysql.time_zone", False),
    ],
)
def test_who_may_write_the_tables_of_grants_stops_a_pull(stage: Stage, grant: str, *, stops: bool) -> None:
    with watcher(stage, grant):
        if stops:
            stops_a_pull_unless_named(stage, "writing the tables of grants")
        else:
            assert restored(stage, stage.engine()) == ()


@pytest.mark.probe("a right that reaches the copies")
@pytest.mark.skipif(MARIADB, reason="any account is a role on MySQL alone")
def test_who_has_the_syncs_account_as_a_role_stops_a_pull(stage: Stage) -> None:
    with watcher(stage):
        stage.server.execute(f"GRANT {SYNC_ACCOUNT} TO watcher")
        stops_a_pull_unless_named(stage, "the sync's account as a role", "SET_ANY_DEFINER", "PROCESS")


@pytest.mark.probe("settings that a transformation, live or a role changes")
def test_what_the_server_runs_as_us_stops_a_pull_unless_it_is_named(stage: Stage) -> None:
    server, text = stage.server, f"INSERT INTO `{stage.database}`.log (said) VALUES ('ran')"
    accepted = {**ACCEPTED, "accepted_init_connect": f"{text} "}
    try:
        server.execute("SET GLOBAL init_connect = %s", [text])
        assert "init_connect" in found(stage, Level.PROBLEM)
        assert found(stage, Level.PROBLEM, accepted_init_connect=text) == ""
        with pytest.raises(AccessRefused, match=r"init_connect.*run as account env_sync.*`accepted_init_c"):
            restored(stage, stage.engine())
        assert stage.incoming not in server.databases()
        assert restored(stage, stage.engine(extra=accepted)) == ()
        assert stage.run("SELECT COUNT(*) > 0 FROM log WHERE said = 'ran'") == [(1,)]
        usual = "SET NAMES utf8mb4 COLLATE utf8mb4_bin, @@session.autocommit = 1; SET time_zone = '+01:00';"
        server.execute("SET GLOBAL init_connect = %s", [usual])
        assert restored(stage, stage.engine(extra=accepted)) == ()
        # The server takes it, and ends no session for it.
        with (
            contextlib.closing(server.connect(stage.database, APPLICATION, SECRET)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT @@SESSION.time_zone")
            assert cursor.fetchone() == ("+01:00",)
    finally:
        server.execute("SET GLOBAL init_connect = ''")


@pytest.mark.probe("a right that reaches the copies")
@pytest.mark.parametrize("proxied", [SYNC_ACCOUNT, "env%", "admin", ""])
def test_who_may_log_in_for_us_or_an_administrator_stops_a_pull(stage: Stage, proxied: str) -> None:
    with watcher(stage):
        for name in (APPLICATION, proxied):
            stage.server.execute(
                "REPLACE INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, Grantor) "
                "VALUES ('%%', 'watcher', '%%', %s, '')",
                [name],
            )
            if name == APPLICATION:
                assert "watcher" not in found(stage, Level.PROBLEM)
        stops_a_pull_unless_named(stage, "PROXY")


@pytest.mark.probe("a right that reaches the copies")
@pytest.mark.parametrize("privilege", ["PROCESS", *([] if MARIADB else ["FILE"]), "REPLICATION CLIENT"])
def test_who_might_see_rows_is_a_warning_of_each_night_until_it_is_named(
    stage: Stage, privilege: str
) -> None:
    with watcher(stage, f"{privilege} ON *.*"):
        assert f"watcher@% (by {privilege})" in found(stage, Level.NOTE)
        [warning] = restored(stage, stage.engine())
        assert f"watcher@% (by {privilege}) may see rows" in warning
        assert restored(stage, stage.engine(extra=NAMED)) == ()
        with pytest.raises(AccessRefused, match="is no list of names"):
            restored(stage, stage.engine(extra={**ACCEPTED, "accepted_readers": "watcher@%"}))


@pytest.mark.probe("a right that reaches the copies")
@pytest.mark.skipif(not MARIADB, reason="MySQL of the sandbox lets nobody write files")
def test_who_may_write_the_servers_own_files_stops_a_pull_unless_it_is_named(stage: Stage) -> None:
    """A trigger, with whatever definer, is a file in the folder of a database."""
    with watcher(stage, "FILE ON *.*"):
        stops_a_pull_unless_named(stage, "FILE")


@pytest.mark.parametrize("recovery", [False, True])
def test_what_is_not_sanitised_nobody_needs_to_be_kept_from(stage: Stage, *, recovery: bool) -> None:
    """It is live as it came. A recovery brings back what was live, and waits for nobody."""
    file = stage.transformation("DELETE FROM users;")
    engine = stage.engine(transformation=file if recovery else None, recovery=recovery)
    with watcher(stage, f"{ACTING[0]} ON *.*", "PROCESS ON *.*"):
        assert "watcher" not in "".join(each.what for each in engine.preflight((), None).findings)
        assert stage.pull(stage.dump(USERS), engine, *([file] if recovery else [])).warnings == ()


def test_a_role_that_only_the_sync_has_is_its_own(stage: Stage) -> None:
    stage.server.run(
        ["CREATE ROLE watching", "GRANT PROCESS ON *.* TO watching", f"GRANT watching TO {SYNC_ACCOUNT}"]
    )
    try:
        assert restored(stage, stage.engine()) == ()
        with watcher(stage):
            stage.server.execute("GRANT watching TO watcher")
            [warning] = restored(stage, stage.engine(extra={**ACCEPTED, "accepted_readers": ["watching@"]}))
            assert "watcher@% (by PROCESS of role watching@" in warning
            assert "watching@ (by" not in warning
            assert restored(stage, stage.engine(extra=NAMED)) == ()
    finally:
        stage.server.execute("DROP ROLE watching")
