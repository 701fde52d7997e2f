from __future__ import annotations

import stat
from pathlib import Path

import pytest

from env_sync.core.errors import DumpDamaged, NameRefused, ToolMissing, TransformationFailed
from env_sync.core.secret import Secret
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.mysql.access.database_patterns import as_pattern, covers
from env_sync.engines.mysql.access.own_grants import OwnGrant, read_grant
from env_sync.engines.mysql.access.readers import revoked_on
from env_sync.engines.mysql.archive import Header, check_end, read_header
from env_sync.engines.mysql.client_tools import DumpTool, tool_to_dump
from env_sync.engines.mysql.dump import as_mysql, matches
from env_sync.engines.mysql.invoker import as_invoker, runs_as_invoker
from env_sync.engines.mysql.metadata import Told, WasLive, read_text, told_text, understood
from env_sync.engines.mysql.names import copies_of
from env_sync.engines.mysql.objects import (
    Object,
    calls,
    holds_words,
    names_another,
    taken_apart,
    with_definer,
)
from env_sync.engines.mysql.option_file import option_file
from env_sync.engines.mysql.transformation import Script, read_transformations
from env_sync.engines.mysql.version import Family, ServerVersion, check_supported, read_version
from tests.unit.values import moment


def version(text: str) -> ServerVersion:
    found = read_version(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("8.0.36-0ubuntu0.22.04.1", "MySQL 8.0.36"),
        ("5.7.44-log", "MySQL 5.7.44"),
        ("10.11.6-MariaDB-0+deb12u1", "MariaDB 10.11.6"),
        ("5.5.5-10.11.6-MariaDB", "MariaDB 10.11.6"),
        ("mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)", "MySQL 8.0.36"),
        ("mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)", "MySQL 5.7.44"),
        ("mysqldump  Ver 10.19 Distrib 10.11.6-MariaDB, for debian-linux-gnu", "MariaDB 10.11.6"),
        ("mariadb-dump from 11.4.2-MariaDB, client 10.19 for Linux (x86_64)", "MariaDB 11.4.2"),
    ],
)
def test_a_version_is_read_as_servers_and_programs_tell_it(text: str, told: str) -> None:
    assert str(version(text)) == told


@pytest.mark.parametrize("text", ["5.6.51", "10.2.44-MariaDB"])
def test_a_server_that_is_too_old_is_refused(text: str) -> None:
    with pytest.raises(ToolMissing, match=r"supports MySQL from 5\.7 and MariaDB from 10\.3"):
        check_supported(version(text))


def tools(*versions: str) -> tuple[DumpTool, ...]:
    return tuple(DumpTool(program=Path(f"/{each}/mysqldump"), version=version(each)) for each in versions)


def test_a_server_is_dumped_by_its_family_in_its_version_else_the_nearest_newer() -> None:
    have = tools("11.4.2-MariaDB", "10.11.6-MariaDB", "8.4.0", "8.0.36", "5.7.44")
    assert str(tool_to_dump(have, version("10.6.1-MariaDB")).version) == "MariaDB 10.11.6"
    assert str(tool_to_dump(have, version("8.0.11")).version) == "MySQL 8.0.36"
    with pytest.raises(ToolMissing) as raised:
        tool_to_dump(tools("10.11.6-MariaDB"), version("8.0.36"))
    for part in ("MySQL 8.0.36", "MariaDB 10.11.6 in /10.11.6-MariaDB", "mysql-client"):
        assert part in str(raised.value)


@pytest.mark.parametrize(
    "name", ["", "mysql", "SYS", "env_sync", "a__incoming", "a__previous", "a ", "a\n", "x" * 55]
)
def test_names_that_cannot_have_copies_are_refused(name: str) -> None:
    with pytest.raises(NameRefused):
        copies_of(name, ("env_sync",))


def test_names_that_can() -> None:
    assert copies_of("odd.name $1 Ä").incoming == "odd.name $1 Ä__incoming"
    assert len(copies_of("x" * 54).incoming) == 64


