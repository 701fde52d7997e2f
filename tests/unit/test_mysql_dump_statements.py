from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from env_sync.core.errors import DumpDamaged, RestoreFailed
from env_sync.engines.mysql import statement_stream
from env_sync.engines.mysql.dump_statements import DumpStatements, Item, LeftOut, Rows, Table
from env_sync.engines.mysql.objects import Kind, Object
from env_sync.engines.mysql.statement_stream import Splitter, are_literals
from env_sync.engines.mysql.version import read_version

MARIADB, MYSQL = read_version("10.11.6-MariaDB"), read_version("8.0.36")


def items(text: bytes, *, at_once: int = 1 << 22, version: object = MARIADB) -> list[Item]:
    """What a dump of the database `signon` would do, read in pieces of so many bytes."""
    stream = io.BytesIO(text)
    assert version in (MARIADB, MYSQL)
    read = Splitter(lambda _: stream.read(at_once))
    return list(DumpStatements(read, "signon", version))  # type: ignore[arg-type]


DUMP = rb"""-- MySQL dump 10.13  Distrib 8.0.36
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!50503 SET NAMES utf8mb4 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
DROP TABLE IF EXISTS `people`;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `people` (
  `id` int, `note; with` varchar(10) DEFAULT 'it''s; \'' /*!80023 INVISIBLE */
) ENGINE=InnoDB /*!50100 PARTITION BY HASH (`id`) */;
LOCK TABLES `people` WRITE;
/*!40000 ALTER TABLE `people` DISABLE KEYS */;
INSERT INTO `people` VALUES (1,'a;b\'c\\'),(2,NULL),(-3.5e-10,_binary 'x'''),(0x00FF,'-- no /* comment');
INSERT INTO `people` (`id`, `note; with`) VALUES (4,'');
/*!40000 ALTER TABLE `people` ENABLE KEYS */;
UNLOCK TABLES;
/*!50003 SET @saved_sql_mode = @@sql_mode */ ;
/*!50003 SET sql_mode = 'ANSI_QUOTES' */ ;
/*!50003 SET character_set_client = latin1 */ ;
/*!50003 SET collation_connection = latin1_swedish_ci */ ;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`%`*/ /*!50003 TRIGGER `tr` BEFORE INSERT ON `people`
FOR EACH ROW BEGIN /* a ; comment */ SET NEW.`id` = ';;'; -- it's
END */;;
DELIMITER ;
/*!50003 SET sql_mode = @saved_sql_mode */ ;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`app`@`10.%` SQL SECURITY DEFINER */
/*!50001 VIEW `v` AS select 1 AS `a` */;
-- Dump completed on 2026-11-24
"""


def test_a_dump_is_taken_apart() -> None:
    table, first, second, trigger, view = items(DUMP)
    assert isinstance(table, Table)
    assert table.name == "people"
    assert b"INVISIBLE" not in table.statement
    assert b"PARTITION BY HASH" in table.statement
    assert isinstance(first, Rows)
    assert first.statement.endswith(b"'-- no /* comment')")
    assert (first.table, first.character_set, first.backslash) == ("people", "utf8mb4", True)
    assert isinstance(second, Rows)
    assert isinstance(trigger, Object)
    assert (trigger.kind, trigger.name, trigger.definer) == (Kind.TRIGGER, "tr", "root@%")
    assert (trigger.sql_mode, trigger.character_set) == ("ANSI_QUOTES", "latin1")
    assert trigger.statement.startswith("CREATE")
    assert trigger.statement.endswith("END")
    assert "a ; comment" in trigger.statement
    assert isinstance(view, Object)
    assert view.sql_mode == "NO_AUTO_VALUE_ON_ZERO"
    assert "DEFINER=" not in view.statement
    assert "/*" not in view.statement


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 64, 1000])
def test_it_does_not_matter_in_what_pieces_it_is_read(at_once: int) -> None:
    assert items(DUMP, at_once=at_once) == items(DUMP)


def test_each_family_is_given_its_own_comments() -> None:
    text = (
        b"CREATE TABLE `t` (a int /*!80000 , mysql8 int */ /*M!100300 , maria int */ /*!50500 , both int */);"
    )
    [maria], [mysql] = items(text), items(text, version=MYSQL)
    assert isinstance(maria, Table)
    assert isinstance(mysql, Table)
    assert maria.statement.split() == b"CREATE TABLE `t` (a int , maria int , both int )".split()
    assert mysql.statement.split() == b"CREATE TABLE `t` (a int , mysql8 int , both int )".split()


