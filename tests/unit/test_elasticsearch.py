"""The parts of the Elasticsearch engine that need no cluster."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from env_sync.core.errors import (
    ContentRefused,
    NameRefused,
    NoRoom,
    NothingToRestore,
    RestoreFailed,
    ServerRefused,
    SnapshotFailed,
    TransformationFailed,
)
from env_sync.core.serialization import from_plain, to_plain
from env_sync.domain.sync import CopyWay
from env_sync.engines.base.contract import CopyState, Holder, Stamp, Waiting
from env_sync.engines.elasticsearch.catalogue import Index, Templates, chosen
from env_sync.engines.elasticsearch.contents import Contents, Held, read_contents
from env_sync.engines.elasticsearch.copy_strategy import choose_way
from env_sync.engines.elasticsearch.count_check import by_alias, find_shrunken
from env_sync.engines.elasticsearch.errors import describe_api_error
from env_sync.engines.elasticsearch.incoming import look_at_health, open_by
from env_sync.engines.elasticsearch.metadata import Copied, Incoming, Live, Replaced, Taking
from env_sync.engines.elasticsearch.names import (
    LONGEST,
    copy_name,
    logical_name,
    new_token,
    snapshot_name,
    snapshot_name_after,
    snapshot_time,
)
from env_sync.engines.elasticsearch.snapshots import (
    Found,
    Kept,
    Owner,
    check_state,
    choose_snapshot,
    find_own,
    list_snapshots,
    no_longer_kept,
    owner_of,
)
from env_sync.engines.elasticsearch.swap import Scope, Swap, is_live, plan_swap, wanted_aliases
from env_sync.engines.elasticsearch.transformation import read_transformations
from env_sync.engines.elasticsearch.version import Version, check_direction
from tests.unit.values import moment

TOKEN = new_token()


def an_index(index: str, *aliases: str, **fields: Any) -> Index:
    values: dict[str, Any] = {
        "index": index,
        "name": logical_name(index),
        "uuid": f"uuid of {index}",
        "closed": False,
        "hidden": False,
        "aliases": {alias: {} for alias in aliases},
        "mappings": {},
        "settings": {},
    }
    return Index(**{**values, **fields})


def contents(*held: Held) -> Contents:
    return Contents(
        environment="staging",
        born_in="production",
        data_time=moment("2026-11-23 01:00"),
        indices=held,
        templates=Templates(of={}),
    )


def a_held(name: str, *, hidden: bool = False, **aliases: Any) -> Held:
    return Held(index=name, name=name, hidden=hidden, replicas=0, aliases=aliases, documents=1, changes=1)


class TestNames:
    def test_a_snapshot_is_named_as_before_and_read_again(self) -> None:
        name = snapshot_name("Search-1", moment("2026-11-23 01:02"))
        assert name == "2026-11-23t010200z-search-1"
        assert snapshot_time("search-1", name) == moment("2026-11-23 01:02")
        assert snapshot_time("Search-1", "2026-11-23t01:02:00-search-1") == moment("2026-11-23 01:02")

    def test_the_name_a_second_later(self) -> None:
        assert snapshot_name_after("2026-12-31t235959z-my-search-1") == "2027-01-01t000000z-my-search-1"

    @pytest.mark.parametrize(
        "name",
        [
            "2026-11-23t010200z-search-10",
            "2026-11-23t010200z-my-search-1",
            "search-1",
            "2026-99-23t010200z-search-1",
        ],
    )
    def test_another_hosts_is_none(self, name: str) -> None:
        assert snapshot_time("search-1", name) is None

    def test_a_host_that_cannot_be_in_a_name(self) -> None:
        with pytest.raises(NameRefused):
            snapshot_name("a,b", moment("2026-11-23 01:02"))

    def test_incoming_begins_with_no_dot_and_keeps_the_name(self) -> None:
        copy = copy_name(TOKEN, ".kibana")
        assert not copy.startswith(".")
        assert logical_name(copy) == ".kibana"
        assert logical_name("env-sync-pages") == "env-sync-pages"

    def test_a_name_that_is_too_long(self) -> None:
        assert len(copy_name(TOKEN, "x" * (LONGEST - 22))) == LONGEST
        with pytest.raises(NameRefused, match="at most 233"):
            copy_name(TOKEN, "x" * (LONGEST - 21))


class TestChosen:
    def test_what_is_left_alone_unless_named(self) -> None:
        found = [
            an_index("pages"),
            an_index(".security"),
            an_index("hidden", hidden=True),
            an_index("closed", closed=True),
            an_index(".env-sync", hidden=True),
            an_index(".ds-logs-1", hidden=True),
            an_index(copy_name(TOKEN, "live"), "live"),
            an_index(copy_name(TOKEN, "incoming"), hidden=True),
        ]

        def names(include: tuple[str, ...], *exclude: str) -> list[str]:
            return [each.name for each in chosen(found, include, exclude)]

        assert names(("*",)) == ["pages", "live"]
        assert names(("*", "hidden", "closed", ".security"), "pages") == [
            ".security",
            "hidden",
            "closed",
            "live",
        ]
        assert names((".env-sync", "incoming", ".ds-logs-1")) == []
        assert names(("p*", "l*"), "li*") == ["pages"]


class TestDirection:
    @pytest.mark.parametrize(
        ("source", "target"),
        [((7, 17), (7, 17)), ((7, 17), (8, 19)), ((8, 1), (8, 19)), ((7, 17, 9), (7, 17, 1))],
    )
    def test_can_be(self, source: tuple[int, ...], target: tuple[int, ...]) -> None:
        check_direction(Version(*source), Version(*target), "It")

    @pytest.mark.parametrize(("source", "target"), [((8, 0), (7, 17)), ((8, 19), (8, 1))])
    def test_cannot_be(self, source: tuple[int, ...], target: tuple[int, ...]) -> None:
        with pytest.raises(ServerRefused, match="an older cluster cannot take"):
            check_direction(Version(*source), Version(*target), "It")


PUSH = Owner(sync="push", environment="staging")


class TestSnapshots:
    def found(self, day: int, state: str = "SUCCESS", sync: str = "push", **fields: Any) -> Found:
        values: dict[str, Any] = {
            "name": f"2026-11-{day}t010000z-search",
            "state": state,
            "timestamp": moment(f"2026-11-{day} 01:00"),
            "started": 0,
            "version": None,
            "indices": (),
            "owner": Owner(sync=sync, environment="staging"),
        }
        return Found(**{**values, **fields})

    @pytest.mark.parametrize("state", ["PARTIAL", "FAILED", "INCOMPATIBLE", None])
    def test_only_a_whole_one_is_a_success(self, state: str | None) -> None:
        with pytest.raises(SnapshotFailed, match=state or "not there"):
            check_state("name", state, "repository")
        assert check_state("name", "SUCCESS", "repository")
        assert not check_state("name", "IN_PROGRESS", "repository")

    def test_the_newest_whole_one_is_chosen_with_a_word_on_newer_ones(self) -> None:
        found = [self.found(20), self.found(21), self.found(22, "PARTIAL")]
        snapshot, warnings = choose_snapshot(found, None, "search", "repository")
        assert snapshot.timestamp.day == 21
        assert "2026-11-22t010000z-search is newer, but PARTIAL" in warnings[0]

    def test_an_asked_one_that_is_not_whole_is_refused(self) -> None:
        found = [self.found(20), self.found(22, "PARTIAL")]
        with pytest.raises(SnapshotFailed):
            choose_snapshot(found, moment("2026-11-22 01:00"), "search", "repository")
        with pytest.raises(NothingToRestore, match="the newest are: 2026-11-20"):
            choose_snapshot(found[:1], moment("2026-11-22 01:00"), "search", "repository")
        with pytest.raises(NothingToRestore, match="no whole snapshot"):
            choose_snapshot(found[1:], None, "search", "repository")

    def test_what_is_kept(self) -> None:
        found = [
            self.found(18, "FAILED"),
            self.found(19, sync=""),
            self.found(20),
            self.found(21),
            self.found(22),
            self.found(23, "IN_PROGRESS"),
        ]
        now = moment("2026-11-23 02:00")

        def gone(count: int | None, days: int | None) -> list[int]:
            kept = Kept(count=count, age=dt.timedelta(days=days) if days else None)
            return [int(name[8:10]) for name in no_longer_kept(found, PUSH, kept, now)]

        assert gone(2, None) == [20]
        assert gone(None, 2) == [18, 20, 21]
        assert gone(1, 1) == [18, 20, 21]
        assert gone(9, 99) == []

    def test_nothing_of_the_same_sync_of_another_environment_goes(self) -> None:
        """Both copy from one cluster, and one may be restoring what the other would remove."""
        found = [
            self.found(20, owner=Owner(sync="push", environment="integration")),
            # As an earlier version wrote it.
            self.found(21, owner=Owner(sync="push")),
            self.found(22),
            self.found(23),
        ]
        kept = Kept(count=1, age=None)
        gone = no_longer_kept(found, PUSH, kept, moment("2026-11-23 02:00"))
        assert [int(name[8:10]) for name in gone] == [21, 22]

    @pytest.mark.parametrize("asked", [None, moment("2026-11-22 01:00")])
    def test_of_one_second_the_one_that_was_begun_last_is_chosen_and_said(
        self, asked: dt.datetime | None
    ) -> None:
        found = [
            self.found(22, name="2026-11-22t010000z-search", started=1),
            self.found(22, name="2026-11-22t01:00:00-search", started=2),
            self.found(22, "PARTIAL", name="2026-11-22t010000-search", started=3),
        ]
        snapshot, warnings = choose_snapshot(found, asked, "search", "repository")
        assert snapshot.name == "2026-11-22t01:00:00-search"
        assert "begun last of those with its timestamp, and not 2026-11-22t010000z-search" in warnings[-1]

    def test_they_are_listed_in_the_order_in_which_they_were_begun(self) -> None:
        names = ("2026-11-22t010000z-search", "2026-11-22t01:00:00-search", "2026-11-21t010000z-search")
        answer = [
            {"snapshot": name, "state": "SUCCESS", "indices": [], "start_time_in_millis": start}
            for name, start in zip(names, (7, 5, 9), strict=True)
        ]
        listed = list_snapshots(cast(Any, Answering({"snapshots": answer})), "repository", "search")
        assert [each.name for each in listed] == [names[2], names[1], names[0]]


class Answering:
    """A cluster that gives one answer to everything."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def ask(self, *_: object, **__: object) -> Any:
        return self.answer