@pytest.mark.parametrize(
    ("pattern", "yes"),
    [
        ("signon__incoming", True),
        ("%", True),
        ("signon%", True),
        (r"signon\_%", True),
        ("signon_%", True),
        ("SIGNON%", True),
        ("signon", False),
        (r"signon\_\_incoming", True),
        (r"signon\%", False),
        (r"other\_%", False),
        ("______________", False),
        ("________________", True),
    ],
)
def test_a_grant_covers_what_its_wildcards_say(pattern: str, yes: bool) -> None:
    assert covers(pattern, "signon__incoming") is yes


@pytest.mark.parametrize(
    ("pattern", "yes"),
    [
        ("signon__incoming", True),
        (r"signon\_\_incoming", True),
        ("signon%", False),
        ("signon__incomin_", False),
    ],
)
def test_with_partial_revokes_there_are_no_wildcards(pattern: str, yes: bool) -> None:
    assert covers(pattern, "signon__incoming", wildcards=False) is yes


@pytest.mark.parametrize("name", ["signon", "signon_production", "100%s", "back\\slash", r"\_"])
def test_a_grant_can_name_a_database_alone(name: str) -> None:
    assert covers(as_pattern(name), name)
    assert not any(covers(as_pattern(name), other) for other in ("signonXproduction", "100 xs", "x"))


@pytest.mark.parametrize(
    ("line", "privileges", "on"),
    [
        ("GRANT SELECT, CREATE VIEW ON `a\\_b`.* TO `x`@`%`", {"SELECT", "CREATE VIEW"}, "a\\_b"),
        ("GRANT ALL PRIVILEGES ON *.* TO `x`@`%` IDENTIFIED BY PASSWORD '*A' WITH GRANT OPTION", None, "*"),
        ("GRANT SET_ANY_DEFINER,SHOW_ROUTINE ON *.* TO `x`@`%`", {"SET_ANY_DEFINER", "SHOW_ROUTINE"}, "*"),
        ("GRANT USAGE ON *.* TO `x ON ``y``.* TO`@`%`", {"USAGE"}, "*"),
    ],
)
def test_a_grant_of_our_own_is_read(line: str, privileges: set[str] | None, on: str) -> None:
    grant = read_grant(line)
    assert grant == OwnGrant(
        privileges=frozenset(privileges or {"ALL PRIVILEGES"}), on=on, grantable=privileges is None
    )


@pytest.mark.parametrize(
    "line",
    [
        "GRANT SELECT ON `a`.`t` TO `x`@`%`",
        "GRANT SELECT (`c`) ON `a`.`t` TO `x`@`%`",
        "GRANT EXECUTE ON PROCEDURE `a`.`p` TO `x`@`%`",
        "GRANT `role` TO `x`@`%`",
        "GRANT PROXY ON 'a'@'%' TO 'x'@'%'",
        "REVOKE SELECT ON `a`.* FROM `x`@`%`",
        "SET DEFAULT ROLE `r` FOR `x`@`%`",
    ],
)
def test_what_is_not_on_a_whole_database_is_not(line: str) -> None:
    assert read_grant(line) is None


def test_a_partial_revoke_takes_away_what_it_names() -> None:
    attributes = (
        '{"metadata": {"a": 1}, "Restrictions": [{"Database": "signon__incoming", "Privileges": ["SELECT", '
        '"CREATE VIEW"]}, {"Database": "other", "Privileges": ["INSERT"]}]}'
    )
    assert revoked_on("signon__incoming", attributes) == {"SELECT", "CREATE VIEW"}
    assert revoked_on("signon", attributes) == frozenset()
    for none in (None, "{}", '{"metadata": {}}'):
        assert revoked_on("signon__incoming", none) == frozenset()


SANDBOX = b"/*M!999999\\- enable the sandbox mode */ \n"
FIRST = b"-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)\n--\n"
HOST = b"-- Host: db.example    Database: sign on\n-- ----\n-- Server version\t10.11.6-MariaDB\n"


