"""Incoming that nobody reads, and the swap that makes it live."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from attrs import evolve

from env_sync.core.errors import LeaseHeld, ProofMissing, TransformationFailed
from env_sync.domain.settings import Options
from env_sync.domain.sync import CopyWay
from env_sync.engines.base.contract import CopyState, Waiting
from env_sync.engines.elasticsearch import dropping, promotion, scroll
from env_sync.engines.elasticsearch.metadata import Incoming, read_record, write_record
from env_sync.engines.elasticsearch.session import Cluster
from env_sync.engines.elasticsearch.swap import Swap, plan_swap
from tests.integration.elasticsearch.stage import (
    Stage,
    count,
    index_documents,
    indices,
    request,
    results_of_tasks,
)

PATTERNS = ("*", "_all", "p*", "*pages*", "env-sync*", ".*", ".e*", "env*,pages", "*,-nothing")
SECRET = "somebody@example.org"


@pytest.fixture(params=["7", "8"])
def either(request: pytest.FixtureRequest) -> Stage:
    """A stage of one version."""
    stage: Stage = request.getfixturevalue(f"stage{request.param}")
    return stage


def hits_of_secret(stage: Stage, pattern: str) -> int:
    answer = request(stage.target, "GET", f"/{pattern}/_search?ignore_unavailable=true&q=mail:%22{SECRET}%22")
    return int(answer["hits"]["total"]["value"])


def add_alias(stage: Stage, index: str) -> None:
    action = {"add": {"index": index, "alias": "pages"}}
    assert request(stage.source, "POST", "/_aliases", {"actions": [action]})["acknowledged"]


@pytest.mark.parametrize("way", [CopyWay.REPOSITORY, CopyWay.SCROLL])
@pytest.mark.probe("reading the copies during a sync")
def test_no_pattern_of_an_application_finds_incoming(either: Stage, way: CopyWay) -> None:
    index_documents(either.source, "pages", 3, mail=SECRET)
    engine = either.engine(copy_way=way)
    either.fill(engine)
    assert [pattern for pattern in PATTERNS if hits_of_secret(either, pattern)] == []
    [incoming] = indices(either.target)
    assert hits_of_secret(either, incoming) == 3  # it is there: the search above could have found it
    aliases = request(either.target, "GET", f"/{incoming}/_alias?expand_wildcards=all")
    assert aliases == {incoming: {"aliases": {}}}
    either.sanitise(engine)
    assert [pattern for pattern in PATTERNS if hits_of_secret(either, pattern)] == []


def test_a_write_makes_no_incoming_anew(either: Stage) -> None:
    """A process that was thought dead may still write when its incoming was dropped."""
    index_documents(either.source, "pages", 3)
    engine = either.engine()
    either.fill(engine)
    [incoming] = indices(either.target)
    with engine.at_work():
        assert engine.clean_up().incoming_dropped
    answer = request(either.target, "PUT", f"/{incoming}/_doc/1", {"mail": SECRET})
    assert "error" in answer
    assert indices(either.target) == set()


def test_what_was_live_goes_and_the_next_copy_replaces_it(either: Stage) -> None:
    index_documents(either.source, "pages-1", 3)
    request(
        either.source, "POST", "/_aliases", {"actions": [{"add": {"index": "pages-1", "alias": "pages"}}]}
    )
    index_documents(either.target, "pages", 1)
    index_documents(either.target, "own", 1)
    options = Options(keep_previous=False)
    promotion = either.bring(options=options)
    assert (promotion.first, promotion.previous_kept) == (False, False)
    assert (count(either.target, "pages"), count(either.target, "pages-1")) == (3, 3)
    request(either.source, "DELETE", "/pages-1")
    index_documents(either.source, "pages-2", 4)
    request(
        either.source, "POST", "/_aliases", {"actions": [{"add": {"index": "pages-2", "alias": "pages"}}]}
    )
    either.bring(options=options)
    assert (count(either.target, "pages"), count(either.target, "pages-1")) == (4, 0)
    assert len(indices(either.target)) == 2
    assert count(either.target, "own") == 1


def test_previous_is_kept_hidden_and_goes_with_the_next(either: Stage) -> None:
    index_documents(either.source, "pages", 3)
    either.bring()
    [first] = indices(either.target)
    index_documents(either.source, "pages", 4)
    assert either.bring().previous_kept
    assert first in indices(either.target)
    assert (count(either.target, "*"), count(either.target, "pages")) == (4, 4)
    either.bring()
    assert first not in indices(either.target)
    assert len(indices(either.target)) == 2


def test_an_index_with_another_name_as_well_stays(stage8: Stage) -> None:
    index_documents(stage8.source, "pages", 3)
    index_documents(stage8.target, "mine", 1)
    actions = [{"add": {"index": "mine", "alias": alias}} for alias in ("pages", "own")]
    request(stage8.target, "POST", "/_aliases", {"actions": actions})
    promotion = stage8.bring()
    assert "also called own" in promotion.warnings[0]
    assert (count(stage8.target, "pages"), count(stage8.target, "own")) == (3, 1)


@pytest.mark.parametrize("turn", range(2))
def test_the_race_with_a_client_that_writes_all_the_time(either: Stage, turn: int) -> None:
    """It makes the index anew, wherever it is not, and reads it: it must never see it empty or in part."""
    index_documents(either.source, "pages", 200)
    index_documents(either.target, "pages", 200)
    engine = either.engine(options=Options(keep_previous=False))
    either.fill(engine)
    either.sanitise(engine)
    stop, seen, errors = threading.Event(), [], []

    def client() -> None:
        with either.target.client() as elastic:
            # A search that is under way while its index is removed is refused; it is no answer.
            patient = elastic.options(ignore_status=[400, 404, 503])
            while not stop.is_set():
                try:
                    patient.index(index="pages", id="written", document={"x": 1})
                    answer = patient.count(index="pages")
                    seen.append(answer.get("count"))
                    if turn:
                        # An application that makes its index anew by itself.
                        patient.indices.delete(index="pages")
                except Exception as problem:  # noqa: BLE001 - told below
                    errors.append(problem)

    thread = threading.Thread(target=client)
    thread.start()
    try:
        while not seen:
            time.sleep(0.01)
        either.promote(engine)
    finally:
        stop.set()
        thread.join()
    assert errors == []
    [(name, found)] = request(either.target, "GET", "/pages").items()
    assert name.startswith("env-sync-")
    assert "pages" in found["aliases"]
    request(either.target, "POST", "/pages/_refresh")
    assert count(either.target, "pages") in (200, 201)
    if not turn:
        assert min(each for each in seen if each is not None) >= 200


def test_a_swap_that_was_planned_too_early_is_planned_again(
    either: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the request an application makes the index."""
    index_documents(either.source, "pages", 3)
    engine = either.engine()
    either.fill(engine)
    either.sanitise(engine)
    turns: list[Swap] = []

    def meanwhile(*arguments: Any, **named: Any) -> Swap:
        planned = plan_swap(*arguments, **named)
        turns.append(planned)
        if len(turns) == 1:
            index_documents(either.target, "pages", 1)
        return planned

    monkeypatch.setattr(promotion, "plan_swap", meanwhile)
    either.promote(engine)
    assert len(turns) == 2
    assert count(either.target, "pages") == 3