class Repository:
    """A cluster with snapshots, by name: what their metadata says of Env Sync."""

    log = logging.getLogger("env_sync.test")

    def __init__(self, **metadata: dict[str, str]) -> None:
        self.metadata = {f"2026-11-23t0100{second}z-search": said for second, said in metadata.items()}

    def find(self, path: str) -> Any:
        name = path.rpartition("/")[2]
        if name not in self.metadata:
            return None
        return {"snapshots": [{"state": "SUCCESS", "metadata": {"env_sync": self.metadata[name]}}]}


class TestOwner:
    """A name tells seconds alone, so that two attempts may come to the same one."""

    OWN = Owner(token="a", sync="search", environment="staging", run="run", group="group")

    def find(self, **metadata: dict[str, str]) -> tuple[str, str | None]:
        cluster = cast(Any, Repository(**{name.removeprefix("_"): said for name, said in metadata.items()}))
        name, state = find_own(cluster, "repository", "2026-11-23t010000z-search", self.OWN)
        return name[15:17], state

    def test_none_is_there(self) -> None:
        assert self.find() == ("00", None)

    def test_its_own_is_known_again(self) -> None:
        own = {"token": "a", "sync": "search", "run": "run", "group": "group"}
        assert self.find(_00=own) == ("00", "SUCCESS")

    def test_of_others_the_next_free_second_is_taken(self) -> None:
        """Also of the same run and group, whose earlier attempt is another one."""
        other = {"token": "b", "sync": "search", "run": "run", "group": "group"}
        assert self.find(_00=other, _01={}) == ("02", None)
        assert self.find(_00=other, _01={"token": "a"}, _02=other) == ("01", "SUCCESS")

    def test_one_that_an_earlier_version_began(self) -> None:
        own = {"sync": "search", "run": "run", "group": "group"}
        assert self.find(_00=own) == ("00", "SUCCESS")
        assert self.find(_00={**own, "run": "another"}) == ("01", None)

    def test_a_long_name_has_no_more_in_it_than_there_is_room_for(self) -> None:
        holder = Holder(run="r" * 300, group="g" * 300, attempt="attempt")
        owner = owner_of(holder, "a", "search", "staging")
        assert (len(owner.run), len(owner.group)) == (200, 200)
        assert owner.took(Owner(sync="search", run="r" * 200, group="g" * 200))


