"""As whom what a dump brings runs: never as the sync's account, nor as one because the dump names it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pymysql
import pytest

from sandbox.mysql import server_class
from tests.integration.mysql.stage import ACCEPTED, APPLICATION, SECRET, Stage, working

USERS = b"""
CREATE TABLE `users` (`id` int NOT NULL, `email` varchar(100), PRIMARY KEY (`id`)) ENGINE=InnoDB;
INSERT INTO `users` VALUES (1,'alice@home.example');
CREATE TABLE `log` (`id` int NOT NULL AUTO_INCREMENT, `said` varchar(100), PRIMARY KEY (`id`)) ENGINE=InnoDB;
"""
CODE = b"""
DELIMITER ;;
CREATE DEFINER=%(who)s PROCEDURE up() BEGIN GRANT ALL ON *.* TO app WITH GRANT OPTION; END ;;
CREATE DEFINER=%(who)s PROCEDURE `report`(q text)
    SQL SECURITY DEFINER COMMENT 'SQL SECURITY DEFINER' BEGIN PREPARE s FROM q; EXECUTE s; END ;;
CREATE DEFINER=%(who)s FUNCTION f() RETURNS enum('a','b)') CHARSET utf8mb4 DETERMINISTIC
    MODIFIES SQL DATA SQL SECURITY INVOKER SQL SECURITY DEFINER
    BEGIN DELETE FROM other_live.orders; RETURN 'a'; END ;;
CREATE DEFINER=%(who)s TRIGGER logged AFTER INSERT ON users FOR EACH ROW
    BEGIN DELETE FROM other_live.orders; END ;;
CREATE DEFINER=%(who)s EVENT tidy ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM other_live.orders; END ;;
DELIMITER ;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=%(who)s SQL SECURITY DEFINER */
/*!50001 VIEW `orders` AS select `other_live`.`orders`.`a` AS `a` from `other_live`.`orders` */;
"""
OF = {
    "an administrator that this server has": b"`admin`@`%`",
    "an account that it lacks": b"`rails`@`10.0.0.%`",
    "the sync's account": b"`env_sync`@`%`",
    "whoever makes it": b"CURRENT_USER",
}
HOW = {
    "accepted": ACCEPTED,
    "not accepted": {},
    "named as one with more rights": {**ACCEPTED, "definer": "admin@%"},
}


@pytest.fixture
def hostile(stage: Stage) -> Iterator[Stage]:
    """Another application's database stands on the same server."""
    stage.server.run(
        [
            "CREATE DATABASE other_live",
            "CREATE TABLE other_live.orders (a int)",
            "INSERT INTO other_live.orders VALUES (1), (2)",
        ]
    )
    yield stage
    stage.server.execute("DROP DATABASE other_live")


