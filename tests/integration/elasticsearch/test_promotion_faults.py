"""What may go wrong around the swap: live is never lost, nothing else is touched, the next step goes on."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from env_sync.core.errors import AccessRefused, ContentRefused, DumpTooSmall, PromoteFailed, ServerUnreachable
from env_sync.domain.settings import Options
from env_sync.domain.sync import Action, CopyWay
from env_sync.engines.base.contract import Holder
from env_sync.engines.elasticsearch import engine as engine_module
from env_sync.engines.elasticsearch import restore
from env_sync.engines.elasticsearch.engine import ElasticsearchEngine
from env_sync.engines.elasticsearch.restore import begin_restore
from env_sync.engines.elasticsearch.session import Cluster
from tests.integration.elasticsearch.stage import Stage, count, index_documents, indices, request

AT_ONCE = Options(promote_wait=dt.timedelta(0))


def ready(stage: Stage, **fields: Any) -> ElasticsearchEngine:
    """An engine whose incoming was sanitised."""
    engine = stage.engine(**fields)
    stage.fill(engine)
    stage.sanitise(engine)
    return engine


def killed_after_the_swap(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, **fields: Any
) -> ElasticsearchEngine:
    engine = ready(stage, **fields)
    stage.promote_and_die(engine, monkeypatch)
    return engine


def clean_up(stage: Stage, engine: ElasticsearchEngine) -> tuple[str, ...]:
    """What the report does."""
    again = stage.engine(holder=engine.work.holder, options=engine.work.sync.options)
    with again.at_work():
        notes = again.clean_up().notes
        assert again.made_live_by() == engine.work.holder
    return notes


def give_alias(stage: Stage, index: str, *aliases: str, source: bool = False) -> None:
    actions = [{"add": {"index": index, "alias": alias}} for alias in aliases]
    server = stage.source if source else stage.target
    assert request(server, "POST", "/_aliases", {"actions": actions})["acknowledged"]


def live_record(stage: Stage) -> Any:
    return request(stage.target, "GET", "/.env-sync/_doc/live-search")["_source"]["record"]


class TestKilledAfterTheSwap:
    def test_live_is_not_dropped_though_others_changed_its_aliases(
        self, stage8: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index_documents(stage8.source, "pages", 3)
        engine = killed_after_the_swap(stage8, monkeypatch)
        index_documents(stage8.target, "extra", 1)
        give_alias(stage8, "extra", "pages")
        assert "brought to its end" in clean_up(stage8, engine)[0]
        assert count(stage8.target, "pages") == 4

    def test_nor_by_the_next_night(self, stage8: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        index_documents(stage8.source, "pages", 3)
        killed_after_the_swap(stage8, monkeypatch).release_lease()
        [live] = indices(stage8.target)
        index_documents(stage8.target, "extra", 1)
        give_alias(stage8, "extra", "pages", "own")
        engine = stage8.engine(holder=Holder(run="next", group="group", attempt="next"))
        stage8.fill(engine)
        assert count(stage8.target, "pages") == 4
        stage8.sanitise(engine)
        stage8.promote(engine)
        assert live_record(stage8)["previous"] == [live]

    def test_nor_where_the_cluster_did_it_late(self, stage8: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """After the step that cleans up had looked for it."""
        index_documents(stage8.source, "pages", 3)
        engine = killed_after_the_swap(stage8, monkeypatch)
        again = stage8.engine(holder=engine.work.holder)
        with monkeypatch.context() as patched:
            patched.setattr(engine_module, "finish_promotion", lambda *_: None)
            at_work = again.at_work()
            at_work.__enter__()
        done = again.clean_up()
        at_work.__exit__(None, None, None)
        assert (done.incoming_dropped, count(stage8.target, "pages")) == (False, 3)

    @pytest.mark.parametrize("keep", [True, False])
    def test_the_first_promote_forgets_nothing_that_was_live(
        self, stage8: Stage, monkeypatch: pytest.MonkeyPatch, keep: bool
    ) -> None:
        index_documents(stage8.source, "pages", 3)
        index_documents(stage8.target, "pages-old", 1)
        give_alias(stage8, "pages-old", "pages")
        engine = killed_after_the_swap(stage8, monkeypatch, options=Options(keep_previous=keep))
        clean_up(stage8, engine)
        assert count(stage8.target, "*") == 3
        assert ("pages-old" in indices(stage8.target)) is keep
        assert live_record(stage8)["previous"] == (["pages-old"] if keep else [])


class TestTemplates:
    PATTERN = {"index_patterns": ["pages*"], "priority": 7}

    def test_one_that_is_refused_leaves_live_as_it_is(self, stage8: Stage) -> None:
        """The source has renamed it: two of the same patterns and priority cannot be."""
        index_documents(stage8.source, "pages", 3)
        index_documents(stage8.target, "pages", 1)
        request(stage8.source, "PUT", "/_index_template/pages-v2", self.PATTERN)
        request(stage8.target, "PUT", "/_index_template/pages-v1", self.PATTERN)
        engine = ready(stage8)
        said = r"index template pages-v2.* cannot be written.*patterns and the priority of pages-v1"
        with pytest.raises(ContentRefused, match=said):
            stage8.promote(engine)
        assert count(stage8.target, "*") == 1
        request(stage8.target, "DELETE", "/_index_template/pages-v1")
        stage8.promote(engine)
        assert count(stage8.target, "*") == 3

    def test_it_does_not_keep_a_swap_from_its_end(
        self, stage8: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index_documents(stage8.source, "pages", 3)
        request(stage8.source, "PUT", "/_index_template/pages-v2", self.PATTERN)
        engine = killed_after_the_swap(stage8, monkeypatch)
        request(stage8.target, "DELETE", "/_index_template/pages-v2")
        request(stage8.target, "PUT", "/_index_template/pages-v1", self.PATTERN)
        notes = clean_up(stage8, engine)
        assert "pages-v1" in notes[-1]


class TestOthers:
    def test_an_index_that_the_sync_is_not_about_stays_with_its_alias(self, stage8: Stage) -> None:
        index_documents(stage8.source, "pages", 3)
        give_alias(stage8, "pages", "everything", source=True)
        index_documents(stage8.target, "metrics-2026", 1)
        give_alias(stage8, "metrics-2026", "everything")
        fields: dict[str, Any] = {
            "excluded_indices": ("metrics-*",),
            "options": Options(keep_previous=False),
        }
        assert "metrics-2026 stays, for the sync is not about it" in stage8.bring(**fields).warnings[0]
        stage8.bring(**fields)
        assert (count(stage8.target, "everything"), count(stage8.target, "metrics-2026")) == (4, 1)
        assert count(stage8.target, "*") == 4

    def test_two_syncs_share_an_alias(self, stage8: Stage) -> None:
        for index, documents in (("pages", 3), ("people", 5)):
            index_documents(stage8.source, index, documents)
            give_alias(stage8, index, "everything", source=True)
        for index in ("pages", "people", "pages"):
            stage8.bring(name=f"copy_{index}", indices=(index,))
        assert (count(stage8.target, "everything"), count(stage8.target, "*")) == (8, 8)

    def test_an_alias_that_was_given_here_to_what_was_live_is_told(self, stage8: Stage) -> None:
        index_documents(stage8.source, "pages", 3)
        give_alias(stage8, "pages", "both", source=True)
        stage8.bring()
        [live] = indices(stage8.target)
        give_alias(stage8, live, "mine")
        request(stage8.source, "DELETE", "/pages/_alias/both")
        [warning] = stage8.bring().warnings
        assert "pages was also called mine here" in warning


class TestAnswers:
    """What the cluster answers to the request that moves the aliases."""

    def answer(self, monkeypatch: pytest.MonkeyPatch, problem: Exception, *, done: bool, later: bool) -> None:
        """Have it fail; `later`: whatever is asked afterwards fails as well."""
        ask, failed = Cluster.ask, []

        def faulty(cluster: Cluster, method: str, path: str, *rest: Any, **named: Any) -> Any:
            if path == "/_aliases":
                if done:
                    ask(cluster, method, path, *rest, **named)
                failed.append(path)
                raise problem
            if failed and later and path != "/.env-sync/_doc/leases":
                raise problem
            return ask(cluster, method, path, *rest, **named)

        monkeypatch.setattr(Cluster, "ask", faulty)

    def test_a_lost_one_to_what_was_done(self, stage8: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        index_documents(stage8.source, "pages", 3)
        engine = ready(stage8, options=AT_ONCE)
        with monkeypatch.context() as patched:
            self.answer(patched, ServerUnreachable("no answer in time."), done=True, later=False)
            assert stage8.promote(engine).first
        assert count(stage8.target, "*") == 3

    def test_a_lost_one_and_no_more(self, stage8: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        index_documents(stage8.source, "pages", 3)
        engine = ready(stage8, options=AT_ONCE)
        with monkeypatch.context() as patched:
            self.answer(patched, ServerUnreachable("no answer in time."), done=True, later=True)
            with pytest.raises(PromoteFailed, match="it is not known whether they were"):
                stage8.promote(engine)
        assert count(stage8.target, "*") == 3
        assert "brought to its end" in clean_up(stage8, engine)[0]

    def test_a_refusal(self, stage8: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        index_documents(stage8.source, "pages", 3)
        index_documents(stage8.target, "pages", 1)
        engine = ready(stage8, options=AT_ONCE)
        with monkeypatch.context() as patched:
            self.answer(patched, AccessRefused("no."), done=False, later=False)
            with pytest.raises(PromoteFailed, match="Live is as it was"):
                stage8.promote(engine)
        assert count(stage8.target, "*") == 1


@pytest.mark.parametrize(("action", "done"), [(Action.PULL, False), (Action.COPY, True)])
def test_a_restore_whose_answer_was_lost(
    stage8: Stage, monkeypatch: pytest.MonkeyPatch, action: Action, done: bool
) -> None:
    index_documents(stage8.source, "pages", 3)
    if action is Action.PULL:
        stage8.push()
    engine = stage8.engine(action, copy_way=CopyWay.REPOSITORY)

    def lost(*arguments: Any) -> None:
        if done:
            begin_restore(*arguments)
        raise ServerUnreachable("no answer in time.")

    with monkeypatch.context() as patched:
        patched.setattr(restore, "begin_restore", lost)
        with pytest.raises(ServerUnreachable):
            stage8.fill(engine)
    assert stage8.fill(engine).documents == 3


class TestFarFewerDocuments:
    def test_of_a_copy(self, stage8: Stage) -> None:
        """The application above builds its index anew under another name."""
        index_documents(stage8.source, "pages-1", 10)
        give_alias(stage8, "pages-1", "pages", source=True)
        stage8.bring()
        live = indices(stage8.target)
        request(stage8.source, "DELETE", "/pages-1")
        index_documents(stage8.source, "pages-2", 4)
        give_alias(stage8, "pages-2", "pages", source=True)
        with pytest.raises(DumpTooSmall, match=r"pages has 4 documents, and live has 10.*min_size_ratio"):
            stage8.fill(stage8.engine())
        assert (indices(stage8.target), count(stage8.target, "pages")) == (live, 10)
        stage8.bring(options=Options(min_size_ratio=0.4))
        assert count(stage8.target, "pages") == 4

    def test_of_a_snapshot_that_was_asked_for(self, stage8: Stage) -> None:
        index_documents(stage8.source, "pages", 10)
        stage8.bring()
        request(stage8.source, "DELETE", "/pages")
        index_documents(stage8.source, "pages", 4)
        taken = stage8.push()
        with pytest.raises(DumpTooSmall, match=f"ask for {taken.dump_key} by its timestamp"):
            stage8.fill(stage8.engine(Action.PULL))
        filled = stage8.fill(stage8.engine(Action.PULL), taken.data_time.replace(microsecond=0))
        assert "restored because it was asked for" in filled.warnings[0]


def test_an_undo_by_hand_as_the_docs_tell(stage8: Stage) -> None:
    index_documents(stage8.source, "pages", 3, word="even")
    alias = {"filter": {"term": {"word": "even"}}, "index": "pages", "alias": "even"}
    request(stage8.source, "POST", "/_aliases", {"actions": [{"add": alias}]})
    stage8.bring()
    index_documents(stage8.source, "pages", 4)
    stage8.bring()
    assert (count(stage8.target, "pages"), count(stage8.target, "even")) == (4, 0)
    record = live_record(stage8)
    new = [each["index"] for each in record["indices"]]
    [old] = record["previous"]
    actions = [{"remove": {"index": index, "alias": "*"}} for index in new] + [
        {"add": {"index": index, "alias": name, **body}}
        for index, aliases in record["previous_aliases"].items()
        for name, body in aliases.items()
    ]
    request(stage8.target, "PUT", f"/{old}/_settings?expand_wildcards=all", {"index.hidden": False})
    assert request(stage8.target, "POST", "/_aliases", {"actions": actions})["acknowledged"]
    request(stage8.target, "PUT", f"/{','.join(new)}/_settings?expand_wildcards=all", {"index.hidden": True})
    assert [count(stage8.target, name) for name in ("pages", "even", "*")] == [3, 3, 3]
    stage8.bring()
    assert (count(stage8.target, "pages"), count(stage8.target, "*")) == (4, 4)
    stage8.bring()
    assert old not in indices(stage8.target)
    assert len(indices(stage8.target)) == 2