class Explaining:
    """A cluster with one red index, of which it says why."""

    def __init__(self, decider: str, reason: str) -> None:
        self.explanation = {
            "unassigned_info": {"reason": reason},
            "node_allocation_decisions": [
                {"deciders": [{"decider": decider, "decision": "NO", "explanation": "no"}]}
            ],
        }

    def ask(self, method: str, path: str, body: object = None, **_: object) -> Any:
        index = copy_name(TOKEN, "pages")
        if path.startswith("/_cluster/health"):
            return {"indices": {index: {"status": "red"}}}
        if path.endswith("/_stats"):
            return {"indices": {}}
        if path.endswith("/_settings"):
            return {index: {"settings": {"index.number_of_shards": "1"}}}
        return self.explanation


class Written:
    """A cluster with one index to which somebody writes a document before each request."""

    def __init__(self) -> None:
        self.written = self.visible = 0

    def ask(self, method: str, path: str, body: object = None, **_: object) -> Any:
        self.written += 1
        if path.endswith("/_refresh"):
            self.visible = self.written
        if path.endswith("/_count"):
            return {"count": self.visible}
        if path.endswith("/_stats/docs"):
            copy = {"routing": {"primary": True}, "seq_no": {"max_seq_no": self.written - 1}}
            return {"indices": {"pages": {"shards": {"0": [copy]}}}}
        return {"index_templates": [], "component_templates": []} if path != "/_template" else {}