def test_what_a_dump_says_of_global_transactions_is_left_out() -> None:
    text = (
        b"SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN;\nSET @@SESSION.SQL_LOG_BIN= 0;\n"
        b"SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5';\n"
        b"/*!80000 SET SESSION information_schema_stats_expiry=0 */;\n"
        b"CREATE TABLE `t` (a int);\nSET @@SESSION.SQL_LOG_BIN = @MYSQLDUMP_TEMP_LOG_BIN;\n"
    )
    for version in (MARIADB, MYSQL):
        [table] = items(text, version=version)
        assert isinstance(table, Table)


def test_an_object_has_no_mode_that_its_server_refuses() -> None:
    text = (
        b"SET sql_mode = 'STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER,ANSI_QUOTES';\n"
        b"CREATE PROCEDURE `p`() SELECT 1;\n"
    )
    [maria], [mysql] = items(text), items(text, version=MYSQL)
    assert isinstance(maria, Object)
    assert isinstance(mysql, Object)
    assert maria.sql_mode == "STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER,ANSI_QUOTES"
    assert mysql.sql_mode == "STRICT_TRANS_TABLES,ANSI_QUOTES"


def test_a_backslash_is_a_letter_where_it_does_not_escape() -> None:
    text = b"SET sql_mode = 'NO_BACKSLASH_ESCAPES';\nINSERT INTO `t` VALUES ('a\\'),('b;''c');\n"
    [rows] = items(text)
    assert isinstance(rows, Rows)
    assert rows.statement == b"INSERT INTO `t` VALUES ('a\\'),('b;''c')"
    assert not rows.backslash
    with pytest.raises((DumpDamaged, RestoreFailed)):
        items(text.replace(b"NO_BACKSLASH_ESCAPES", b""))


@pytest.mark.parametrize("at_once", [5, 1 << 22])
def test_a_statement_much_longer_than_what_is_read_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_stream, "_CHUNK", at_once)
    value = b"x;\\'" * 3000
    text = b"INSERT INTO `t` VALUES " + b",".join([b"(1,'" + value + b"',0xABCDEF)"] * 5) + b";\n"
    [rows] = items(text, at_once=997)
    assert isinstance(rows, Rows)
    assert rows.statement == text[:-2]


REFUSED = {
    "USE `mysql`;": "leaves the database",
    "CREATE DATABASE other;": "leaves the database",
    "INSERT INTO `other`.`t` VALUES (1);": "no such statement",
    "INSERT INTO `t` SELECT * FROM `other`.`t`;": "no such statement",
    "INSERT INTO `t` VALUES (other.f(1));": "no such statement",
    "INSERT INTO `t` VALUES (1),(e1e(2));": "no such statement",
    "INSERT INTO `t` VALUES ((SELECT 1));": "no such statement",
    "INSERT INTO `t` VALUES (NULL1(2));": "no such statement",
    "INSERT INTO `t` VALUES ('a'f('b'));": "no such statement",
    "REPLACE INTO t VALUES (1);": "no such statement",
    "UPDATE `t` SET a = 1;": "no such statement",
    "DELETE FROM t;": "no such statement",
    "GRANT ALL ON *.* TO a;": "no such statement",
    "CALL other.p();": "no such statement",
    "LOAD DATA INFILE '/x' INTO TABLE t;": "no such statement",
    "RENAME TABLE t TO other.t;": "no such statement",
    "TRUNCATE other.t;": "no such statement",
    # Some programs make keys after the rows; without them live would be another table than the source's.
    "ALTER TABLE `t` ADD UNIQUE KEY `a` (`a`);": "no such statement",
    "/*!40000 ALTER TABLE `t` MODIFY `a` int AUTO_INCREMENT */;": "no such statement",
    "DO other.f();": "no such statement",
    "CREATE TABLE other.t (a int);": "not named",
    "CREATE TABLE `other`.`t` (a int);": "not named",
    "CREATE TABLE `t` (a int) AS SELECT * FROM other.t;": "filled from elsewhere",
    "CREATE TABLE `t` (a int) SELECT 1;": "filled from elsewhere",
    "CREATE TABLE `t` LIKE other.t;": "not named",
    "CREATE TABLE `t` (a int, FOREIGN KEY (a) REFERENCES `other`.`t` (a));": "another database",
    "CREATE TEMPORARY TABLE t (a int);": "make no such thing",
    "CREATE USER a;": "make no such thing",
    "CREATE SERVER a FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'h');": "make no such thing",
    "CREATE VIEW other.v AS SELECT 1;": "not named",
    "CREATE PROCEDURE `other`.`p`() SELECT 1;": "not named",
    "CREATE TRIGGER tr BEFORE INSERT ON other.t FOR EACH ROW SET @a = 1;": "another database",
    "CREATE TRIGGER other.tr BEFORE INSERT ON t FOR EACH ROW SET @a = 1;": "not named",
    "/*!99999 CREATE TABLE `t` (a int) -- */ DROP VIEW a; */\nUPDATE t SET a = 1;": "does not end",
    "/*!50001 UPDATE t SET a = 1 */;": "no such statement",
    "SET NAMES gbk;": "part of a character",
}