def test_a_dump_says_mysql_first() -> None:
    assert as_mysql(SANDBOX + FIRST + HOST).startswith(b"-- MySQL dump 10.19  Distrib 10.11.6-MariaDB")
    assert as_mysql(FIRST + HOST).startswith(b"-- MySQL dump ")
    assert b"sandbox" not in as_mysql(SANDBOX + FIRST)


@pytest.mark.parametrize("before", [b"", SANDBOX])
def test_a_header_tells_the_database(before: bytes) -> None:
    assert read_header(before + FIRST + HOST) == Header(database="sign on", server_version="10.11.6-MariaDB")
    assert read_header(b"CREATE TABLE t (a int);\n") is None


def test_only_the_last_line_says_that_a_dump_is_whole() -> None:
    check_end("dump", b"x;\n-- Dump completed on 2026-11-24  1:02:03\n")
    for end in (b"", b"x;\n", b"-- Dump completed\nx;\n", b"'-- Dump completed'\n"):
        with pytest.raises(DumpDamaged, match="Dump completed"):
            check_end("dump", end)


def test_patterns_of_excluded_tables() -> None:
    assert matches("log_*", "log_2026")
    assert matches("a?c", "abc")
    assert not matches("log", "log_2026")
    assert not matches("a[bc]", "ab")


def made(statement: str) -> Object | None:
    return taken_apart(statement, sql_mode="", character_set="utf8mb4", collation="")


def test_an_object_is_made_as_somebody_else() -> None:
    one = made("CREATE ALGORITHM=MERGE DEFINER=`a@b`@`10.%` SQL SECURITY DEFINER VIEW `v``w` AS SELECT 1")
    assert one is not None
    assert (one.name, one.definer) == ("v`w", "a@b@10.%")
    assert one.statement == "CREATE ALGORITHM=MERGE SQL SECURITY DEFINER VIEW `v``w` AS SELECT 1"
    assert with_definer(one, "c`d@%").startswith("CREATE ALGORITHM=MERGE DEFINER=`c``d`@`%` SQL SECURITY")


@pytest.mark.parametrize(
    ("body", "reaches"),
    [
        ("INSERT INTO signon.log VALUES (1)", True),
        ("INSERT INTO `SIGNON` . `log` VALUES (1)", True),
        ("INSERT INTO log VALUES ('signon.log') -- signon.log", False),
        ("SET NEW.signon = OLD.signon", False),
    ],
)
def test_what_reaches_out_of_its_database_is_seen(body: str, reaches: bool) -> None:
    one = made(f"CREATE TRIGGER t BEFORE INSERT ON u FOR EACH ROW {body}")
    assert one is not None
    assert names_another(one, {"signon", "other"}) is reaches


def read(folder: Path, text: str) -> Script:
    file = folder / "sanitise.sql"
    file.write_text(text)
    return read_transformations([file], {"signon", "information_schema"})[0]


@pytest.mark.parametrize("backslash", [True, False])
def test_what_an_object_names_is_seen_however_backslashes_are_read(backslash: bool) -> None:
    """As its sql_mode has it, which the dump says, and as the other has it."""
    hidden = "'\\'; {} SET @b = '';" if not backslash else "'\\\\'; {} SET @b = '';"
    body = hidden.format("UPDATE signon.users SET a = `ENV_SYNC_STAMP`.b; CREATE /* c */ TEMPORARY TABLE t;")
    mode = "" if backslash else "NO_BACKSLASH_ESCAPES"
    text = f"CREATE TRIGGER x BEFORE UPDATE ON u FOR EACH ROW BEGIN SET @a = {body} END"
    one = taken_apart(text, sql_mode=mode, character_set="utf8mb4", collation="")
    assert one
    assert names_another(one, {"SIGNON"})
    assert not names_another(one, {"other"})
    assert holds_words(one, "env_sync_stamp")
    assert holds_words(one, "create", "temporary")
    assert not holds_words(one, "temporary", "create")


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("CALL `Loot`", True),
        ("SET @a = loot (1)", True),
        ("SET @a = `loot`()", True),
        ("SELECT loot FROM t", False),
        ("SET @a = 'loot()'", False),
    ],
)
def test_what_an_object_calls(text: str, called: bool) -> None:
    one = made(f"CREATE TRIGGER x BEFORE UPDATE ON u FOR EACH ROW {text}")
    assert one
    assert calls(one, {"loot"}) is called