def test_no_change_is_counted_whose_document_is_not() -> None:
    """Else a snapshot of an index that is written to would have more documents than changes explain."""
    named: dict[str, Any] = {
        "environment": "staging",
        "born_in": "staging",
        "data_time": moment("2026-11-23 01:00"),
    }
    [held] = read_contents(cast(Any, Written()), [an_index("pages")], **named).indices
    assert held.documents is not None
    assert held.changes is not None
    assert held.changes <= held.documents


class TestHealth:
    COPIED = [Copied(index=copy_name(TOKEN, "pages"), name="pages")]

    def look(self, decider: str, reason: str) -> Any:
        return look_at_health(cast(Any, Explaining(decider, reason)), self.COPIED, TOKEN)

    def test_a_disk_above_its_watermark(self) -> None:
        with pytest.raises(NoRoom, match="no disk below its watermark"):
            self.look("disk_threshold", "NEW_INDEX_RESTORED")

    def test_a_shard_that_was_given_up(self) -> None:
        with pytest.raises(RestoreFailed, match="the cluster gave up"):
            self.look("restore_in_progress", "NEW_INDEX_RESTORED")

    def test_one_that_only_waits(self) -> None:
        assert self.look("throttling", "NEW_INDEX_RESTORED") == Waiting("1 of 1 indices are not green yet")


class TestWays:
    def test_the_best_that_is_free(self) -> None:
        assert choose_way(CopyWay.AUTO, {})[0] is CopyWay.REPOSITORY
        way, why = choose_way(CopyWay.AUTO, {CopyWay.REPOSITORY: "it is not registered"})
        assert way is CopyWay.REINDEX
        assert why == "by reindex from remote (not through the snapshot repository: it is not registered)"

    def test_a_way_that_is_asked_for_and_is_not_free(self) -> None:
        with pytest.raises(ContentRefused, match="by reindex from remote: no reindex"):
            choose_way(CopyWay.REINDEX, {CopyWay.REINDEX: "no reindex"})


