"""A live that is replicated is not replaced, and is told of before the restore and before the night."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from env_sync.core.errors import ContentRefused
from env_sync.domain.finding import Level
from sandbox.postgresql import PostgreSQLServer
from tests.integration.postgresql.stage import OWNER, Stage, pull, said, say_it_was_live, set_up, working

SUBSCRIBE = "CREATE SUBSCRIPTION feed CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)"
UNSUBSCRIBE = (
    "ALTER SUBSCRIPTION feed DISABLE",
    "ALTER SUBSCRIPTION feed SET (slot_name = NONE)",
    "DROP SUBSCRIPTION feed",
)


@pytest.fixture
def live(stage: Stage) -> Stage:
    stage = stage.with_dump("CREATE TABLE t (id int)")
    stage.server.create_database("app", OWNER)
    return stage


def refused(stage: Stage, says: str) -> None:
    """Before the night, before the restore, and again before the swap."""
    assert stage.dump
    [problem] = [one for one in stage.engine().preflight([], None).findings if one.level is Level.PROBLEM]
    assert says in problem.what
    with working(stage.engine()) as engine:
        with pytest.raises(ContentRefused) as told:
            engine.restore(stage.dump)
        assert says in str(told.value)
        assert engine.incoming_stamp() is None


@pytest.mark.parametrize("database", ["app", "app__previous"])
def test_a_subscription_is_refused(live: Stage, database: str) -> None:
    if database != "app":
        live.server.create_database(database, OWNER)
        say_it_was_live(live, database)
    live.query(SUBSCRIBE, database)
    try:
        refused(live, f"subscription feed of {database} (connected to that: {'; '.join(UNSUBSCRIBE)})")
    finally:
        for statement in UNSUBSCRIBE:
            live.query(statement, database)
    pull(live, live.engine(attempt="2"))


def test_one_that_comes_meanwhile_stops_the_swap(live: Stage) -> None:
    assert live.dump
    with working(live.engine()) as engine:
        engine.restore(live.dump)
        engine.sanitise([])
        live.query(SUBSCRIBE)
        try:
            with pytest.raises(ContentRefused, match="subscription feed of app"):
                engine.promote(said(), lambda: None)
        finally:
            for statement in UNSUBSCRIBE:
                live.query(statement)
        assert not engine.promote(said(), lambda: None).first


@pytest.fixture
def logical(server_folder: Path, tmp_path: Path) -> Iterator[Stage]:
    with PostgreSQLServer(server_folder / "logical", "pypi18", settings={"wal_level": "logical"}) as server:
        yield set_up(server, tmp_path, superuser=False).with_dump("CREATE TABLE t (id int)")


def test_a_logical_slot_is_refused(logical: Stage) -> None:
    logical.server.create_database("app", OWNER)
    logical.query("SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')")
    drop = "SELECT pg_drop_replication_slot('cdc')"
    refused(logical, f"replication slot 'cdc' of app (end its consumer; {drop})")
    logical.query(drop)
    pull(logical, logical.engine())


def test_publications_that_are_lost_are_named(live: Stage) -> None:
    live.query('CREATE PUBLICATION "Changes" FOR ALL TABLES; CREATE PUBLICATION made')
    live.server.execute("GRANT CREATE ON DATABASE app TO env_sync")
    [noted] = live.engine().preflight([], None).findings
    assert (noted.level, '"Changes", made' in noted.what) == (Level.NOTE, True)
    [warning] = pull(live, live.engine(), live.transformation("CREATE PUBLICATION made;")).warnings
    assert warning.startswith('Publications of live are not in what replaces it: "Changes". Make them')