@pytest.mark.parametrize(("statement", "why"), REFUSED.items())
def test_what_no_dump_of_one_database_holds_is_refused(statement: str, why: str) -> None:
    with pytest.raises((RestoreFailed, DumpDamaged), match=why):
        items(statement.encode() + b"\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("collation_connection", "utf8mb4_bin, @x = (SELECT 1)"),
        ("collation_connection", "utf8mb4_bin, @x = @@sql_mode"),
        ("COLLATION_CONNECTION", "latin1_bin; DROP TABLE t"),
        ("sql_mode", "ANSI_QUOTES\\', @x = 1, @y = \\'"),
        ("time_zone", "+00:00''; DROP TABLE t"),
    ],
)
def test_no_setting_of_a_dump_becomes_a_statement(name: str, value: str) -> None:
    text = f"SET @@session.{name} = '{value}';\nCREATE VIEW `v` AS SELECT 1;\n".encode()
    with pytest.raises(RestoreFailed, match=f"what it sets {name.lower()} to is no value of that"):
        items(text)


def test_a_refusal_shows_no_value() -> None:
    with pytest.raises(RestoreFailed) as raised:
        items(b"UPDATE `t` SET a = 'alice@example.com';\n")
    assert "alice" not in str(raised.value)
    assert "UPDATE" in str(raised.value)


def test_what_names_the_database_itself_is_passed_over() -> None:
    text = b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `signon` /*!40100 DEFAULT */;\nUSE `signon`;\n"
    assert items(text) == []


@pytest.mark.parametrize("name", [b"env_sync_stamp", b"ENV_Sync_Stamp"])
def test_rows_of_a_stamp_are_left_out_in_whatever_letters(name: bytes) -> None:
    """Some servers know no capitals in names of tables."""
    assert items(b"INSERT INTO `" + name + b"` VALUES ('objects','[]');\n") == []


def test_a_stamp_in_a_dump_is_left_out() -> None:
    text = b"CREATE TABLE `env_sync_stamp` (name int);\nINSERT INTO `env_sync_stamp` VALUES (1);\n"
    assert items(text) == [LeftOut(name="env_sync_stamp", why="")]


@pytest.mark.parametrize("engine", ["FEDERATED", "CONNECT", "MRG_MyISAM", "spider"])
def test_a_table_whose_rows_are_elsewhere_is_left_out_with_its_rows(engine: str) -> None:
    text = f"CREATE TABLE `t` (a int) ENGINE={engine} CONNECTION='mysql://x';\nINSERT INTO `t` VALUES (1);\n"
    [left] = items(text.encode())
    assert isinstance(left, LeftOut)
    assert engine.upper() in left.why
    parts = f"PARTITION BY KEY (a) (PARTITION p ENGINE = {engine}, PARTITION q ENGINE = InnoDB)"
    [left] = items(f"CREATE TABLE `t` (`engine` int) ENGINE=InnoDB {parts};\n".encode())
    assert isinstance(left, LeftOut)
    whole = b"CREATE TABLE `t` (`engine` int DEFAULT '1') ENGINE=InnoDB COMMENT='ENGINE=S3';\n"
    assert [type(one) for one in items(whole)] == [Table]


@pytest.mark.parametrize(
    "text",
    [
        b"INSERT INTO `t` VALUES (1,'not closed",
        b"INSERT INTO `t` VALUES (1)",
        b"CREATE TABLE `t` (a int",
        b"CREATE TABLE `t` (a int /* not closed",
    ],
)
def test_a_statement_without_an_end_is_damage(text: bytes) -> None:
    with pytest.raises(DumpDamaged, match="ends within a statement"):
        items(text)


LITERAL: dict[bytes, bool] = {
    b"(1,-2.5,1e10,1.5E-3,0xAF,NULL,'a\\'b''c\\\\',_binary 'x')": True,
    b"('',''),(NULL,NULL)": True,
    b"(f(1))": False,
    b"('a' 'b')": True,
    b"('a'(1))": False,
    b"(NULL1(1))": False,
    b"(1e1(1))": False,
    b"(x(1))": False,
    b"('not closed)": False,
    b"(`a`)": False,
    b"(@a)": False,
}


@pytest.mark.parametrize(("rows", "are"), LITERAL.items())
@pytest.mark.parametrize("way", ["quick", "careful"])
def test_rows_are_literals(rows: bytes, are: bool, way: str) -> None:
    def careful(text: bytes) -> bool:
        return statement_stream.LITERALS.fullmatch(text) is not None

    ways: dict[str, Callable[[bytes], bool]] = {"quick": are_literals, "careful": careful}
    assert ways[way](rows) == are