class TestSwap:
    NEW = copy_name(TOKEN, "pages-2")
    WANTED = wanted_aliases(
        [Copied(index=NEW, name="pages-2")], contents(a_held("pages-2", pages={"is_write_index": True}))
    )

    def test_each_index_has_its_own_name_as_an_alias(self) -> None:
        assert self.WANTED == {
            "pages-2": {self.NEW: {}},
            "pages": {self.NEW: {"is_write_index": True}},
        }

    def test_a_hidden_one_stays_hidden(self) -> None:
        copied = [Copied(index=self.NEW, name="pages-2")]
        wanted = wanted_aliases(copied, contents(a_held("pages-2", hidden=True)))
        assert wanted == {"pages-2": {self.NEW: {"is_hidden": True}}}

    def test_what_an_alias_does_on_the_source_it_does_here(self) -> None:
        body = {
            "filter": {"term": {"locale": "en"}},
            "index_routing": "1",
            "search_routing": "1,2",
            "is_write_index": False,
            "is_hidden": True,
        }
        copied = [Copied(index=self.NEW, name="pages-2"), Copied(index="people-copy", name="people")]
        held = contents(
            a_held("pages-2", pages={**body, "of a newer version": 1}), a_held("people", pages={})
        )
        assert wanted_aliases(copied, held) == {
            "pages-2": {self.NEW: {}},
            "pages": {self.NEW: body, "people-copy": {}},
            "people": {"people-copy": {}},
        }

    def plan(self, *standing: Index, **scope: Any) -> Swap:
        values: dict[str, Any] = {"include": ("*",), "exclude": (), "names": ("pages-2",), **scope}
        return plan_swap(self.WANTED, [*standing, an_index(self.NEW)], Scope(**values))

    def test_all_is_done_by_one_request_that_makes_room_first(self) -> None:
        old = an_index(copy_name("0" * 12, "pages-1"), "pages", "pages-1")
        wanted = plan_swap(
            self.WANTED,
            [an_index(self.NEW), an_index("pages-2"), old],
            Scope(include=("*",), exclude=(), names=("pages-2",), before=(old.index,)),
        )
        assert wanted.actions == (
            {"remove_index": {"index": "pages-2"}},
            {"remove": {"index": old.index, "alias": "pages", "must_exist": False}},
            {"remove": {"index": old.index, "alias": "pages-1", "must_exist": False}},
            {"add": {"index": self.NEW, "alias": "pages-2"}},
            {"add": {"index": self.NEW, "alias": "pages", "is_write_index": True}},
        )

    def test_what_comes_after_an_index_that_is_removed_or_left_is_looked_at_too(self) -> None:
        others = [an_index("pages"), an_index("unrelated", "unrelated alias"), an_index("old", "pages")]
        swap = self.plan(*others)
        assert (swap.removed, [each.index for each in swap.retired]) == (("pages",), ["old"])

    def test_what_stands_in_the_way_is_removed_in_the_same_request(self) -> None:
        swap = self.plan(an_index("pages"), an_index("other"))
        assert swap.actions[0] == {"remove_index": {"index": "pages"}}
        assert [next(iter(action)) for action in swap.actions] == ["remove_index", "add", "add"]
        assert (swap.removed, swap.retired) == (("pages",), ())

    def test_what_was_live_loses_its_aliases_alone(self) -> None:
        """A search that was begun there can end."""
        old = an_index(copy_name("0" * 12, "pages-1"), "pages", "pages-1")
        gone = an_index(copy_name("0" * 12, "people"), "people")
        before = {old.index, gone.index}
        swap = self.plan(old, gone, before=before, given=("pages", "pages-1", "people"))
        assert swap.retired == tuple(
            Replaced(index=each.index, uuid=each.uuid, aliases=each.aliases) for each in (old, gone)
        )
        assert (swap.removed, swap.warnings) == ((), ())
        assert taken_from(swap) == {
            (old.index, "pages"),
            (old.index, "pages-1"),
            (gone.index, "people"),
        }

    def test_an_alias_that_was_added_here_to_what_was_live_is_told(self) -> None:
        old = an_index(copy_name("0" * 12, "pages-1"), "pages", "mine")
        swap = self.plan(old, before={old.index}, given=("pages",))
        assert "pages-1 was also called mine here" in swap.warnings[0]
        assert self.plan(old, before={old.index}, given=None).warnings == ()

    def test_one_that_goes_by_another_name_as_well_stays(self) -> None:
        swap = self.plan(an_index("mine", "pages", "own"))
        assert (swap.retired, swap.removed) == ((), ())
        assert taken_from(swap) == {("mine", "pages")}
        assert "mine stays, for it is also called own" in swap.warnings[0]

    def test_one_that_the_sync_is_not_about_stays_with_its_aliases(self) -> None:
        metrics = an_index("metrics-2026", "pages")
        for scope in ({"exclude": ("metrics-*",)}, {"include": ("pages*",)}):
            swap = self.plan(metrics, **scope)
            assert (swap.retired, swap.removed, taken_from(swap)) == ((), (), set())
            assert "whoever reads pages finds it beside what came" in swap.warnings[0]
        assert [each.index for each in self.plan(metrics).retired] == ["metrics-2026"]

    def test_the_name_of_an_index_of_the_source_is_taken_from_it(self) -> None:
        swap = self.plan(an_index("metrics-2026", "pages", "pages-2"), exclude=("metrics-*",))
        assert (swap.retired, taken_from(swap)) == ((), {("metrics-2026", "pages-2")})
        assert "it is no longer called pages-2" in swap.warnings[0]

    @pytest.mark.parametrize("apart", [{"hidden": True}, {"closed": True}])
    def test_one_that_stands_apart_is_replaced_only_by_its_name(self, apart: dict[str, bool]) -> None:
        standing = an_index("metrics", "pages", **apart)
        assert self.plan(standing).retired == ()
        assert [each.index for each in self.plan(standing, include=("metrics",)).retired] == ["metrics"]

    def test_warnings_name_all_aliases(self) -> None:
        live = an_index(copy_name("0" * 12, "pages-1"), "pages", "own", "mine")
        [warning] = self.plan(live, before={live.index}, given=("pages",)).warnings
        assert warning == (
            "pages-1 was also called mine, own here, which does not come from the source and went with what "
            "was live: give it to the new index if it is needed"
        )
        assert self.plan(an_index("index", "pages", "own", "mine")).warnings == (
            "index stays, for it is also called mine, own, which does not come from the source",
        )
        wanted: Any = {alias: {self.NEW: {}} for alias in ("a", "b", "c", "d", "e")}
        scope = Scope(include=("pages",), exclude=(), names=("c", "d"))
        [warning] = plan_swap(wanted, [an_index("metrics", "d", "c", "b", "a")], scope).warnings
        assert warning == (
            "metrics stays, for the sync is not about it; whoever reads a, b finds it beside what came from "
            "the source; it is no longer called c, d, as an index of the source is"
        )
        [warning] = plan_swap(wanted, [an_index("metrics", "c")], scope).warnings
        assert warning == (
            "metrics stays, for the sync is not about it; it is no longer called c, as an index of the "
            "source is"
        )

    @pytest.mark.parametrize("alias", [{"is_write_index": False}, {}, None])
    def test_one_index_is_written_where_the_other_is_only_read(self, alias: dict[str, Any] | None) -> None:
        swap = self.plan(an_index("metrics", aliases={"pages": alias}), exclude=("metrics",))
        assert (swap.removed, swap.retired, taken_from(swap)) == ((), (), set())

    def test_an_alias_that_nobody_writes_on_the_source_may_be_written_here(self) -> None:
        writes = an_index("metrics", aliases={"read": {"is_write_index": True}})
        wanted: Any = {"read": {self.NEW: {}}}
        scope = Scope(include=("pages",), exclude=(), names=())
        assert taken_from(plan_swap(wanted, [writes], scope)) == set()

    def test_one_that_the_sync_is_not_about_is_not_removed_for_an_alias(self) -> None:
        with pytest.raises(ContentRefused, match="pages is an alias on the source"):
            self.plan(an_index("pages"), include=("pages-*",))
        assert self.plan(an_index("pages-2"), include=("other",)).removed == ("pages-2",)

    def test_two_write_indices_of_one_alias(self) -> None:
        writes = an_index("metrics", aliases={"pages": {"is_write_index": True}})
        with pytest.raises(ContentRefused, match="another one here, metrics"):
            self.plan(writes, exclude=("metrics",))

    def test_when_it_is_done(self) -> None:
        """What others do with the aliases afterwards changes nothing of that; nor do aliases of theirs."""
        copied = [Copied(index=self.NEW, name="pages-2", uuid=f"uuid of {self.NEW}")]
        wanted: Any = {"pages": {self.NEW: {}}, "pages-2": {self.NEW: {}}}
        assert is_live(copied, [an_index(self.NEW, "pages", "pages-2"), an_index("x", "pages")], wanted)
        assert is_live(copied, [an_index(self.NEW, "pages")], wanted)
        assert not is_live(copied, [an_index(self.NEW), an_index("x", "pages")], wanted)
        assert not is_live(copied, [an_index(self.NEW, "peek"), an_index("x", "pages")], wanted)