def test_a_reader_has_an_answer_all_the_time(either: Stage) -> None:
    """Of all documents, old or new, where live is what an earlier copy brought."""
    index_documents(either.source, "pages", 50)
    options = Options(keep_previous=False)
    either.bring(options=options)
    index_documents(either.source, "pages", 60)
    engine = either.engine(options=options)
    either.fill(engine)
    either.sanitise(engine)
    stop, seen, errors = threading.Event(), set(), []

    def client() -> None:
        with either.target.client() as elastic:
            while not stop.is_set():
                try:
                    seen.add(elastic.count(index="pages")["count"])
                except Exception as problem:  # noqa: BLE001 - told below
                    errors.append(problem)

    thread = threading.Thread(target=client)
    thread.start()
    try:
        while not seen:
            time.sleep(0.01)
        either.promote(engine)
        while 60 not in seen:
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join()
    assert (seen, errors) == ({50, 60}, [])
    assert len(indices(either.target)) == 1


class TestProof:
    def test_an_index_that_took_the_place_of_the_sanitised_one(self, stage8: Stage) -> None:
        index_documents(stage8.source, "pages", 3)
        engine = stage8.engine()
        stage8.fill(engine)
        stage8.sanitise(engine)
        [incoming] = indices(stage8.target)
        request(stage8.target, "DELETE", f"/{incoming}")
        request(stage8.target, "PUT", f"/{incoming}", {"settings": {"index.hidden": True}})
        with pytest.raises(ProofMissing, match="is not the index that was sanitised"):
            stage8.promote(engine)

    def test_a_document_that_came_after_the_proof(self, stage8: Stage) -> None:
        index_documents(stage8.source, "pages", 3)
        engine = stage8.engine()
        stage8.fill(engine)
        stage8.sanitise(engine)
        [incoming] = indices(stage8.target)
        request(stage8.target, "PUT", f"/{incoming}/_doc/raw?refresh=true", {"mail": SECRET})
        with pytest.raises(ProofMissing, match="another number of documents"):
            stage8.promote(engine)


