"""What is special to MongoDB and DocumentDB; what every engine does is in the conformance suite."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import bson
import pytest
from attrs import evolve
from pymongo.errors import PyMongoError

from env_sync.core.errors import (
    AccessRefused,
    Cancelled,
    EnvSyncError,
    LeaseHeld,
    LeaseLost,
    NameRefused,
    ProofMissing,
    RestoreFailed,
    ServerUnreachable,
    ToolFailed,
    TransformationFailed,
)
from env_sync.domain.finding import Level
from env_sync.domain.sync import Action
from env_sync.engines.base.contract import DumpHead, Holder
from env_sync.engines.mongo import orphaned_operations
from env_sync.engines.mongo import sanitise as sanitising
from env_sync.engines.mongo.bson_stream import BATCH
from env_sync.engines.mongo.engine import MongoEngine
from env_sync.engines.mongo.names import CATALOGUE, STAMP
from env_sync.engines.mongo.session import Session
from sandbox.mongodb import MongoDBServer
from tests.integration.conformance.mongo.rich import fill_rich
from tests.integration.conformance.subject import PRIVATE
from tests.integration.mongo.stage import SECRET, Stage

REDACT = "- {update: people, updates: [{q: {}, u: {$unset: {email: 1}}, multi: true}]}\n"


class KilledError(BaseException):
    """Stands for the end of a process."""


def folder(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def fill(stage: Stage, *names: str, first: int = 0) -> None:
    with stage.server.connected() as client:
        for name in names:
            client[stage.database][name].insert_many({"_id": first + n, "email": PRIVATE} for n in range(3))


def test_the_shell_scripts_dump_is_restored(stage: Stage) -> None:
    metadata = (
        b'{"options":{},"indexes":[{"v":1,"key":{"_id":1},"name":"_id_"},{"v":1,"key":{"a":1},"name":"a_1"}]}'
    )
    content = folder(
        {
            f"{stage.database}/people.bson": b"".join(bson.encode({"_id": n, "a": n}) for n in range(5)),
            f"{stage.database}/people.metadata.json": metadata,
            f"{stage.database}/empty.bson": b"",
        }
    )
    engine = stage.engine()
    stage.sanitise(engine, stage.dump_of(content))
    stage.promote(engine)
    assert stage.names() == {"people", "empty"}
    assert stage.find("people") == [0, 1, 2, 3, 4]
    with stage.server.connected() as client:
        assert set(client[stage.database].people.index_information()) == {"_id_", "a_1"}


def test_options_and_indexes_are_those_of_the_dump(stage: Stage) -> None:
    """As they are staged: the server of these tests loses options when it renames."""
    with stage.server.connected() as client:
        fill_rich(client[stage.database])
        wanted = described(client[stage.database])
    dump, _ = stage.dump()
    engine = stage.engine()
    assert stage.sanitise(engine, dump) == ()
    with stage.server.connected() as client:
        staged = client[stage.database]["env_sync.incoming.catalogue"].find()
        names = {
            bson.decode(each["definition"])["name"]: f"env_sync.incoming.{each['_id']}" for each in staged
        }
        found = described(client[stage.database])
    collections = {name: told for name, told in wanted.items() if told[0] != "view"}
    assert len(collections) > 15
    assert {name: found[names[name]] for name in collections} == collections


def described(database: Any) -> dict[str, Any]:
    """The kind, the options, and the indexes of each collection."""
    told = {}
    for each in database.list_collections():
        indexes = [] if each["type"] == "view" else list(database[each["name"]].list_indexes())
        told[each["name"]] = (each["type"], each["options"], sorted(indexes, key=str))
    return told


@pytest.mark.probe("reading the copies during a sync")
def test_raw_documents_are_never_in_lives_database(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(stage, "people")
    dump, facts = stage.dump()
    assert (facts.consistent, facts.read_from) == (True, "primary")
    seen: list[str] = []
    insert = Session.insert

    def watched(session: Session, database: str, collection: str, documents: Any) -> None:
        if PRIVATE.encode() in b"".join(bytes(each.raw) for each in documents):
            seen.append(database)
        insert(session, database, collection, documents)

    monkeypatch.setattr(Session, "insert", watched)
    engine = stage.engine(transformation=REDACT)
    stage.sanitise(engine, dump)
    stage.promote(engine)
    assert set(seen) == {f"{stage.database}__incoming"}
    assert stage.names(f"{stage.database}__incoming") == set()
    assert stage.find("people") == [0, 1, 2]


@pytest.mark.probe("a right that reaches the copies")
def test_whoever_could_read_incoming_stops_a_pull_that_sanitises(stage: Stage) -> None:
    fill(stage, "people")
    dump, _ = stage.dump()
    stage.server.create_user("nosy", SECRET, [{"role": "readAnyDatabase", "db": "admin"}])
    try:
        engine = stage.engine(transformation=REDACT)
        with engine.at_work(), pytest.raises(AccessRefused, match=r"nosy \(by role readAnyDatabase\)"):
            engine.restore(dump)
        assert stage.names(f"{stage.database}__incoming") == set()
        assert any(
            "nosy" in each.what for each in engine.preflight([stage.folder / "sanitise.yaml"], None).findings
        )
        # One that does not sanitise has nothing to hide from who may read live.
        engine = stage.engine()
        stage.sanitise(engine, dump)
    finally:
        with stage.server.connected() as client:
            client.admin.command("dropUser", "nosy")


@pytest.mark.probe("a right that reaches the copies")
def test_a_user_of_another_database_stops_it_as_well(stage: Stage) -> None:
    fill(stage, "people")
    dump, _ = stage.dump()
    with stage.server.connected() as client:
        # The server of these tests does not tell of the users of all databases, so it is asked for live's.
        looks = {"resource": {"db": stage.database, "collection": ""}, "actions": ["viewUser"]}
        client.admin.command("createRole", f"sees_{stage.database}", privileges=[looks], roles=[])
        client[stage.database].command(
            "createUser", "app", pwd=SECRET, roles=[{"role": "readWriteAnyDatabase", "db": "admin"}]
        )
    stage.server.grant(stage.user, [{"role": f"sees_{stage.database}", "db": "admin"}])
    engine = stage.engine(transformation=REDACT)
    with engine.at_work(), pytest.raises(AccessRefused, match=r"app \(by role readWriteAnyDatabase\)"):
        engine.restore(dump)
    assert stage.names(f"{stage.database}__incoming") == set()


@pytest.fixture
def watcher(stage: Stage) -> Iterator[str]:
    """A user who may read every change of every collection, as the exporters of monitoring do."""
    name = f"watcher_{stage.database}"
    stage.server.create_user(name, SECRET, [{"role": "read", "db": "local"}])
    yield name
    with stage.server.connected() as client:
        client.admin.command("dropUser", name)


@pytest.mark.probe("a right that reaches the copies")
def test_whoever_could_read_the_oplog_stops_it_unless_accepted_by_name(stage: Stage, watcher: str) -> None:
    fill(stage, "people")
    dump, _ = stage.dump()
    file = stage.folder / "sanitise.yaml"
    engine = stage.engine(transformation=REDACT)
    with (
        engine.at_work(),
        pytest.raises(AccessRefused, match=rf"{watcher} \(by role read\).*accepted_readers"),
    ):
        engine.restore(dump)
    assert stage.names(f"{stage.database}__incoming") == set()
    found = engine.preflight([file], None).findings
    assert [each.level for each in found if watcher in each.what] == [Level.PROBLEM]
    assert "root (by role root)" in engine.preflight([file], None).said
    engine.release_lease()
    extra = {**engine.work.connection.extra, "accepted_readers": [watcher]}
    engine = stage.engine(transformation=REDACT, connection=evolve(engine.work.connection, extra=extra))
    stage.sanitise(engine, dump)
    found = engine.preflight([file], None).findings
    assert [each.level for each in found if watcher in each.what] == [Level.NOTE]


@pytest.mark.probe("a right that reaches the copies")
def test_only_a_collection_that_the_dump_has_is_a_reason(stage: Stage) -> None:
    fill(stage, "people")
    dump, _ = stage.dump()
    name = f"one_{stage.database}"
    look = {"resource": {"db": "", "collection": name}, "actions": ["find"]}
    file = stage.folder / "sanitise.yaml"
    with stage.server.connected() as client:
        client.admin.command("createRole", name, privileges=[look], roles=[])
        stage.server.create_user(name, SECRET, [{"role": name, "db": "admin"}])
        try:
            engine = stage.engine(transformation=REDACT)
            stage.sanitise(engine, dump)
            assert not any(name in each.what for each in engine.preflight([file], None).findings)
            # A dump that brings it, which live has not yet.
            fill(stage, name)
            dump, _ = stage.dump()
            engine = stage.engine(transformation=REDACT)
            assert any(name in each.what for each in engine.preflight([file], None).findings)
            client[stage.database].drop_collection(name)
            with engine.at_work(), pytest.raises(AccessRefused, match=rf"{name} \(by role {name}\)"):
                engine.restore(dump)
            client.admin.command("dropUser", name)
            with engine.at_work():
                engine.restore(dump)
                stage.server.create_user(name, SECRET, [{"role": name, "db": "admin"}])
                with pytest.raises(AccessRefused, match="incoming was dropped"):
                    engine.sanitise([file])
        finally:
            client.admin.command("dropUser", name)
            client.admin.command("dropRole", name)


@pytest.mark.probe("what a transformation does not reach")
def test_new_collections_that_no_transformation_names(stage: Stage) -> None:
    fill(stage, "people")
    with stage.server.connected() as client:
        client[stage.database].command("create", "seen", viewOn="people", pipeline=[])
        dump, _ = stage.dump()
        engine = stage.engine(transformation=REDACT)
        stage.sanitise(engine, dump)
        stage.promote(engine)
        assert engine.work.changed_rows.take().warnings == ()
        fill(stage, "people_archive", "people_2025")
        client[stage.database].command("create", "seen_too", viewOn="people", pipeline=[])
        dump, _ = stage.dump()
        for name in ("people_archive", "people_2025", "seen_too"):
            client[stage.database].drop_collection(name)
        both = f"{REDACT}- {{delete: people_2025, deletes: [{{q: {{}}, limit: 0}}]}}\n"
        engine = stage.engine(transformation=both)
        stage.sanitise(engine, dump)
        [warning] = engine.work.changed_rows.take().warnings
        assert warning.startswith("collection people_archive is new, and no transformation names it")
        # Of a live that no pull filled, as an application made it, nobody can tell what is new.
        client.drop_database(stage.database)
        client[stage.database].people.create_index("email")
    engine = stage.engine(transformation=REDACT)
    stage.sanitise(engine, dump)
    assert engine.work.changed_rows.take().warnings == ()


@pytest.mark.probe("what a transformation does not reach")
def test_an_aggregate_that_finds_nothing_is_a_warning(stage: Stage) -> None:
    fill(stage, "people")
    dump, _ = stage.dump()
    some = "{$match: {email: {$ne: gone}}}, {$match: {_id: {$gt: 0}}}"
    ends = "{$set: {email: gone}}, {$merge: {into: people, on: _id}}"
    engine = stage.engine(
        transformation=f"""\