@pytest.mark.parametrize(
    "setting", [{"collation": "a, @x = f()"}, {"character_set": "utf8mb4; x"}, {"sql_mode": "A', @x = 'b"}]
)
def test_an_object_is_made_with_no_setting_that_is_none(setting: dict[str, str]) -> None:
    said = {"sql_mode": "", "character_set": "utf8mb4", "collation": "", **setting}
    with pytest.raises(ValueError, match=next(iter(setting))):
        taken_apart("CREATE VIEW v AS SELECT 1", **said)


def test_a_transformation_is_cut_as_the_mysql_program_does(tmp_path: Path) -> None:
    script = read(
        tmp_path,
        "-- a comment; with a semicolon\nUPDATE a SET b = 'x;''y\\';';\ndelimiter //\n"
        "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END//\nDELIMITER ;\nCALL p();"
        "\nSELECT 1 FROM information_schema.TABLES",
    )
    assert [(step.line, step.text.partition(" ")[0]) for step in script.steps] == [
        (2, "UPDATE"),
        (4, "CREATE"),
        (6, "CALL"),
        (7, "SELECT"),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "/* c */ rollback",
        "START TRANSACTION",
        "BEGIN",
        "SET autocommit = 1",
        "SET @@session.autocommit = 1",
        "SET GLOBAL sql_mode = ''",
        "SET @@global.sql_mode = ''",
        "USE other",
        "DROP DATABASE signon",
        "GRANT ALL ON *.* TO a",
        "CREATE DEFINER=a@b EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
        "LOCK TABLES a WRITE",
        "LOAD DATA LOCAL INFILE '/x' INTO TABLE a",
        "SELECT 1 INTO OUTFILE '/x'",
        "UPDATE signon.users SET a = 1",
        "UPDATE `Signon` . users SET a = 1",
        "/*!50000 COMMIT */",
        "SELECT 'not closed",
    ],
)
def test_what_a_transformation_may_not_hold_is_refused_with_its_line(tmp_path: Path, statement: str) -> None:
    with pytest.raises(TransformationFailed, match=r"sanitise\.sql, line 2: "):
        read(tmp_path, f"UPDATE a SET b = 1;\n{statement};\n")


def test_a_rollback_to_a_savepoint_ends_no_transaction(tmp_path: Path) -> None:
    assert len(read(tmp_path, "SAVEPOINT a; ROLLBACK TO SAVEPOINT a; SET @signon = 1;").steps) == 3


def test_what_a_copy_says_is_read_as_it_was_written() -> None:
    was = WasLive(database="a", token="t", environment="integration", until=moment("2026-11-24 03:06"))
    assert read_text(told_text(Told(was_live=was))) == Told(was_live=was)
    assert understood(told_text(Told(was_live=was))) == Told(was_live=was)
    for wrong in ("", "[]", "{not json", '{"stamp": {"state": "sanitised"}}', '{"was_live": null}'):
        assert read_text(wrong) == Told()
        with pytest.raises(ValueError, match=r"."):
            understood(wrong)


PASSWORD = 'a "quoted" \\ # password'


