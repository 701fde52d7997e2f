"""What an engine refuses at night `check` refuses before, and nothing else: they ask the same function."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from env_sync.config.rules import Checked, broken_rules
from env_sync.core.errors import NameRefused
from env_sync.core.secret import Secret
from env_sync.domain.settings import Settings
from env_sync.domain.sync import Action, Place, Sync
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.elasticsearch.names import snapshot_name
from env_sync.engines.files.place import place_of
from env_sync.engines.mongo import names as mongo_names
from env_sync.engines.mysql import names as mysql_names
from env_sync.engines.postgresql import names as postgresql_names
from tests.unit.values import SQL, a_push, a_sync

WORDS = (
    *("signon_production", "Licensify-Audit", "x"),
    *("postgres", "template0", "template1", "rdsadmin", "mysql", "sys", "information_schema"),
    *("performance_schema", "admin", "config", "local", "env_sync", ".env_sync", ".", ".."),
)
SUFFIXES = ("", "__incoming", "__previous", "__outgoing", "__replaced", "__else", "_replaced", "__incoming_")
CASES: tuple[Callable[[str], str], ...] = (str, str.upper, str.title)
LENGTHS = (1, 26, 27, 43, 44, 53, 54, 55, 63, 64, 65, 245, 246, 255, 256)
SIGNS = "/\\. \"$*<>:|?-_'#,@é\U0001f600"


def names() -> Iterator[str]:
    """Names of every kind that some engine refuses, and names beside them that none does."""
    for word, suffix, case in itertools.product(WORDS, SUFFIXES, CASES):
        yield case(word) + case(suffix)
    for letter, length in itertools.product("xé", LENGTHS):
        yield letter * length
    for first, second in itertools.product(SIGNS, repeat=2):
        yield f"a{first}b{second}c"


NAMES = tuple(dict.fromkeys(names()))
TRANSFORMED = partial(a_push, pre_dump_transformation=SQL)
ANYWHERE = ServerConnection(
    connection_id="files",
    environment="integration",
    host="",
    port=None,
    login="",
    password=Secret(""),
    extra={"root": str(Path("/srv/files"))},
)


def snapshot(host: str) -> object:
    return snapshot_name(host, dt.datetime(2026, 11, 24, tzinfo=dt.UTC))


NIGHT: Mapping[str, tuple[Callable[[str], object], tuple[Callable[..., Sync], ...]]] = {
    "postgresql": (postgresql_names.copies_of, (a_sync, TRANSFORMED)),
    "mysql": (mysql_names.copies_of, (a_sync, TRANSFORMED)),
    "mongo": (partial(mongo_names.copies_of, reserved=()), (a_sync,)),
    "documentdb": (partial(mongo_names.copies_of, reserved=()), (a_sync,)),
    "files": (partial(place_of, ANYWHERE), (a_sync, a_push)),
    "elasticsearch": (snapshot, (a_push,)),
}
"""How each engine takes a name at night, and the syncs of which it does."""


def refused_by_check(sync: Sync) -> bool:
    checked = Checked(sync=sync, settings=Settings(), places={"path": Place("integration.yaml", 8)})
    return any(fault.read.startswith("`database`") for fault in broken_rules(checked, frozenset()))


def refused_at_night(take: Callable[[str], object], name: str) -> bool:
    try:
        take(name)
    except NameRefused:
        return True
    return False


@pytest.mark.parametrize("dbms", NIGHT)
def test_check_and_night_refuse_the_same_names(dbms: str) -> None:
    take, makes = NIGHT[dbms]
    store: dict[str, Any] = {"storagebackend": "elasticsearch"} if dbms == "elasticsearch" else {}
    # A slash cannot be part of a key, which the store sees to, whatever the server takes.
    refused = {name: "/" in name or refused_at_night(take, name) for name in NAMES}
    assert set(refused.values()) == {True, False}
    for make in makes:
        syncs = (make(dbms=dbms, database=name, **store) for name in NAMES)
        differ = {sync.database for sync in syncs if refused_by_check(sync) is not refused[sync.database]}
        assert sorted(differ) == []


@pytest.mark.parametrize(
    ("sync", "right"),
    [
        (
            a_sync(database="env_sync"),
            "a pull never replaces the database in which Env Sync keeps its leases",
        ),
        (
            TRANSFORMED(dbms="mysql", database="Env_Sync"),
            "no copy is made of the database in which Env Sync keeps its leases",
        ),
        (TRANSFORMED(database="rdsadmin"), "no copy is made of a database of postgresql itself"),
        (
            TRANSFORMED(dbms="mysql", database="a\U0001f600"),
            "no copy of a name with `\U0001f600` can be made; rename the database",
        ),
        *(
            (
                make(dbms="files", database=name),
                "write the directory's name alone; `root` in the extra of its connection says where it is",
            )
            for make in (a_sync, a_push)
            for name in (".", "..")
        ),
        (
            a_push(dbms="files", database=".env_sync"),
            "Env Sync keeps what is its own there; rename the directory",
        ),
        (a_sync(dbms="files", database="x" * 256), "a name may have at most 255 bytes"),
        (
            a_push(dbms="elasticsearch", storagebackend="elasticsearch", database="a#b"),
            "a name with `#` cannot be part of a snapshot's name; write the host's name alone",
        ),
    ],
)
def test_what_check_says_of_a_name_that_it_took_before(sync: Sync, right: str) -> None:
    checked = Checked(sync=sync, settings=Settings(), places={"path": Place("integration.yaml", 8)})
    assert [fault.right for fault in broken_rules(checked, frozenset())] == [right]


@pytest.mark.parametrize("database", ["postgres", "env_sync", "mysql", "admin"])
@pytest.mark.parametrize("dbms", ["postgresql", "mysql", "mongo"])
def test_what_is_only_dumped_may_be_any_database(dbms: str, database: str) -> None:
    assert not refused_by_check(a_push(dbms=dbms, database=database))


@pytest.mark.parametrize("name", ["a#b", "a/b", "a b"])
def test_the_source_of_a_copy_can_name_a_snapshot(name: str) -> None:
    sync = a_sync(
        action=Action.COPY,
        dbms="elasticsearch",
        storagebackend="elasticsearch",
        database="search",
        source_hostname=name,
    )
    assert refused_at_night(snapshot, name)
    checked = Checked(
        sync=sync, settings=Settings(), places={"source_hostname": Place("integration.yaml", 8)}
    )
    (fault,) = broken_rules(checked, frozenset())
    assert (fault.place.line, fault.read) == (8, f"`source_hostname` is `{name}`")