- {{aggregate: people, pipeline: [{some}, {ends}]}}
- {{aggregate: people, pipeline: [{ends}]}}
- {{aggregate: people, pipeline: [{{$match: {{renamed: 1}}}}, {ends}]}}
"""
    )
    stage.sanitise(engine, dump)
    told = engine.work.changed_rows.take()
    assert [each.rows for each in told.statements] == [2, 3, 0]
    [warning] = told.warnings
    assert warning.startswith("sanitise.yaml:3 aggregate people changed no row")


@pytest.mark.probe("a right that is given during a pull")
def test_somebody_who_is_let_in_meanwhile(stage: Stage) -> None:
    fill(stage, "people")
    dump, _ = stage.dump()
    engine = stage.engine(transformation=REDACT)
    name = f"nosy_{stage.database}"
    with engine.at_work():
        engine.restore(dump)
    stage.server.create_user(name, SECRET, [{"role": "read", "db": f"{stage.database}__incoming"}])
    try:
        with engine.at_work(), pytest.raises(AccessRefused, match=f"{name} .*incoming was dropped"):
            engine.sanitise([stage.folder / "sanitise.yaml"])
    finally:
        with stage.server.connected() as client:
            client.admin.command("dropUser", name)
    assert stage.names(f"{stage.database}__incoming") == set()
    with pytest.raises(ProofMissing):
        stage.promote(engine)


@pytest.mark.probe("raw values in logs and profiles")
def test_a_profiler_that_would_keep_documents_stops_it(stage: Stage) -> None:
    fill(stage, "people")
    dump, _ = stage.dump()
    engine = stage.engine(transformation=REDACT)
    incoming = f"{stage.database}__incoming"
    with stage.server.connected() as client:
        client[incoming].command("profile", 2)
        try:
            with engine.at_work(), pytest.raises(AccessRefused, match=r"the profiler .* is on \(level 2\)"):
                engine.restore(dump)
            found = engine.preflight([stage.folder / "sanitise.yaml"], None).findings
            assert any("the profiler" in each.what and each.level is Level.PROBLEM for each in found)
        finally:
            client[incoming].command("profile", 0)


@pytest.mark.probe("raw values in logs and profiles")
def test_no_image_of_what_was_before_is_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    images = '{"changeStreamPreAndPostImages": {"enabled": true}}'
    dump = stage.dump_of(
        folder(
            {
                f"{stage.database}/people.bson": bson.encode({"_id": 0, "email": PRIVATE}),
                f"{stage.database}/people.metadata.json": f'{{"options": {images}, "indexes": []}}'.encode(),
            }
        )
    )
    made: dict[str, bool] = {}
    write = Session.write

    def watched(session: Session, database: str, command: Mapping[str, Any]) -> dict[str, Any]:
        if "create" in command:
            made[database] = "changeStreamPreAndPostImages" in command
        return write(session, database, command)

    monkeypatch.setattr(Session, "write", watched)
    stage.sanitise(stage.engine(transformation=REDACT), dump)
    # Beside live, where only what is sanitised comes, it is as in the dump.
    assert made == {f"{stage.database}__incoming": False, stage.database: True}


@pytest.mark.probe("a right that reaches the copies")
def test_a_server_that_does_not_tell_is_a_warning_or_stops_it(stage: Stage) -> None:
    """Nobody looked: that is no reason to believe that nobody could read it."""
    fill(stage, "people")
    dump, _ = stage.dump()
    incoming = f"{stage.database}__incoming"
    with stage.server.connected() as client:
        hidden = [{"role": f"looks_{stage.database}", "db": "admin"}, {"role": "dbAdmin", "db": incoming}]
        client.admin.command("revokeRolesFromUser", stage.user, roles=hidden)
    file = stage.folder / "sanitise.yaml"
    said = rf"who else could read {incoming}.*whether the profiler of {incoming} is on"
    sync = evolve(stage.engine(transformation=REDACT).work.sync, must_sanitise=True)
    engine = stage.engine(sync=sync)
    with engine.at_work(), pytest.raises(AccessRefused, match=f"{said}.*accept_unseen_readers"):
        engine.restore(dump)
    assert stage.names(incoming) == set()
    found = [each for each in engine.preflight([file], None).findings if "does not tell" in each.what]
    assert [each.level for each in found] == [Level.PROBLEM] * 2
    extra = {**engine.work.connection.extra, "accept_unseen_readers": "true"}
    accepted = {"sync": sync, "connection": evolve(engine.work.connection, extra=extra)}
    for changed in (accepted, {"sync": evolve(sync, must_sanitise=False)}):
        stage.server.drop_database(incoming)
        engine = stage.engine(**changed)
        with engine.at_work():
            [warning] = engine.restore(dump)
        assert re.search(said, warning)
        found = [each for each in engine.preflight([file], None).findings if "does not tell" in each.what]
        assert [each.level for each in found] == [Level.NOTE] * 2
    # A recovery brings back what was live here: nobody sees more of it than he did, and nobody looks.
    stage.server.drop_database(incoming)
    engine = stage.engine(sync=evolve(sync, recovery=True))
    with engine.at_work():
        assert engine.restore(dump) == ()
    assert not any("does not tell" in each.what for each in engine.preflight([file], None).findings)


@pytest.fixture
def lease_database(stage: Stage) -> Iterator[str]:
    """A database for leases that nobody has made yet."""
    name = f"leases_{stage.database}"
    both = [{"role": role, "db": name} for role in ("readWrite", "dbAdmin")]
    stage.server.grant(stage.user, both)
    yield name
    stage.server.drop_database(name)


def with_leases_in(stage: Stage, name: str, **extra: Any) -> MongoEngine:
    """An engine that keeps its leases there, without one yet."""
    connection = stage.connection()
    connection = evolve(connection, extra={**connection.extra, "lease_database": name, **extra})
    return MongoEngine(evolve(stage.engine(Action.PUSH).work, connection=connection))


@pytest.mark.probe("leases that somebody else made or may change")
@pytest.mark.parametrize(
    ("collection", "options", "said"),
    [
        ("leases", {"viewOn": "mine", "pipeline": []}, "leases is a view"),
        ("leases", {"validator": {"rows": {"$size": 0}}}, "collection leases has the options validator"),
        ("leases", {"capped": True, "size": 4096}, "collection leases has the options capped, size"),
        ("promotions", {"viewOn": "mine", "pipeline": []}, "promotions is a view"),
        ("promotions", {"collation": {"locale": "en"}}, "collection promotions has the options collation"),
    ],
)
def test_leases_that_somebody_else_made(
    stage: Stage, lease_database: str, collection: str, options: dict[str, Any], said: str
) -> None:
    with stage.server.connected() as client:
        client[lease_database].command("create", collection, **options)
        engine = with_leases_in(stage, lease_database)
        with pytest.raises(NameRefused, match=f"{said}.*neither read nor written"):
            engine.take_lease(at_most=9)
        assert client[lease_database].list_collection_names() in (
            [collection],
            [collection, "system.views"],
            ["system.views", collection],
        )
    assert any(said in each.what for each in engine.preflight_server() if each.level is Level.PROBLEM)


@pytest.mark.probe("leases that somebody else made or may change")
@pytest.mark.parametrize("options", [{"unique": True}, {"expireAfterSeconds": 1}])
def test_an_index_that_somebody_gave_the_leases(
    stage: Stage, lease_database: str, options: dict[str, Any]
) -> None:
    engine = with_leases_in(stage, lease_database)
    engine.take_lease(at_most=9)
    assert engine.preflight_server() == ()
    with stage.server.connected() as client:
        client[lease_database].leases.create_index("rows", name="mine", **options)
    with pytest.raises(NameRefused, match="collection leases has the index mine"), engine.at_work():
        pytest.fail("A step went on.")
    with stage.server.connected() as client:
        client[lease_database].leases.drop_index("mine")
    with engine.at_work():
        engine.live_stamp()


@pytest.mark.probe("leases that somebody else made or may change")
def test_somebody_else_who_may_change_the_leases(stage: Stage, lease_database: str) -> None:
    name = f"writer_{stage.database}"
    stage.server.create_user(name, SECRET, [{"role": "readWrite", "db": lease_database}])
    try:
        engine = with_leases_in(stage, lease_database)
        with pytest.raises(AccessRefused, match=rf"{name} \(by role readWrite\).*accepted_lease_writers"):
            engine.take_lease(at_most=9)
        with stage.server.connected() as client:
            assert client[lease_database].list_collection_names() == []
        assert any(name in each.what for each in engine.preflight_server() if each.level is Level.PROBLEM)
        engine = with_leases_in(stage, lease_database, accepted_lease_writers=[name])
        engine.take_lease(at_most=9)
        assert engine.preflight_server() == ()
    finally:
        stage.server.drop_user(name)


@pytest.mark.probe("a copy that somebody else made")
def test_a_database_of_somebody_else_in_the_way(stage: Stage) -> None:
    fill(stage, "people")
    dump, _ = stage.dump()
    incoming = f"{stage.database}__incoming"
    with stage.server.connected() as client:
        client[incoming].precious.insert_one({"_id": 1})
        engine = stage.engine(transformation=REDACT)
        with engine.at_work(), pytest.raises(NameRefused, match="Env Sync did not make it"):
            engine.restore(dump)
        with engine.at_work():
            done = engine.clean_up()
        assert not done.incoming_dropped
        [note] = done.notes
        assert re.search(f"{incoming}.*not sanitised.*left alone", note)
        assert client[incoming].precious.count_documents({}) == 1
        found = engine.preflight([stage.folder / "sanitise.yaml"], None).findings
        assert any("did not make it" in each.what for each in found if each.level is Level.PROBLEM)


def test_an_incoming_that_lost_its_stamp(stage: Stage) -> None:
    """As one does of which the server dropped half when it stopped."""
    fill(stage, "people", "cases")
    dump, _ = stage.dump()
    incoming = f"{stage.database}__incoming"
    engine = stage.engine(transformation=REDACT)
    with stage.server.connected() as client:

        def raw(*taken: str) -> None:
            with engine.at_work():
                engine.restore(dump)
            for each in taken:
                client[incoming].drop_collection(each)

        raw(STAMP, "cases")
        with engine.at_work():
            assert engine.clean_up().notes == (f"dropped {incoming}",)
        assert stage.names(incoming) == set()
        raw(STAMP)
        # The next restore knows it as well.
        raw()
        # What the catalogue does not name may be somebody's.
        raw(STAMP)
        client[incoming].precious.insert_one({"_id": 1})
        with engine.at_work():
            done = engine.clean_up()
        assert not done.incoming_dropped
        assert "left alone" in done.notes[0]
        client[incoming].drop_collection("precious")
        for wrong in ({"definition": b"no"}, {"number": 1}):
            client[incoming][CATALOGUE].replace_one({"_id": 1}, wrong)
            with engine.at_work(), pytest.raises(NameRefused, match="not sanitised"):
                engine.restore(dump)
        client[incoming].drop_collection(CATALOGUE)
        with engine.at_work():
            assert "left alone" in engine.clean_up().notes[0]
        assert stage.names(incoming) == {"people", "cases"}


def test_a_server_that_lets_anybody_in_stops_it_unless_that_is_said_to_be_right(
    tmp_path: Path, stage: Stage
) -> None:
    fill(stage, "people")
    dump, _ = stage.dump()
    with MongoDBServer(tmp_path / "open", auth=False) as server:
        open_stage = evolve(stage, server=server)
        open_stage.set_up()
        engine = open_stage.engine(transformation=REDACT)
        with engine.at_work(), pytest.raises(AccessRefused, match="anybody without a login"):
            engine.restore(dump)
        assert open_stage.names(f"{stage.database}__incoming") == set()
        file = stage.folder / "sanitise.yaml"
        assert any("anybody without" in each.what for each in engine.preflight([file], None).findings)
        engine.release_lease()
        connection = engine.work.connection
        # As it stands in a connection that is a URI, or that was written in a form.
        told = evolve(connection, extra={**connection.extra, "open_to_anybody": "false"})
        engine = open_stage.engine(transformation=REDACT, connection=told)
        with engine.at_work(), pytest.raises(AccessRefused, match="anybody without a login"):
            engine.restore(dump)
        engine.release_lease()
        told = evolve(connection, extra={**connection.extra, "open_to_anybody": True})
        engine = open_stage.engine(transformation=REDACT, connection=told)
        [warning] = open_stage.sanitise(engine, dump)
        assert "could be read by anybody before it was sanitised" in warning
        open_stage.promote(engine)
        assert open_stage.find("people") == [0, 1, 2]


@pytest.mark.parametrize("kind", ["stage", "documentdb"])
def test_a_promotion_that_was_killed_is_brought_to_its_end(
    request: pytest.FixtureRequest, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage: Stage = request.getfixturevalue(kind)
    fill(stage, "a", "b", "c", first=10)
    dump, _ = stage.dump()
    with stage.server.connected() as client:
        client[stage.database].drop_collection("a")
    fill(stage, "b", "gone")
    engine = stage.engine()
    stage.sanitise(engine, dump)
    write = Session.write

    def killed(session: Session, database: str, command: Mapping[str, Any]) -> dict[str, Any]:
        # Right after the live collection was dropped, where it must be; else right before the second rename.
        if str(command.get("renameCollection", "")).endswith(".1"):
            raise KilledError
        return write(session, database, command)

    monkeypatch.setattr(Session, "write", killed)
    with pytest.raises(KilledError):
        stage.promote(engine)
    monkeypatch.setattr(Session, "write", write)
    assert stage.find("a") == [10, 11, 12]
    assert "gone" in stage.names()
    # Another run, which knows nothing of it.
    after = stage.engine(Action.PUSH)
    with after.at_work():
        notes = after.clean_up().notes
        assert after.made_live_by() == engine.work.holder
    assert any("brought to its end" in note for note in notes)
    assert stage.names() == {"a", "b", "c"}
    assert stage.find("b") == [10, 11, 12]


def test_a_collection_that_becomes_a_view_and_the_other_way_round(stage: Stage) -> None:
    fill(stage, "people", "was a view")
    with stage.server.connected() as client:
        client[stage.database].command("create", "was a collection", viewOn="people", pipeline=[])
    dump, _ = stage.dump()
    with stage.server.connected() as client:
        live = client[stage.database]
        live.drop_collection("was a collection")
        live["was a collection"].insert_one({"_id": 1})
        live.drop_collection("was a view")
        live.command("create", "was a view", viewOn="people", pipeline=[])
    engine = stage.engine()
    stage.sanitise(engine, dump)
    stage.promote(engine)
    with stage.server.connected() as client:
        kinds = {each["name"]: each["type"] for each in client[stage.database].list_collections()}
    assert kinds["was a view"] == "collection"
    assert kinds["was a collection"] == "view"


def test_documentdb_leaves_out_what_it_lacks_and_says_so(documentdb: Stage) -> None:
    with documentdb.server.connected() as client:
        fill_rich(client[documentdb.database])
    # Of a server that has everything, into one that has not.
    dump, facts = evolve(documentdb, proxy=None).dump()
    assert facts.consistent
    engine = documentdb.engine()
    warnings = "\n".join(documentdb.sanitise(engine, dump))
    documentdb.promote(engine)
    for left_out in (
        "view open cases",
        "option capped",
        "option collation",
        "option validator",
        "option timeseries",
    ):
        assert left_out in warnings
    for left_out in ("index hidden", "index wildcard", "index plane", "index collated"):
        assert left_out in warnings
    assert documentdb.proxy
    assert documentdb.proxy.refused == []
    assert documentdb.find("capped")
    _, facts = documentdb.dump()
    assert not facts.consistent
    assert documentdb.proxy.refused == []


def test_the_proxy_refuses_what_the_engine_does_for_mongodb(documentdb: Stage) -> None:
    """Else the test above would prove nothing."""
    fill(documentdb, "people")
    dump, _ = documentdb.dump()
    engine = documentdb.engine()
    as_mongodb = evolve(engine.work, sync=evolve(engine.work.sync, dbms="mongo"))
    connection = evolve(as_mongodb.connection, extra={**as_mongodb.connection.extra, "tls": True})
    engine = documentdb.engine(sync=as_mongodb.sync, connection=connection)
    with engine.at_work(), pytest.raises(RestoreFailed, match="303"):
        engine.restore(dump)
    assert documentdb.proxy
    assert "retryable writes are not supported" in documentdb.proxy.refused


def test_documentdb_is_refused_without_a_ca_bundle(documentdb: Stage) -> None:
    engine = documentdb.engine()
    for extra, says in (({}, "tls_ca_file"), ({"tls_ca_file": "/nowhere.pem"}, "not on this worker")):
        connection = evolve(engine.work.connection, extra=extra)
        with pytest.raises(AccessRefused, match=says):
            documentdb.engine(connection=connection)


def test_a_dump_asks_for_no_more_at_once_than_it_writes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reader holds what came at once several times over, so that is what its memory depends on."""
    with stage.server.connected() as client:
        client[stage.database].pages.insert_many({"_id": n, "text": "x" * 4000} for n in range(2500))
    sizes: list[int] = []
    cursor = Session.cursor

    def watched(session: Session, database: str, command: Mapping[str, Any]) -> Iterator[Any]:
        for batch in cursor(session, database, command):
            if "find" in command:
                sizes.append(sum(len(each.raw) for each in batch))
            yield batch

    monkeypatch.setattr(Session, "cursor", watched)
    stage.dump()
    assert sum(sizes) > 2 * BATCH
    assert max(sizes) <= BATCH