class TestSanitise:
    UPDATE = """\
- update_by_query: "pe*"
  query: {exists: {field: mail}}
  script: {lang: set_field, source: mail, params: {value: "gone@example.org"}}
- delete_by_query: drafts
  query: {match_all: {}}
"""

    def test_by_query(self, stage7: Stage) -> None:
        index_documents(stage7.source, "people", 20, mail=SECRET)
        index_documents(stage7.source, "drafts", 5, mail=SECRET)
        stage7.bring(transformation=self.UPDATE)
        assert (count(stage7.target, "people"), count(stage7.target, "drafts")) == (20, 0)
        assert hits_of_secret(stage7, "*") == 0
        assert results_of_tasks(stage7.target) == 0
        answer = request(stage7.target, "GET", "/people/_count?q=mail:gone")
        assert answer["count"] == 20

    def test_a_cluster_without_the_api_fails_closed(self, stage8: Stage) -> None:
        index_documents(stage8.source, "people", 2, mail=SECRET)
        index_documents(stage8.source, "drafts", 1)
        engine = stage8.engine(transformation=self.UPDATE)
        stage8.fill(engine)
        with pytest.raises(TransformationFailed, match="reindex module is not installed"):
            stage8.sanitise(engine)
        assert indices(stage8.target) == set()

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("- delete_by_query: nowhere\n  query: {match_all: {}}\n", "no index of this name"),
            (
                "- update_by_query: people\n  query: {match_all: {}}\n  script: {lang: unknown, source: x}\n",
                r"line 1 \(update_by_query people\) failed on people",
            ),
            ("- delete_by_query: people\n  query: {nonsense: {}}\n", "failed on people: parsing_exception"),
        ],
    )
    def test_a_statement_that_fails(self, stage7: Stage, text: str, said: str) -> None:
        index_documents(stage7.source, "people", 2, mail=SECRET)
        index_documents(stage7.target, "people", 1)
        engine = stage7.engine(transformation=text)
        stage7.fill(engine)
        with pytest.raises(TransformationFailed, match=said) as failed:
            stage7.sanitise(engine)
        assert SECRET not in str(failed.value)
        assert results_of_tasks(stage7.target) == 0
        assert indices(stage7.target) == {"people"}
        with pytest.raises(ProofMissing):
            stage7.promote(engine)