class TestClosed:
    """What an index of incoming must not have, and what a promote that began gives it."""

    PIPELINES: ClassVar = {"index.default_pipeline": "dates", "index.final_pipeline": "_none"}

    def open_by(
        self, *aliases: str, shown: bool = False, hidden: bool = True, policy: str = "", **pipelines: str
    ) -> list[str]:
        named = {f"index.{name}": value for name, value in pipelines.items()}
        if policy:
            named["index.lifecycle.name"] = policy
        index = an_index("env-sync-0123456789ab-pages", *aliases, hidden=hidden, settings=named)
        copied = Copied(index=index.index, name="pages", pipelines=self.PIPELINES)
        return [*open_by(index, copied, shown=shown)]

    def test_one_that_is_as_it_is_made(self) -> None:
        assert self.open_by() == []
        assert self.open_by(default_pipeline="_none", final_pipeline="_none") == []

    def test_what_others_did_to_it(self) -> None:
        assert self.open_by("peek", "again", hidden=False, final_pipeline="leak") == [
            "it has the alias again, peek",
            "it is not hidden",
            "index.final_pipeline is leak",
        ]
        assert self.open_by(policy="rolling") == ["the policy rolling may give it another name"]

    def test_one_that_a_promote_began_to_show(self) -> None:
        assert self.open_by(default_pipeline="dates") == ["index.default_pipeline is dates"]
        assert self.open_by(shown=True, hidden=False, default_pipeline="dates") == []
        assert self.open_by("peek", shown=True, default_pipeline="leak") == [
            "it has the alias peek",
            "index.default_pipeline is leak",
        ]