@pytest.mark.parametrize("family", list(Family))
def test_a_password_is_in_a_private_file_that_is_removed(tmp_path: Path, family: Family) -> None:
    connection = ServerConnection(
        connection_id="c",
        environment="integration",
        host="db",
        port=3306,
        login="env_sync",
        password=Secret(PASSWORD),
        extra={"ssl_ca": "/ca.pem"},
    )
    with option_file(connection, family, tmp_path) as file:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        text = file.read_text()
    assert '\npassword="a \\"quoted\\" \\\\ # password"\n' in text
    assert 'ssl-ca="/ca.pem"' in text
    assert ("ssl-mode" in text) is (family is Family.MYSQL)
    # Without it a mysqldump without TLS cannot log in as MySQL 8 has it by default; MariaDB's refuses it.
    assert ("get-server-public-key" in text) is (family is Family.MYSQL)
    assert list(tmp_path.iterdir()) == []


ROUTINE = "PROCEDURE p(IN a decimal(10,2), b enum('x)','y')) {said}\nBEGIN SELECT 'SQL SECURITY DEFINER'; END"
FUNCTION = "FUNCTION `f(`() RETURNS {type} {said} RETURN 1"
SAID = "COMMENT 'SQL SECURITY DEFINER'"


@pytest.mark.parametrize(
    "text",
    [
        "VIEW v AS SELECT 1",
        "ALGORITHM=MERGE DEFINER=`a`@`b` SQL SECURITY DEFINER VIEW v AS SELECT 1",
        "ALGORITHM=MERGE DEFINER=`a`@`b` SQL SECURITY INVOKER VIEW v AS SELECT 1",
        ROUTINE.format(said=""),
        ROUTINE.format(said="SQL SECURITY DEFINER"),
        ROUTINE.format(said=f"NOT DETERMINISTIC READS SQL DATA SQL SECURITY DEFINER {SAID}"),
        ROUTINE.format(said="SQL SECURITY INVOKER SQL SECURITY DEFINER MODIFIES SQL DATA"),
        FUNCTION.format(type="int(11) unsigned", said="DETERMINISTIC"),
        FUNCTION.format(type="varchar(10) CHARSET utf8mb4 COLLATE utf8mb4_bin", said="SQL SECURITY DEFINER"),
        FUNCTION.format(type="enum('a','b)') CHARACTER SET latin1", said=f"NO SQL {SAID}"),
        FUNCTION.format(type="double precision", said="NOT /* SQL SECURITY DEFINER */ DETERMINISTIC"),
    ],
)
def test_a_view_or_a_routine_is_made_as_its_invoker(text: str) -> None:
    one = made(f"CREATE {text}")
    assert one is not None
    invoker = as_invoker(one)
    assert invoker is not None
    assert runs_as_invoker(invoker)
    assert invoker.statement.count("SQL SECURITY INVOKER") == 1
    assert as_invoker(invoker) == invoker
    before_body = invoker.statement.partition("SQL SECURITY INVOKER")[0]
    assert "SQL SECURITY DEFINER" not in before_body.replace(SAID, "").replace(
        "/* SQL SECURITY DEFINER */", ""
    )
    assert runs_as_invoker(one) is ("SECURITY INVOKER VIEW" in text)


@pytest.mark.parametrize(
    "text",
    [
        "TRIGGER t BEFORE INSERT ON u FOR EACH ROW SET @a = 1",
        "EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
        "FUNCTION f RETURNS string SONAME 'x.so'",
        "FUNCTION f() RETURNS int LANGUAGE JAVASCRIPT SQL SECURITY DEFINER AS $$ 1 $$",
        "PROCEDURE p() AUTHID DEFINER BEGIN END",
        "PROCEDURE p(",
    ],
)
def test_what_cannot_be_or_is_not_understood_is_not(text: str) -> None:
    one = made(f"CREATE {text}")
    assert one is not None
    assert as_invoker(one) is None
    assert not runs_as_invoker(one)


def test_an_object_that_is_called_like_a_value_is_told_without_it() -> None:
    for name in ("`ada@home.example`", "`07700 900123`"):
        one = made(f"CREATE VIEW {name} AS SELECT 1")
        assert str(one) == "view [name withheld: may be a value]"
    assert str(made("CREATE VIEW `emails` AS SELECT 1")) == "view emails"