class TestKills:
    @pytest.mark.parametrize("state", [CopyState.RESTORING, CopyState.RAW, CopyState.SANITISING])
    def test_a_new_attempt_begins_anew(self, stage8: Stage, state: CopyState) -> None:
        index_documents(stage8.source, "pages", 3)
        killed = stage8.engine()
        stage8.fill(killed)
        with killed.at_work():
            cluster = killed._target
            incoming = read_record(cluster, Incoming, "search")
            assert incoming is not None
            write_record(cluster, "search", evolve(incoming, stamp=evolve(incoming.stamp, state=state)))
        stage8.bring()
        assert count(stage8.target, "pages") == 3
        assert len(indices(stage8.target)) == 1

    def test_what_lost_its_record_goes(self, stage8: Stage) -> None:
        """Under a token that was written down before; another index that is called so is somebody else's."""
        index_documents(stage8.source, "pages", 3)
        stage8.bring()
        live = indices(stage8.target)
        stage8.fill(stage8.engine())
        [left] = indices(stage8.target) - live
        request(stage8.target, "DELETE", "/.env-sync/_doc/incoming-search?refresh=true")
        assert stage8.fill(stage8.engine()).warnings == ()
        assert left not in indices(stage8.target)
        assert (len(indices(stage8.target)), count(stage8.target, "pages")) == (2, 3)

    def test_the_same_attempt_goes_on(self, stage8: Stage) -> None:
        index_documents(stage8.source, "pages", 3)
        engine = stage8.engine(copy_way=CopyWay.REPOSITORY)
        with engine.at_work():
            assert isinstance(engine.copy(), Waiting)
        again = stage8.engine(copy_way=CopyWay.REPOSITORY, holder=engine.work.holder)
        assert stage8.fill(again).documents == 3
        assert stage8.fill(again).documents == 3

    def test_a_scroll_that_was_killed_begins_under_other_names(
        self, stage8: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever thought dead still writes to the old ones writes nowhere."""
        index_documents(stage8.source, "pages", 3)
        engine = stage8.engine(copy_way=CopyWay.SCROLL)

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(scroll, "scroll_index", killed)
            patched.setattr(dropping, "drop_after_failure", lambda _: None)
            with pytest.raises(KeyboardInterrupt), engine.at_work():
                engine.copy()
        [left] = indices(stage8.target)
        assert stage8.fill(engine).documents == 3
        assert left not in indices(stage8.target)
        assert "error" in request(stage8.target, "PUT", f"/{left}/_doc/1", {"mail": SECRET})

    def test_after_the_swap(self, stage8: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        index_documents(stage8.source, "pages", 3)
        index_documents(stage8.target, "pages", 1)
        engine = stage8.engine()
        stage8.fill(engine)
        stage8.sanitise(engine)
        stage8.promote_and_die(engine, monkeypatch)
        assert count(stage8.target, "pages") == 3
        again = stage8.engine(holder=engine.work.holder)
        with again.at_work():
            assert again.made_live_by() == engine.work.holder
            clean_up = again.clean_up()
        assert "brought to its end" in clean_up.notes[0]
        assert not clean_up.incoming_dropped
        assert not stage8.promote(again).first
        assert count(stage8.target, "*") == 3

    @pytest.mark.parametrize("keep", [True, False])
    def test_before_what_was_live_is_removed(
        self, stage8: Stage, monkeypatch: pytest.MonkeyPatch, keep: bool
    ) -> None:
        options = Options(keep_previous=keep)
        index_documents(stage8.source, "pages", 3)
        stage8.bring(options=options)
        [first] = indices(stage8.target)
        engine = stage8.engine(options=options)
        stage8.fill(engine)
        stage8.sanitise(engine)

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(promotion, "remove_record", killed)
            patched.setattr(Cluster, "find_and_delete", killed)
            with pytest.raises(KeyboardInterrupt):
                stage8.promote(engine)
        assert first in indices(stage8.target)
        again = stage8.engine(holder=engine.work.holder, options=options)
        with again.at_work():
            again.clean_up()
        assert (first in indices(stage8.target)) is keep
        assert count(stage8.target, "*") == 3


class TestLease:
    def test_two_at_the_same_instant(self, either: Stage) -> None:
        holders = [evolve(either.engine(take=False).work.holder, run=str(number)) for number in range(4)]
        outcomes: list[object] = []

        def take(number: int) -> None:
            try:
                either.engine(take=False, holder=holders[number]).take_lease(at_most=9)
                outcomes.append("taken")
            except LeaseHeld as held:
                outcomes.append(type(held).__name__)

        threads = [threading.Thread(target=take, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(str, outcomes)) == ["LeaseHeld"] * 3 + ["taken"]