def taken_from(swap: Swap) -> set[tuple[str, str]]:
    removals = [action["remove"] for action in swap.actions if "remove" in action]
    return {(removal["index"], removal["alias"]) for removal in removals}


class TestShrunken:
    OLD = by_alias(
        [
            Copied(index="a", name="pages-1", documents=10, brought=90),
            Copied(index="b", name="log", documents=10),
        ],
        {"pages": ["a"], "pages-1": ["a"], "log": ["b"]},
    )

    def find(self, pages: int, log: int, ratio: float = 0.5) -> list[str]:
        copied = [
            Copied(index="c", name="pages-2", documents=0, brought=pages),
            Copied(index="d", name="log", brought=log),
        ]
        new = by_alias(copied, {"pages": ["c"], "pages-2": ["c"], "log": ["d"]})
        return find_shrunken(new, self.OLD, ratio)

    def test_by_alias_for_an_index_may_have_a_new_name(self) -> None:
        assert self.find(90, 10) == self.find(45, 5) == []
        assert self.find(44, 100) == ["pages has 44 documents, and live has 90"]
        assert self.find(900, 4) == ["log has 4 documents, and live has 10"]

    def test_all_of_it(self) -> None:
        assert find_shrunken(by_alias([], {}), self.OLD, 0.5) == [
            "all of it has 0 documents, and live has 100"
        ]

    def test_none_is_asked_for(self) -> None:
        assert self.find(0, 0, ratio=0) == []


