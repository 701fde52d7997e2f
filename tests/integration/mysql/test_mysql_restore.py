"""Restores into MariaDB of tables whose keys are built when the rows are in."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from env_sync.core.errors import RestoreFailed
from env_sync.engines.mysql import loading
from env_sync.engines.mysql.identifiers import quoted
from env_sync.engines.mysql.session import Session
from sandbox.mariadb import MariaDBServer
from sandbox.mysql import series
from tests.integration.mysql.stage import Stage, set_up, tear_down, working

SOURCE = """
-- It points at a table that comes later, and there at a key that is no primary one.
CREATE TABLE a_child (id int AUTO_INCREMENT PRIMARY KEY, code varchar(20), self int,
    CONSTRAINT forward FOREIGN KEY (code) REFERENCES z_parent (code) ON UPDATE CASCADE,
    CONSTRAINT to_itself FOREIGN KEY (self) REFERENCES a_child (id) ON DELETE SET NULL);
CREATE TABLE counted (day date NOT NULL, id int NOT NULL AUTO_INCREMENT, a int, PRIMARY KEY (day, id),
    KEY (id), KEY (a)) AUTO_INCREMENT = 900;
CREATE TABLE everything (id int PRIMARY KEY, a varchar(300), b int, spot point NOT NULL,
    low varchar(300) AS (LOWER(a)) VIRTUAL, up varchar(300) AS (UPPER(a)) STORED, UNIQUE KEY (b),
    KEY prefix (a(7), b), KEY (low), KEY (up), FULLTEXT KEY (a), SPATIAL KEY (spot),
    KEY said (b) COMMENT 'it''s, (a) key');
CREATE TABLE in_parts (id int, day int, a int, PRIMARY KEY (id, day), UNIQUE KEY (day, id), KEY (a))
    PARTITION BY RANGE (day)
    (PARTITION early VALUES LESS THAN (10), PARTITION late VALUES LESS THAN MAXVALUE);
CREATE TABLE old_engine (id int AUTO_INCREMENT PRIMARY KEY, a int, KEY (a)) ENGINE=MyISAM;
CREATE TABLE plain (id int PRIMARY KEY, a int, b {text}, KEY (a), UNIQUE KEY (b)) ENGINE=InnoDB;
CREATE TABLE squeezed (id int PRIMARY KEY, a text, KEY (a(20))) ROW_FORMAT=COMPRESSED;
CREATE TABLE versioned (id int PRIMARY KEY, a int, KEY (a),
    CONSTRAINT up FOREIGN KEY (a) REFERENCES z_parent (id)){versioning};
CREATE TABLE without_primary (a int NOT NULL, b int, UNIQUE KEY (a), KEY (b));
CREATE TABLE z_parent (id int PRIMARY KEY, code varchar(20), UNIQUE KEY (code));
INSERT INTO z_parent SELECT seq, CONCAT('code ', seq) FROM numbers;
INSERT INTO a_child (code, self) SELECT CONCAT('code ', seq), IF(seq > 9, seq - 9, NULL) FROM numbers;
INSERT INTO counted SELECT '2026-01-01' + INTERVAL seq % 3 DAY, seq, seq FROM numbers;
INSERT INTO everything (id, a, b, spot) SELECT seq, CONCAT('Word', seq), seq, POINT(seq, 1) FROM numbers;
INSERT INTO in_parts SELECT seq, seq % 20, seq FROM numbers;
INSERT INTO plain SELECT seq, seq, seq FROM numbers;
INSERT INTO old_engine (a) SELECT seq FROM numbers;
INSERT INTO squeezed SELECT seq, REPEAT(seq, 30) FROM numbers;
INSERT INTO versioned SELECT seq, seq FROM numbers;
INSERT INTO without_primary SELECT 1000 - seq, seq FROM numbers;
"""
PARTS = {
    "MariaDB": {"versioning": " WITH SYSTEM VERSIONING", "text": "text"},
    # A unique key of whole texts is a hash, which it does not have.
    "MySQL": {"versioning": "", "text": "varchar(300)"},
}
# Tables whose keys wait for their rows, and then those whose foreign keys do.
KEYS_WAIT = {
    *("a_child", "counted", "everything", "in_parts", "plain", "squeezed", "versioned", "without_primary"),
    "z_parent",
}
FOREIGN_KEYS_WAIT = ["a_child", "versioned"]


@pytest.fixture
def however_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys wait for the rows of each table that has any."""
    monkeypatch.setattr(loading, "FEW", 0)