def as_application(stage: Stage, statement: str) -> list[tuple[object, ...]]:
    with (
        contextlib.closing(stage.server.connect(stage.database, APPLICATION, SECRET)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
        return list(cursor.fetchall())


def ours(stage: Stage) -> list[tuple[object, ...]]:
    """Whatever in live gives its users, or the server, the rights of the sync's account."""
    return stage.run(
        "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() "
        "AND SECURITY_TYPE = 'DEFINER' AND DEFINER <> 'app@%%' UNION ALL "
        "SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE() "
        "AND SECURITY_TYPE = 'DEFINER' AND DEFINER <> 'app@%%' UNION ALL "
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() "
        "AND DEFINER <> 'app@%%' UNION ALL "
        "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() "
        "AND DEFINER <> 'app@%%'".replace("%%", "%")
    )


def attack(stage: Stage) -> None:
    """Whatever the application does, it does as itself."""
    for statement in (
        "CALL up()",
        "CALL report('SELECT * FROM other_live.orders')",
        "CALL report('DELETE FROM other_live.orders')",
        "CALL report('SELECT User FROM mysql.user')",
        "SELECT f()",
        "SELECT * FROM orders",
    ):
        with pytest.raises(pymysql.err.MySQLError) as refused:
            as_application(stage, statement)
        assert refused.value.args[0] in DENIED, statement
    with contextlib.suppress(pymysql.err.MySQLError):
        as_application(stage, "INSERT INTO users VALUES (9, 'x')")
    assert stage.server.execute("SELECT COUNT(*) FROM other_live.orders") == [(2,)]
    assert ours(stage) == []


DENIED = (1044, 1045, 1142, 1143, 1227, 1356, 1370, 1410)


@pytest.mark.parametrize("extra", HOW.values(), ids=HOW)
@pytest.mark.parametrize("who", OF.values(), ids=OF)
@pytest.mark.probe("a dump that names whose rights its code has")
def test_code_of_a_dump_has_nobodys_rights(hostile: Stage, who: bytes, extra: dict[str, object]) -> None:
    """The trigger gets the definer that live has for it, where that is accepted; what it tries fails."""
    promotion = hostile.pull(hostile.dump(USERS + CODE % {b"who": who}), hostile.engine(extra=extra))
    told = " ".join(promotion.warnings)
    for name in ("event tidy", "procedure up", "procedure report", "function f"):
        assert name in told
    assert ("trigger logged" in told) is (extra != ACCEPTED and "definer" not in extra)
    attack(hostile)


@pytest.mark.parametrize(
    "reach", ["SELECT ON other_live.*", "PROCESS ON *.*", "SELECT ON mysql.user", "ALL ON `%`.*"]
)
@pytest.mark.probe("a dump that names whose rights its code has")
def test_an_account_with_more_rights_than_live_gives_them_to_nothing(hostile: Stage, reach: str) -> None:
    hostile.server.execute(f"GRANT {reach} TO {APPLICATION}")
    if "%" in reach:
        # It could read incoming.
        hostile.server.execute(f"REVOKE ALL ON `%`.* FROM {APPLICATION}")
        hostile.server.execute(f"GRANT ALL ON `other%`.* TO {APPLICATION}")
    promotion = hostile.pull(hostile.dump(USERS + CODE % {b"who": b"`app`@`%`"}))
    assert "trigger logged" in " ".join(promotion.warnings)
    assert hostile.run("SHOW TRIGGERS") == []
    assert hostile.run(
        "SELECT SECURITY_TYPE, COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = "
        "DATABASE() GROUP BY 1"
    ) == [("INVOKER", 3)]


@pytest.mark.probe("a dump that names whose rights its code has")
def test_a_role_gives_more_rights_as_well(hostile: Stage) -> None:
    to = {"MariaDB": "FOR", "MySQL": "TO"}[hostile.server.family]
    hostile.server.run(
        [
            "CREATE ROLE more",
            "GRANT SELECT ON other_live.* TO more",
            f"GRANT more TO {APPLICATION}",
            f"SET DEFAULT ROLE more {to} {APPLICATION}",
        ]
    )
    try:
        promotion = hostile.pull(hostile.dump(USERS + CODE % {b"who": b"`app`@`%`"}))
        assert "trigger logged" in " ".join(promotion.warnings)
    finally:
        hostile.server.execute("DROP ROLE more")


@pytest.mark.skipif(server_class().family == "MariaDB", reason="a setting of MySQL")
@pytest.mark.parametrize("reach", ["{}.*", "other_live.*"])
def test_live_keeps_its_trigger_where_mandatory_roles_reach_nothing_else(hostile: Stage, reach: str) -> None:
    database = hostile.database.replace("_", r"\_")
    trigger = b"CREATE TRIGGER logged AFTER UPDATE ON users FOR EACH ROW INSERT INTO log VALUES (1, 'x');"
    hostile.server.run(
        [
            "CREATE ROLE everybodys",
            f"GRANT SELECT ON {reach.format(f'`{database}`')} TO everybodys",
            "SET GLOBAL mandatory_roles = '`everybodys`@`%`, gone'",
        ]
    )
    try:
        hostile.pull(hostile.dump(USERS + trigger))
        assert bool(hostile.run("SHOW TRIGGERS")) is ("other" not in reach)
    finally:
        hostile.server.run(["SET GLOBAL mandatory_roles = ''", "DROP ROLE everybodys"])


def test_what_live_has_is_made_as_who_made_it_there(stage: Stage) -> None:
    """A night after the other; what somebody adds by hand is kept from then on."""
    code = (
        USERS
        + b"DELIMITER ;;\nCREATE DEFINER=`root`@`%` TRIGGER logged AFTER UPDATE ON users FOR EACH ROW "
        + b"INSERT INTO log (said) VALUES (CURRENT_USER()) ;;\n"
        + b"CREATE DEFINER=`root`@`%` TRIGGER added BEFORE INSERT ON users "
        + b"FOR EACH ROW SET NEW.email = 'x' ;;\n"
        + b"CREATE DEFINER=`root`@`%` PROCEDURE old_one() SELECT CURRENT_USER() ;;\nDELIMITER ;\n"
    )
    [warning] = stage.pull(stage.dump(code)).warnings
    assert "trigger added" in warning
    assert "logged" not in warning
    stage.run("UPDATE users SET email = 'x'")
    assert stage.run("SELECT said FROM log") == [("app@%",)]
    assert stage.run("CALL old_one()") == [("app@%",)]
    stage.run_as_application("CREATE TRIGGER added BEFORE INSERT ON users FOR EACH ROW SET NEW.email = 'y'")
    assert stage.pull(stage.dump(code), stage.engine(run="tomorrow")).warnings == ()
    stage.run("INSERT INTO users VALUES (2, '')")
    assert stage.run("SELECT email FROM users WHERE id = 2") == [("x",)]


def of_its_own(who: bytes) -> bytes:
    """Code that stays within its database."""
    code = CODE.replace(b"`other_live`.`orders`.`a`", b"`log`.`id`").replace(
        b"`other_live`.`orders`", b"`log`"
    )
    return USERS + code.replace(b"other_live.orders", b"log") % {b"who": who}


def test_the_connection_may_name_the_definer_of_what_live_lacks(stage: Stage) -> None:
    code = of_its_own(b"`root`@`%`")
    engine = stage.engine(extra={**ACCEPTED, "definer": f"{APPLICATION}@%"})
    assert stage.pull(stage.dump(code), engine).warnings == ()
    assert stage.run(
        "SELECT DISTINCT DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()"
    ) == [("app@%",)]
    assert stage.run("SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()") == [
        ("app@%",)
    ]


def test_what_runs_as_its_invoker_stays_from_night_to_night(stage: Stage) -> None:
    code = of_its_own(b"`root`@`%`")
    stage.pull(stage.dump(code), stage.engine(extra={}))
    before = stage.run(
        "SELECT ROUTINE_NAME, CREATED FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()"
    )
    stage.run("DO SLEEP(1)")
    [warning] = stage.pull(stage.dump(code), stage.engine(run="tomorrow", extra={})).warnings
    assert "trigger logged, event tidy" in warning
    assert before == stage.run(
        "SELECT ROUTINE_NAME, CREATED FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()"
    )


def test_an_undo_gives_back_what_live_had(stage: Stage) -> None:
    stage.pull(stage.dump(USERS))
    engine = stage.engine(run="undo")
    with working(engine):
        assert engine.restore_previous(lambda _: None).warnings == ()
    stage.run("UPDATE users SET email = 'x'")
    assert stage.run("SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()") == [
        ("app@%",)
    ]