def test_records_of_before_are_read() -> None:
    """They lack what was added since."""
    copied = {"index": "env-sync-000000000000-pages", "name": "pages", "uuid": "u", "documents": 3}
    stamp = to_plain(
        Stamp(
            state=CopyState.SANITISED,
            holder=Holder(run="run", group="group", attempt="attempt"),
            sync="search",
            environment="integration",
            source_environment="staging",
            dump_key="key",
            dump_sha256="",
            data_time=moment("2026-11-23 01:00"),
            born_in="staging",
            parents=(),
            transformations=(),
            changed=moment("2026-11-23 02:00"),
        )
    )
    live = from_plain(Live, {"stamp": stamp, "indices": [copied], "previous": ["old"], "leaving": []})
    assert (live.given, live.previous, live.previous_aliases) == (None, ("old",), {})
    incoming = from_plain(
        Incoming,
        {
            "stamp": stamp,
            "token": "000000000000",
            "way": "repository",
            "why": "",
            "snapshot": "key",
            "contents": to_plain(contents(a_held("pages"))),
            "indices": [copied],
            "snapshot_is_whole": True,
            "promoting": True,
        },
    )
    assert (incoming.replaced, incoming.restore_begun, incoming.fetched) == (None, False, {})
    taking = from_plain(
        Taking,
        {"holder": stamp["holder"], "snapshot": "key", "contents": to_plain(contents(a_held("pages")))},
    )
    assert taking.owner is None


class TestErrors:
    def test_a_text_that_may_quote_a_document_is_withheld(self) -> None:
        body = {"error": {"type": "mapper_parsing_exception", "reason": "failed: 'somebody@example.org'"}}
        said = describe_api_error(400, body)
        assert "somebody" not in said
        assert "mapper_parsing_exception (400)" in said

    def test_one_that_speaks_of_indices_is_told(self) -> None:
        body = {"error": {"type": "index_not_found_exception", "reason": "no such index [pages]"}}
        assert describe_api_error(404, body) == "index_not_found_exception (404): no such index [pages]"
        assert describe_api_error(502, "<html>") == "HTTP status 502"


class TestTransformation:
    GOOD = """\
- update_by_query: "people*"
  query: {match_all: {}}
  script: {lang: painless, source: "ctx._source.email = null"}
- delete_by_query: drafts
  query: {term: {on: yes}}
"""

    def read(self, tmp_path: Path, text: str) -> Any:
        file = tmp_path / "sanitise.yaml"
        file.write_text(text)
        return read_transformations([file])

    def test_statements(self, tmp_path: Path) -> None:
        [read] = self.read(tmp_path, self.GOOD)
        first, second = read.statements
        assert (first.api, first.pattern, first.line) == ("update_by_query", "people*", 1)
        assert (second.api, second.body, second.line) == (
            "delete_by_query",
            {"query": {"term": {"on": "yes"}}},
            4,
        )
        assert read.said.name == "sanitise.yaml"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "line 1: it is no list of statements"),
            ("- a: [", "line 1: it is no YAML"),
            ("- reindex: people\n", "must begin with update_by_query or delete_by_query"),
            ("- delete_by_query: [people]\n  query: {match_all: {}}\n", "must name one index"),
            ("- delete_by_query: people\n", "takes `query`"),
            ("- delete_by_query: people\n  query: {}\n", "`query` must be a query"),
            ("- delete_by_query: people\n  query: {match_all: {}}\n  max_docs: 1\n", "takes `query`"),
            ("- update_by_query: people\n  query: {match_all: {}}\n", "takes `query` and `script`"),
            (
                "- update_by_query: people\n  query: {match_all: {}}\n  script: {id: stored}\n",
                "`script` needs its text",
            ),
        ],
    )
    def test_what_is_wrong(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(TransformationFailed, match=said):
            self.read(tmp_path, text)
