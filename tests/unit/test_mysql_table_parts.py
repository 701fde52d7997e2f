from __future__ import annotations

import pytest

from env_sync.engines.mysql.table_parts import parts_of

COLUMNS = b"""CREATE TABLE `t` (
  `id` int(11) NOT NULL AUTO_INCREMENT COMMENT 'KEY (`a`), with, commas',
  `number` int(11) NOT NULL DEFAULT (1 + 2),
  `a` varchar(100) DEFAULT 'AUTO_INCREMENT',
  `b` varchar(100) GENERATED ALWAYS AS (lower(`a`)) VIRTUAL,
  `key` int(11),
  `spot` point NOT NULL"""
PRIMARY = b",\n  PRIMARY KEY (`id`)"
END = b"\n) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COMMENT='PARTITION, (KEY)'"

KEYS: dict[bytes, bool] = {
    b"KEY `x` (`a`)": True,
    b"KEY `x` (`a` DESC)": False,
    b"INDEX `x` (`a`(10),`number`) USING BTREE COMMENT 'FULLTEXT'": True,
    b"KEY `x` (`a`) KEY_BLOCK_SIZE=8": True,
    b"UNIQUE KEY `x` (`number`)": True,
    b"UNIQUE KEY `x` (`a`) USING HASH": False,
    b"UNIQUE KEY `x` (`id`,`a` WITHOUT OVERLAPS)": False,
    b"FULLTEXT KEY `x` (`a`)": False,
    b"SPATIAL KEY `x` (`spot`)": False,
    b"KEY `x` (`b`)": False,
    b"KEY `x` (`a`,`b`)": False,
    b"KEY `x` ((lower(`a`)))": False,
    b"KEY `x` (`id`,`a`)": False,
    b"KEY `x` (`a`,`id`)": True,
    b"VECTOR KEY `x` (`a`)": False,
    b"CONSTRAINT `x` CHECK (`number` in (1,2))": False,
}


@pytest.mark.parametrize(("key", "late"), KEYS.items())
def test_a_key_that_the_server_builds_by_sorting_comes_after_the_rows(key: bytes, late: bool) -> None:
    whole = COLUMNS + PRIMARY + b",\n  " + key + END
    parts = parts_of("t", whole)
    assert parts.make(keys=True) == whole
    assert bool(parts.keys) is late
    if late:
        assert parts.make(keys=False) == COLUMNS + PRIMARY + END
        assert parts.add_keys() == b"ALTER TABLE `t` ADD " + key
    else:
        assert parts.make(keys=False) == whole


def test_keys_are_added_together_and_in_their_order() -> None:
    keys = [b"UNIQUE KEY `u` (`number`)", b"KEY `k` (`a`)", b"FULLTEXT KEY `f` (`a`)", b"KEY `l` (`key`)"]
    parts = parts_of("t", COLUMNS + PRIMARY + b"".join(b",\n  " + key for key in keys) + END)
    assert parts.add_keys() == (
        b"ALTER TABLE `t` ADD UNIQUE KEY `u` (`number`), ADD KEY `k` (`a`), ADD KEY `l` (`key`)"
    )
    assert parts.make(keys=False) == COLUMNS + PRIMARY + b",\n  " + keys[2] + END


def test_keys_keep_their_order_where_one_of_them_is_kept() -> None:
    keys = [b"UNIQUE KEY `u` (`number`)", b"KEY `k` (`a`)", b"KEY `kept` (`b`)", b"KEY `l` (`key`)"]
    parts = parts_of("t", COLUMNS + PRIMARY + b"".join(b",\n  " + key for key in keys) + END)
    assert parts.add_keys() == b"ALTER TABLE `t` ADD UNIQUE KEY `u` (`number`), ADD KEY `l` (`key`)"


@pytest.mark.parametrize("foreign", [b"CONSTRAINT `c` FOREIGN KEY", b"FOREIGN KEY `c`", b"FOREIGN KEY"])
def test_foreign_keys_always_come_last(foreign: bytes) -> None:
    foreign += b" (`number`) REFERENCES `other` (`id`) ON DELETE CASCADE"
    parts = parts_of("t", COLUMNS + PRIMARY + b",\n  KEY `k` (`number`),\n  " + foreign + END)
    assert parts.make(keys=True) == COLUMNS + PRIMARY + b",\n  KEY `k` (`number`)" + END
    assert parts.make(keys=False) == COLUMNS + PRIMARY + END
    assert parts.add_foreign_keys() == b"ALTER TABLE `t` ADD " + foreign


def test_rows_may_be_stored_in_the_order_of_a_unique_key() -> None:
    keys = b",\n  UNIQUE KEY `u` (`number`),\n  KEY `k` (`a`)"
    parts = parts_of("t", COLUMNS.replace(b"AUTO_INCREMENT COMMENT", b"COMMENT") + keys + END)
    assert parts.add_keys() == b"ALTER TABLE `t` ADD KEY `k` (`a`)"


@pytest.mark.parametrize(
    "engine", [b" ENGINE=MyISAM", b" ENGINE=Aria PAGE_CHECKSUM=1", b"", b" COMMENT='InnoDB'"]
)
def test_only_innodb_builds_keys_in_one_go(engine: bytes) -> None:
    whole = COLUMNS + PRIMARY + b",\n  KEY `k` (`a`)\n)" + engine
    parts = parts_of("t", whole)
    assert not parts.keys
    assert parts.make(keys=False) == whole


@pytest.mark.parametrize("text", [b"CREATE SEQUENCE `s` START WITH 1", b"CREATE TABLE `t` (`a` int, 'open"])
def test_what_is_no_table_is_left_as_it_is(text: bytes) -> None:
    assert parts_of("t", text).make(keys=False) == text


def test_a_name_is_quoted() -> None:
    parts = parts_of("odd`name", COLUMNS + PRIMARY + b",\n  KEY `k` (`a`)" + END)
    assert parts.add_keys() == b"ALTER TABLE `odd``name` ADD KEY `k` (`a`)"