def picture(stage: Stage, database: str) -> Iterator[object]:
    for name in re.findall(r"CREATE TABLE (\w+)", SOURCE):
        [(_, definition)] = stage.run(f"SHOW CREATE TABLE {name}", database=database)
        yield definition
        yield stage.run(f"SELECT * FROM {name} ORDER BY 1, 2", database=database)
        yield [row[3:] for row in stage.run(f"CHECK TABLE {name}", database=database)]


@pytest.mark.usefixtures("however_few")
def test_tables_are_what_they_were_when_their_keys_come_after_the_rows(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    send = Session.send

    def noted(session: Session, statement: bytes) -> None:
        sent.append(statement)
        send(session, statement)

    source = SOURCE.format(**PARTS[stage.server.family])
    stage.run(
        "SET foreign_key_checks = 0",
        f"CREATE TEMPORARY TABLE numbers AS SELECT seq FROM {series(600)}",
        *filter(str.strip, source.split(";\n")),
    )
    before = list(picture(stage, stage.database))
    # Several statements for each table, so that sessions share one.
    dump = stage.dump_file(gzip.compress(stage.mysqldump("--net-buffer-length=4096")))
    monkeypatch.setattr(Session, "send", noted)
    engine = stage.engine(jobs=3)
    with working(engine):
        assert not [warning for warning in engine.restore(dump) if "Left out" in warning]
    assert list(picture(stage, stage.incoming)) == before
    altered = [
        statement.split()[2].decode().strip("`") for statement in sent if statement.startswith(b"ALTER")
    ]
    assert len(altered) == len(KEYS_WAIT) + len(FOREIGN_KEYS_WAIT)
    assert {*altered[: len(KEYS_WAIT)]} == KEYS_WAIT
    assert altered[len(KEYS_WAIT) :] == FOREIGN_KEYS_WAIT
    with pytest.raises(Exception, match="foreign key constraint fails"):
        stage.run("INSERT INTO a_child (code) VALUES ('no such')", database=stage.incoming)


@pytest.mark.usefixtures("however_few")
@pytest.mark.probe("personal values in errors")
def test_rows_that_a_unique_key_does_not_bear_fail_the_restore_and_are_not_shown(stage: Stage) -> None:
    dump = stage.dump(
        b"CREATE TABLE `people` (`id` int, `email` varchar(99), PRIMARY KEY (`id`), "
        b"UNIQUE KEY `one_each` (`email`)) ENGINE=InnoDB;\n"
        b"INSERT INTO `people` VALUES (1,'alice@home.example');\n"
        b"INSERT INTO `people` VALUES (2,'ALICE@home.example');\n"
    )
    engine = stage.engine()
    with working(engine), pytest.raises(RestoreFailed) as raised:
        engine.restore(dump)
    assert "Keys of table people could not be made over its rows" in str(raised.value)
    assert "one_each" in str(raised.value)
    assert "alice" not in str(raised.value).lower()
    assert stage.incoming not in stage.server.databases()


@pytest.mark.usefixtures("however_few")
def test_rows_may_come_apart_from_their_tables(stage: Stage) -> None:
    table = b"CREATE TABLE `%s` (`id` int, `a` int, PRIMARY KEY (`id`), KEY (`a`)) ENGINE=InnoDB;\n"
    rows = b"INSERT INTO `%s` VALUES (%d,1);\n"
    text = table % b"one" + table % b"two" + rows % (b"one", 1) + rows % (b"two", 1) + rows % (b"one", 2)
    engine = stage.engine()
    with working(engine):
        engine.restore(stage.dump(text))
    counts = "SELECT (SELECT COUNT(*) FROM one), (SELECT COUNT(*) FROM two)"
    assert stage.run(counts, database=stage.incoming) == [(2, 1)]


@pytest.mark.parametrize("name", ["it's", 'quo"ted', "tick`ed", "back\\slash", "a; b -- c", "per%cent_"])
@pytest.mark.probe("names with quotes, percent signs and line breaks")
def test_whatever_has_an_odd_name_comes_down(stage: Stage, name: str) -> None:
    odd = quoted(name)
    stage.run_as_application(
        f"CREATE TABLE {odd} ({odd} int PRIMARY KEY, a int, KEY {odd} (a))",
        f"INSERT INTO {odd} VALUES (1, 2)",
        f"CREATE TRIGGER {odd} BEFORE INSERT ON {odd} FOR EACH ROW SET NEW.a = 7",
        f"CREATE VIEW {quoted(name + ' view')} AS SELECT {odd} FROM {odd}",
        f"CREATE PROCEDURE {odd}() SELECT 1",
        f"CREATE EVENT {odd} ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
    )
    engine = stage.engine()
    with working(engine):
        engine.dump(stage.folder / "pushed")
    engine.release_lease()
    stage.pull(stage.dump_file((stage.folder / "pushed").read_bytes()), stage.engine(run="pull"))
    stage.run(f"INSERT INTO {odd} VALUES (2, 2)")
    assert stage.run(f"SELECT * FROM {odd} ORDER BY 1") == [(1, 2), (2, 7)]
    assert len(stage.run(f"SELECT * FROM {quoted(name + ' view')}")) == 2
    assert stage.run(f"CALL {odd}()") == [(1,)]
    assert stage.run(f"SHOW CREATE EVENT {odd}")[0][0] == name


@pytest.fixture
def lower_stage(logging_server: MariaDBServer, tmp_path: Path) -> Iterator[Stage]:
    """A live database on a server that keeps names of databases and tables in lower case."""
    stage = set_up(logging_server, tmp_path, "Signon_Production")
    yield stage
    tear_down(stage)


def test_a_server_that_keeps_names_in_lower_case(lower_stage: Stage) -> None:
    stage = lower_stage
    dump = stage.dump(
        b"CREATE TABLE `Users` (`Id` int, `Email` varchar(99), `Up` int, PRIMARY KEY (`Id`), "
        b"KEY `up` (`Up`), CONSTRAINT `up` FOREIGN KEY (`Up`) REFERENCES `Users` (`Id`)) ENGINE=InnoDB;\n"
        b"INSERT INTO `Users` VALUES (1,'alice@home.example',NULL),(2,'bob@home.example',1);\n"
        b"CREATE TABLE `New_One` (`id` int) ENGINE=InnoDB;\n"
        b"/*!50001 CREATE VIEW `Emails` AS select `Users`.`Email` AS `Email` from `Users` */;\n"
    )
    redact = stage.transformation("UPDATE Users SET Email = CONCAT('user-', Id);")
    promotion = stage.pull(dump, None, redact)
    assert promotion.previous_kept
    assert stage.run("SELECT * FROM Emails ORDER BY 1") == [("user-1",), ("user-2",)]
    names = {name for (name,) in stage.run("SHOW TABLES")}
    assert names == {"users", "new_one", "emails", "env_sync_stamp"}
    assert stage.run("SELECT COUNT(*) FROM users", database=stage.previous) == [(20,)]
    engine = stage.engine(run="undo")
    with working(engine):
        engine.restore_previous(lambda _: None)
    engine.release_lease()
    assert stage.run("SELECT COUNT(*) FROM users") == [(20,)]
    # What it dumps is a dump of the same database.
    engine = stage.engine(run="push")
    with working(engine):
        engine.dump(stage.folder / "pushed")
    engine.verify(stage.folder / "pushed")
