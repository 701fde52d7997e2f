"""What goes wrong has a message of its own, and changes nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import evolve

from env_sync.core.errors import (
    AccessRefused,
    EnvSyncError,
    NoRoom,
    NoSuchDatabase,
    NoSuchRepository,
    NothingToRestore,
    RepositoryUnreadable,
    RestoreFailed,
    ServerRefused,
    ServerUnreachable,
    SnapshotFailed,
    WriteBlocked,
)
from env_sync.core.secret import Secret
from env_sync.domain.settings import Options
from env_sync.domain.sync import Action, CopyWay
from env_sync.engines.base.contract import Holder, ServerConnection, Waiting
from env_sync.engines.elasticsearch import copying, snapshot_taking
from env_sync.engines.elasticsearch.contents import store_contents
from env_sync.engines.elasticsearch.engine import ElasticsearchEngine
from env_sync.engines.elasticsearch.metadata import Incoming, Taking, read_record, write_record
from env_sync.engines.elasticsearch.session import Cluster
from env_sync.engines.elasticsearch.snapshot_taking import plan_snapshot
from env_sync.engines.elasticsearch.snapshots import Owner, begin_snapshot
from env_sync.pipeline.polling import ask
from sandbox import process
from sandbox.faulty_proxy import Busy, Fault, FaultyProxy, Pass
from tests.integration.elasticsearch.stage import (
    Stage,
    count,
    index_documents,
    indices,
    request,
    until_done,
)
from tests.integration.elasticsearch.stub import answering

OPENSEARCH = {
    "name": "node",
    "version": {"distribution": "opensearch", "number": "2.19.1"},
    "tagline": "The OpenSearch Project: https://opensearch.org/",
}


def elastic(number: str) -> dict[str, Any]:
    return {"version": {"number": number}, "tagline": "You Know, for Search"}


def engine_at(stage: Stage, port: int, **fields: Any) -> ElasticsearchEngine:
    connection = evolve(
        stage.connection(stage.target), port=port, login="sync", password=Secret("hidden word")
    )
    return stage.engine(take=False, work={"connection": connection}, **fields)


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (200, OPENSEARCH, ServerRefused, "is Opensearch, version 2.19.1, and not Elasticsearch"),
        (200, elastic("6.8.23"), ServerRefused, "is Elasticsearch 6.8.23; only 7.17 and 8"),
        (200, elastic("7.10.2"), ServerRefused, "is Elasticsearch 7.10.2; only 7.17 and 8"),
        (200, elastic("9.1.0"), ServerRefused, "is Elasticsearch 9.1.0; only 7.17 and 8"),
        (200, elastic("8.15.0"), ServerRefused, "and not Elasticsearch"),
        (200, "<html>hello</html>", ServerRefused, "does not say that it is Elasticsearch"),
        (401, {"error": {"type": "security_exception", "reason": "no"}}, AccessRefused, "Look at the login"),
        (403, {"error": {"type": "security_exception", "reason": "no"}}, AccessRefused, "privileges"),
        (503, "busy", ServerUnreachable, "HTTP status 503"),
    ],
)
def test_another_server(stage8: Stage, status: int, body: Any, error: type[EnvSyncError], said: str) -> None:
    with answering(status, body, elastic=body == elastic("9.1.0")) as port:
        engine = engine_at(stage8, port)
        for step in (lambda: engine.take_lease(at_most=9), engine.preflight_server):
            with pytest.raises(error, match=said) as raised:
                step()
            assert "hidden word" not in str(raised.value)


def test_a_source_that_is_no_elasticsearch(stage8: Stage) -> None:
    with answering(200, OPENSEARCH) as port:
        source = evolve(stage8.connection(stage8.source), port=port)
        engine = stage8.engine(work={"source": source})
        with pytest.raises(ServerRefused, match="is Opensearch"):
            until_done(engine, engine.copy)
        assert "is Opensearch" in str(engine.preflight((), None).findings)
    assert indices(stage8.target) == set()


def test_a_cluster_that_is_not_there(stage8: Stage) -> None:
    with pytest.raises(ServerUnreachable, match="cannot be reached"):
        engine_at(stage8, process.free_port()).take_lease(at_most=9)


class TestRepository:
    def test_not_registered(self, stage8: Stage) -> None:
        index_documents(stage8.source, "pages", 1)
        for server in (stage8.source, stage8.target):
            request(server, "DELETE", f"/_snapshot/{stage8.repository}")
        push, pull = stage8.engine(Action.PUSH), stage8.engine(Action.PULL)
        with pytest.raises(NoSuchRepository, match="is not registered there"):
            until_done(push, push.snapshot)
        with pytest.raises(NoSuchRepository, match="is not registered there"):
            stage8.fill(pull)
        for engine in (push, pull):
            assert "not registered" in str(engine.preflight((), None).findings)

    def test_read_only_where_it_is_written(self, stage8: Stage) -> None:
        index_documents(stage8.source, "pages", 1)
        stage8.source.register_repository(stage8.repository, readonly=True)
        engine = stage8.engine(Action.PUSH)
        with pytest.raises(SnapshotFailed, match="one cluster may write"):
            until_done(engine, engine.snapshot)
        assert "is read-only on" in str(engine.preflight((), None).findings)

    def test_at_another_place(self, stage8: Stage) -> None:
        """It is acknowledged all the same."""
        index_documents(stage8.source, "pages", 1)
        stage8.push()
        stage8.target.register_repository(stage8.repository, "elsewhere", readonly=True)
        with pytest.raises(NothingToRestore, match="no whole snapshot of search-1"):
            stage8.fill(stage8.engine(Action.PULL))
        with pytest.raises(SnapshotFailed, match="does not see it"):
            stage8.fill(stage8.engine(copy_way=CopyWay.REPOSITORY))
        assert indices(stage8.target) == set()

    def test_at_another_place_with_a_snapshot_of_the_same_name(
        self, stage8: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index_documents(stage8.source, "pages", 1)
        stage8.source.register_repository("elsewhere")
        stage8.target.register_repository(stage8.repository, "elsewhere", readonly=True)

        def twice(cluster: Cluster, repository: str, name: str, names: list[str], owner: Owner) -> None:
            begin_snapshot(cluster, "elsewhere", name, names, evolve(owner, token="another"))
            begin_snapshot(cluster, repository, name, names, owner)

        monkeypatch.setattr(copying, "begin_snapshot", twice)
        with pytest.raises(SnapshotFailed, match="is not the same repository there"):
            stage8.fill(stage8.engine(copy_way=CopyWay.REPOSITORY))
        assert indices(stage8.target) == set()

    def test_unreadable(self, stage8: Stage) -> None:
        index_documents(stage8.source, "pages", 1)
        stage8.push()
        folder = stage8.target.repositories / stage8.repository
        for file in folder.glob("index-*"):
            file.write_text("no repository")
        with pytest.raises(RepositoryUnreadable, match="cannot read the snapshot repository"):
            stage8.fill(stage8.engine(Action.PULL))

    @pytest.mark.parametrize("which", ["the index", "the record of what it holds"])
    def test_a_shard_that_cannot_be_read(self, stage8: Stage, which: str) -> None:
        index_documents(stage8.source, "pages", 5000)
        index_documents(stage8.target, "pages", 1)
        stage8.push()
        folder = stage8.target.repositories / stage8.repository
        by_size = sorted(
            folder.glob("indices/*"), key=lambda each: sum(f.stat().st_size for f in each.rglob("*"))
        )
        damaged = by_size[-1 if which == "the index" else 0]
        for file in damaged.glob("0/snap-*.dat"):
            file.unlink()
        said = "could not be restored: the cluster gave up" if which == "the index" else "cannot be read"
        with pytest.raises(RestoreFailed, match=said):
            stage8.fill(stage8.engine(Action.PULL, indices=("pages",)))
        assert (indices(stage8.target), count(stage8.target, "pages")) == ({"pages"}, 1)


def snapshots(stage: Stage) -> list[str]:
    """The names of all that the repository holds, in order."""
    found = request(stage.source, "GET", f"/_snapshot/{stage.repository}/_all")["snapshots"]
    return sorted(each["snapshot"] for each in found)


class TestSnapshots:
    @pytest.fixture
    def one_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The clock of the clusters stands still."""
        now = dt.datetime.now(dt.UTC)
        monkeypatch.setattr(Cluster, "now", lambda _: now)

    def test_a_running_one_is_joined(self, stage8: Stage) -> None:
        index_documents(stage8.source, "pages", 2000, text="x" * 200)
        # So slow that it is still at work when the other one looks.
        stage8.source.register_repository(stage8.repository, max_snapshot_bytes_per_sec="20kb")
        first = stage8.engine(Action.PUSH)
        with first.at_work():
            assert isinstance(first.snapshot(), Waiting)
        first.release_lease()
        second = stage8.engine(Action.PUSH)
        with second.at_work():
            waiting = second.snapshot()
        assert isinstance(waiting, Waiting)
        assert "is being taken" in waiting.what
        done = until_done(second, second.snapshot)
        names = request(stage8.source, "GET", f"/_snapshot/{stage8.repository}/_all")["snapshots"]
        assert [each["snapshot"] for each in names] == [done.dump_key]

    def test_two_of_one_second_are_two(self, stage8: Stage, one_second: None) -> None:
        """No attempt takes another's for its own, neither of pushes nor of copies."""
        ways: tuple[Callable[[], object], ...] = (stage8.push, stage8.push, stage8.bring, stage8.bring)
        for number, bring in enumerate(ways, start=1):
            index_documents(stage8.source, "pages", number)
            bring()
            assert len(snapshots(stage8)) == number
        assert count(stage8.target, "pages") == 4
        assert stage8.fill(stage8.engine(Action.PULL)).documents == 2

    @pytest.mark.parametrize("action", [Action.PUSH, Action.COPY])
    def test_an_attempt_that_was_killed_knows_its_own(
        self, stage8: Stage, one_second: None, action: Action
    ) -> None:
        """Also where it had to take another name, and was killed before it could write that down."""
        index_documents(stage8.source, "pages", 1)
        (stage8.push if action is Action.PUSH else stage8.bring)()
        index_documents(stage8.source, "pages", 2)
        engine = stage8.engine(action, copy_way=CopyWay.REPOSITORY)
        step: Any = engine.snapshot if action is Action.PUSH else engine.copy
        while len(snapshots(stage8)) < 2:
            with engine.at_work():
                assert isinstance(step(), Waiting)
        with engine.at_work():
            kind: Any = Taking if action is Action.PUSH else Incoming
            record: Any = read_record(engine._target, kind, "search")
            write_record(engine._target, "search", evolve(record, snapshot=snapshots(stage8)[0]))
        done = until_done(engine, step)
        assert snapshots(stage8)[1:] == [done.dump_key]
        if action is Action.COPY:
            assert done.documents == 2

    def test_a_record_of_another_push_is_not_believed(
        self, stage8: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two names of one cluster are two leases, and both pushes write their record into one index."""
        index_documents(stage8.source, "pages", 1)

        def meanwhile(cluster: Cluster, *arguments: Any) -> None:
            taking = read_record(cluster, Taking, "search")
            assert taking is not None
            store_contents(cluster, taking.contents, "another")
            begin_snapshot(cluster, *arguments)

        with monkeypatch.context() as patched:
            patched.setattr(snapshot_taking, "begin_snapshot", meanwhile)
            stage8.push()
        with pytest.raises(RestoreFailed, match="written for another snapshot"):
            stage8.fill(stage8.engine(Action.PULL))
        assert indices(stage8.target) == set()

    def test_those_that_are_not_kept_go_and_no_others(self, stage8: Stage) -> None:
        index_documents(stage8.source, "pages", 1)
        own = f"/_snapshot/{stage8.repository}/2026-01-01t000000z-search-1?wait_for_completion=true"
        request(stage8.source, "PUT", own, {"indices": "pages"})
        keys: list[str] = []
        while len(set(keys)) < 3:
            keys.append(stage8.push(options=Options(snapshots_kept=2)).dump_key)
        found = request(stage8.source, "GET", f"/_snapshot/{stage8.repository}/_all")["snapshots"]
        kept = [each["snapshot"] for each in found]
        assert sorted(kept) == sorted(["2026-01-01t000000z-search-1", *sorted(set(keys))[-2:]])

    def test_one_without_a_record_of_env_sync(self, stage8: Stage) -> None:
        index_documents(stage8.source, "pages", 3)
        name = "2026-11-22t01:02:03-search-1"
        path = f"/_snapshot/{stage8.repository}/{name}?wait_for_completion=true"
        request(stage8.source, "PUT", path, {"indices": "pages"})
        filled = stage8.fill(stage8.engine(Action.PULL))
        assert (filled.dump_key, filled.documents) == (name, 3)
        assert "does not say what it holds" in filled.warnings[0]


def test_writes_while_a_snapshot_is_taken_are_no_loss(stage8: Stage) -> None:
    """What the source saw after it was counted explains a difference; more than that does not."""
    index_documents(stage8.source, "pages", 10)
    engine = stage8.engine(Action.PUSH)
    with engine.at_work():
        taking = plan_snapshot(engine.work, engine._target)
        index_documents(stage8.source, "more", 1)
        request(stage8.source, "PUT", "/pages/_doc/late?refresh=true", {"late": True})
        assert taking.contents.indices[0].documents == 10
    until_done(engine, engine.snapshot)
    assert stage8.fill(stage8.engine(Action.PULL, indices=("pages",))).documents == 11


def test_documents_that_are_missing_are_told(stage8: Stage) -> None:
    index_documents(stage8.source, "pages", 10)
    engine = stage8.engine(copy_way=CopyWay.REPOSITORY)
    with engine.at_work():
        engine.copy()
        incoming = read_record(engine._target, Incoming, "search")
        assert incoming is not None
        held = tuple(evolve(each, documents=11) for each in incoming.contents.indices)
        contents = evolve(incoming.contents, indices=held)
        write_record(engine._target, "search", evolve(incoming, contents=contents))
    with pytest.raises(RestoreFailed, match="has 10 documents here and 11 on the source"):
        until_done(engine, engine.copy)
    assert indices(stage8.target) == set()


class TestBlocks:
    @pytest.fixture
    def settings(self, stage8: Stage) -> Iterator[Any]:
        def put(**values: object) -> None:
            request(stage8.target, "PUT", "/_cluster/settings", {"persistent": values})

        changed: list[str] = []

        def change(**values: object) -> None:
            named = {name.replace("__", "."): value for name, value in values.items()}
            changed.extend(named)
            put(**named)

        yield change
        put(**dict.fromkeys(changed))

    def test_a_read_only_cluster(self, stage8: Stage, settings: Any) -> None:
        index_documents(stage8.source, "pages", 1)
        settings(cluster__blocks__read_only=True)
        with pytest.raises(WriteBlocked, match="read-only"):
            stage8.engine()
        assert "is read-only" in str(stage8.engine(take=False).preflight_server())

    def test_a_disk_above_its_flood_stage(self, stage8: Stage) -> None:
        """The cluster then sets this block itself."""
        stage8.engine().release_lease()
        block = {"index.blocks.read_only_allow_delete": True}
        request(stage8.target, "PUT", "/.env-sync/_settings", block)
        with pytest.raises(NoRoom, match="flood-stage watermark"):
            stage8.engine()


def test_nothing_to_copy(stage8: Stage) -> None:
    engine = stage8.engine()
    with pytest.raises(NoSuchDatabase, match="has no index that search is about"):
        stage8.fill(engine)
    assert "has no index" in str(engine.preflight((), None).findings)


def test_answers_of_503_while_waiting_are_no_verdict(stage8: Stage) -> None:
    index_documents(stage8.source, "pages", 5)
    holder = Holder(run="run", group="group", attempt="attempt")

    def choose(number: int) -> Fault:
        return Busy() if number % 3 else Pass()

    with FaultyProxy(stage8.target.port, choose) as proxy:
        connection: ServerConnection = evolve(stage8.connection(stage8.target), port=proxy.port)
        stage8.engine(holder=holder).release_lease()
        stage8.engine(holder=holder)
        engine = stage8.engine(take=False, holder=holder, work={"connection": connection})

        def look() -> Any:
            with engine.at_work():
                return engine.copy()

        done: Any = Waiting("")
        while isinstance(done, Waiting):
            done = ask(look, begun=True)
        assert proxy.counts["Busy"] > 0
    assert done.documents == 5