def test_a_collection_that_is_dropped_while_it_is_dumped(
    documentdb: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(documentdb, "a", "b")
    command = Session.command

    def dropping(session: Session, database: str, sent: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        if sent.get("find") == "a":
            with documentdb.server.connected() as client:
                client[documentdb.database].drop_collection("b")
        return command(session, database, sent, **options)

    monkeypatch.setattr(Session, "command", dropping)
    with pytest.raises(ToolFailed, match=r"Collection b of .* was dropped or replaced"):
        documentdb.dump()
    assert not (documentdb.folder / "dump").exists()


def test_a_preflight_finds_what_would_stop_the_night(stage: Stage) -> None:
    fill(stage, "people")
    push = stage.engine(Action.PUSH, excluded_tables=("people", "pepole*"))
    assert push.preflight_server() == ()
    found = push.preflight([], None)
    assert found.live_size
    [finding] = found.findings
    assert "pepole*" in finding.what
    pull = stage.engine(transformation=REDACT.replace("people", "pepole"))
    assert pull.preflight_server() == ()
    file = stage.folder / "sanitise.yaml"
    findings = pull.preflight([file], DumpHead(key="k", first=b"PGDMP")).findings
    said = [finding.what for finding in findings]
    assert any("pg_dump" in what for what in said)
    assert any("pepole" in what for what in said)
    assert len(said) == 2
    file.write_text(REDACT)
    assert pull.preflight([file], DumpHead(key="k", first=b"\x6d\xe2\x99\x81")).findings == ()
    stage.server.drop_database(stage.database)
    assert any("nothing to push" in each.what for each in push.preflight([], None).findings)


def test_no_primary_is_an_error(stage: Stage) -> None:
    connection = evolve(stage.connection(), port=1, extra={"server_selection_timeout": 0.5})
    with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1:1: .*no primary"):
        stage.engine(connection=connection)


def test_a_lease_is_let_go_by_hand_as_the_page_says(stage: Stage) -> None:
    stage.engine()
    other = evolve(stage.engine().work, holder=Holder(run="another", group="group", attempt="1"))
    with pytest.raises(LeaseHeld):
        MongoEngine(other).take_lease(at_most=99)
    with stage.server.connected() as client:
        client.env_sync.leases.update_one(
            {"_id": "leases", "rows.database": stage.database},
            {"$set": {"rows.$.expires_at": "2000-01-01T00:00:00+00:00"}, "$inc": {"revision": 1}},
        )
    MongoEngine(other).take_lease(at_most=99)
    MongoEngine(other).release_lease()


def test_an_earlier_attempt_writes_nothing_more(stage: Stage) -> None:
    fill(stage, "people")
    dump, _ = stage.dump()
    earlier = stage.engine()
    later = stage.engine()
    with pytest.raises(LeaseLost), earlier.at_work():
        earlier.restore(dump)
    stage.sanitise(later, dump)


@pytest.mark.probe("settings that a transformation, live or a role changes")
@pytest.mark.parametrize(
    "last", ["$merge: {into: {db: other, coll: people}}", "$out: {db: other, coll: people}", "$out: people"]
)
def test_a_transformation_that_reaches_out_of_the_copy_is_refused(stage: Stage, last: str) -> None:
    fill(stage, "people")
    dump, _ = stage.dump()
    engine = stage.engine(transformation=f"- aggregate: people\n  pipeline:\n  - $match: {{}}\n  - {last}\n")
    with pytest.raises(TransformationFailed, match=r"sanitise\.yaml, line 1\b.*of this database"):
        stage.sanitise(engine, dump)
    with engine.at_work():
        engine.clean_up()
    assert stage.names("other") == set()


# Each document looks at all others, for each of which all are looked at: the server needs days.
ENDLESS = """
- aggregate: people
  pipeline:
    - $lookup: {from: people, as: x, pipeline: [{$lookup: {from: people, as: y, pipeline: []}}]}
    - $set: {email: "", x: "", y: ""}
    - $merge: {into: people, on: _id, whenMatched: replace}
"""


@pytest.fixture
def own_stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage on a server of its own, which may be left with more work than it can do."""
    with MongoDBServer(tmp_path / "server") as server:
        stage = Stage(server=server, database="router", folder=tmp_path)
        stage.set_up()
        # MongoDB asks for no right to end one's own; this server does.
        ends = {"resource": {"cluster": True}, "actions": ["inprog", "killop"]}
        with server.connected() as client:
            client.admin.command("createRole", "ends", privileges=[ends], roles=[])
            server.grant(stage.user, ["ends"])
            client.router.people.insert_many({"_id": number, "email": PRIVATE} for number in range(3000))
        yield stage
        server.kill()


def running(stage: Stage, command: str) -> list[Any]:
    """The operations of this command that the server works on."""
    with stage.server.connected() as client:
        found = client.admin.command({"currentOp": 1})["inprog"]
    return [each for each in found if command in each.get("command", {})]


def wait_until(happened: Callable[[], object]) -> None:
    while not happened():
        time.sleep(0.05)


@pytest.mark.probe("a transformation that breaks out")
def test_a_transformation_without_an_end_is_cancelled_and_ended_by_whoever_comes_next(
    own_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The documents that it is for are counted by an aggregate as well, which ends.
    monkeypatch.setattr(sanitising, "_finds", lambda *_: 1)
    stage = own_stage
    dump, _ = stage.dump()
    engine = stage.engine(transformation=ENDLESS)
    caught: list[EnvSyncError] = []

    def sanitise() -> None:
        try:
            stage.sanitise(engine, dump)
        except EnvSyncError as error:
            caught.append(error)

    thread = threading.Thread(target=sanitise)
    thread.start()
    wait_until(lambda: running(stage, "aggregate") or caught)
    engine.work.cancellation.cancel()
    thread.join()
    assert [type(error) for error in caught] == [Cancelled]
    assert stage.names("router__incoming") == set()
    assert stage.find("people") == list(range(3000))

    # The server of these tests only takes note of the commands that end an operation.
    left = {each["opid"] for each in running(stage, "aggregate")}
    lookup = {"from": "people", "as": "x", "pipeline": []}
    pipeline: list[dict[str, Any]] = [{"$lookup": lookup}, {"$match": {"x._id": -1}}]

    def somebody_else() -> None:
        with contextlib.suppress(PyMongoError), stage.server.connected() as client:
            client.router.people.aggregate(pipeline)

    threading.Thread(target=somebody_else, daemon=True).start()
    wait_until(lambda: len(running(stage, "aggregate")) > len(left))
    ended: list[Any] = []
    command = Session.command

    def noted(session: Session, database: str, sent: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        if "killOp" in sent:
            ended.append(sent["op"])
        return command(session, database, sent, **options)

    monkeypatch.setattr(Session, "command", noted)
    monkeypatch.setattr(orphaned_operations, "WAIT", 0)
    with stage.engine().at_work():
        pass
    assert left
    assert len(running(stage, "aggregate")) > len(left)
    assert set(ended) == left


@pytest.mark.skipif(
    not (shutil.which("mongodump") and shutil.which("mongorestore")),
    reason="mongodump and mongorestore are not on PATH: install the MongoDB Database Tools",
)
def test_the_official_tools_read_and_write_the_same(stage: Stage, tmp_path: Path) -> None:
    fill(stage, "people")
    dump, _ = stage.dump()
    uri = f"mongodb://{stage.server.host}:{stage.server.port}/?authSource=admin&directConnection=true"
    login = [f"--uri={uri}", "--username=root", f"--password={stage.server.password}"]
    with stage.server.connected() as client:
        client.drop_database(stage.database)
    subprocess.run(
        ["mongorestore", *login, "--gzip", f"--archive={dump.file}"], check=True, capture_output=True
    )
    assert stage.find("people") == [0, 1, 2]
    made = tmp_path / "official"
    options = [f"--db={stage.database}", "--gzip", f"--archive={made}"]
    subprocess.run(["mongodump", *login, *options], check=True, capture_output=True)
    assert gzip.decompress(made.read_bytes())
    engine = stage.engine()
    stage.sanitise(engine, stage.dump_of(made.read_bytes()))
    stage.promote(engine)
    assert stage.find("people") == [0, 1, 2]
