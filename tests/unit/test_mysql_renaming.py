"""What a crash of the server leaves of the RENAME of a swap, on servers whose RENAME is not atomic."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import pytest
from attrs import evolve

from env_sync.engines.mysql.metadata import TABLE
from env_sync.engines.mysql.renaming import (
    Mixed,
    Move,
    Route,
    both_tables,
    complete,
    moves,
    rename_text,
    take_back,
)
from env_sync.engines.mysql.session import Session

Tables = dict[str, dict[str, str]]
"""The tables of each database, and whose each was before."""
PROMOTE = Route(live="live", other="incoming", aside="previous", undo=False, first=False, tables=None)
FIRST = Route(live="live", other="incoming", aside="previous", undo=False, first=True, tables=None)
UNDO = Route(live="live", other="previous", aside="replaced", undo=True, first=False, tables=None)
SWAPS = [
    (UNDO, "abz!", "abz!"),
    (UNDO, "ab!", "yz!"),
    (UNDO, "yz!", "ab!"),
    (UNDO, "!", "a!"),
    (PROMOTE, "abz!", "abc!"),
    (PROMOTE, "yz!", "ab!"),
    (PROMOTE, "abc", "abc!"),
    (PROMOTE, "ab", "yz!"),
    (PROMOTE, "", "abz!"),
    (FIRST, "", "abz!"),
]
"""The tables that live has, and those that are to be live."""


class Crash(Exception):
    """The server is gone, in the midst of a RENAME."""


class Server:
    """Its databases; it crashes after so many moves."""

    def __init__(self, tables: Mapping[str, Mapping[str, str]], moves: int = 1000) -> None:
        self.tables: Tables = {name: dict(each) for name, each in tables.items()}
        self.moves = moves

    def execute(self, text: str, values: Sequence[str] = ()) -> list[tuple[str, str]]:
        if "information_schema.TABLES" in text:
            return [(name, "BASE TABLE") for name in sorted(self.tables[values[0]])]
        for of, table, to, name in re.findall(r"`(\w+)`\.`(\w+)` TO `(\w+)`\.`(\w+)`", text):
            if not self.moves:
                raise Crash
            self.moves -= 1
            assert name == table
            assert name not in self.tables[to], "The server would refuse that."
            self.tables[to][name] = self.tables[of].pop(table)
        return []

    @property
    def session(self) -> Session:
        return cast(Session, self)


def begun(route: Route, old: str, new: str) -> Tables:
    """What is there before a swap; `!` is the stamp."""

    def of(names: str, whose: str) -> dict[str, str]:
        return {TABLE if name == "!" else name: whose for name in names}

    return {route.aside: {}, "live": of(old, "old"), route.other: of(new, "new")}


def written_down(route: Route, before: Tables) -> Route:
    """With the tables, as the journal has them."""
    return evolve(route, tables=both_tables(Server(before).session, route.live, route.other))


def by_name(found: Sequence[Move]) -> list[Move]:
    """In the order that versions have whose journals do not tell the tables."""
    copies = list(dict.fromkeys((one.of, one.to) for one in found))
    return sorted(found, key=lambda one: (copies.index((one.of, one.to)), one.table))


def planned(route: Route, before: Tables) -> list[Move]:
    tables = written_down(route, before).tables
    assert tables is not None
    return moves(route, tables)


def swapped(route: Route, before: Tables) -> Tables:
    server = Server(before)
    server.execute(rename_text(planned(route, before)))
    return server.tables


def recovered(server: Server, route: Route) -> None:
    """As the journal and the token tell it."""
    if server.tables["live"].get(TABLE) == "new":
        complete(server.session, route)
    else:
        take_back(server.session, route)


def crashes(before: Tables, found: Sequence[Move]) -> Iterator[Tables]:
    """What a crash leaves after each move but the last."""
    for number in range(len(found)):
        server = Server(before, number)
        with pytest.raises(Crash):
            server.execute(rename_text(found))
        yield server.tables


@pytest.mark.parametrize(("route", "old", "new"), SWAPS)
def test_after_a_crash_at_any_move_all_is_as_it_was_or_swapped(route: Route, old: str, new: str) -> None:
    before = begun(route, old, new)
    after = swapped(route, before)
    known = written_down(route, before)
    assert before["live"] != after["live"]
    assert set(after["live"].values()) == {"new"}
    assert not take_back(Server(before).session, known)
    assert not complete(Server(after).session, known)
    for left in crashes(before, planned(route, before)):
        server = Server(left)
        recovered(server, known)
        assert server.tables in (before, after)
        # It may crash in that as well, at each move, and is done again.
        for number in range(sum(map(len, before.values())) * 2):
            again = Server(left, number)
            try:
                recovered(again, known)
            except Crash:
                again.moves = 1000
                recovered(again, known)
            assert again.tables == server.tables


@pytest.mark.parametrize(("route", "old", "new"), SWAPS)
@pytest.mark.parametrize("made", ["q", "a", "z"])
def test_what_the_application_made_after_a_crash_stays_in_live(
    route: Route, old: str, new: str, made: str
) -> None:
    """It is moved nowhere, and no copy that is dropped later has it."""
    before = begun(route, old, new)
    after = swapped(route, before)
    known = written_down(route, before)
    for left in crashes(before, planned(route, before)):
        if made in left["live"]:
            continue
        left["live"][made] = "theirs"
        server = Server(left)
        try:
            recovered(server, known)
        except Mixed:
            assert server.tables == left
            assert made in old
        else:
            assert server.tables["live"].pop(made) == "theirs"
            assert server.tables in (before, after)


@pytest.mark.parametrize("route", [PROMOTE, UNDO])
def test_a_live_that_changed_while_nothing_was_moved_needs_nothing(route: Route) -> None:
    """A step was killed while it waited for a migration of the application."""
    before = begun(route, "abz!", "abz!")
    known = written_down(route, before)
    del before["live"]["a"]
    before["live"]["q"] = "theirs"
    server = Server(before)
    assert not take_back(server.session, known)
    assert server.tables == before


def test_a_table_that_arrived_and_is_gone_is_not_moved_back() -> None:
    before = begun(PROMOTE, "ab!", "yz!")
    *_, left = crashes(before, planned(PROMOTE, before))
    del left["live"]["y"]
    server = Server(left)
    with pytest.raises(Mixed):
        take_back(server.session, written_down(PROMOTE, before))
    assert server.tables == left


@pytest.mark.parametrize(("route", "old", "new"), SWAPS)
@pytest.mark.parametrize("order", [list, by_name], ids=["stamp last", "by name"])
def test_of_a_journal_without_the_tables_nothing_is_moved(
    route: Route, old: str, new: str, order: Callable[[Sequence[Move]], list[Move]]
) -> None:
    """The versions before wrote such. What is sure is ended: that nothing was moved, or all of it."""
    before = begun(route, old, new)
    after = swapped(route, before)
    for left in (before, *crashes(before, order(planned(route, before))), after):
        server = Server(left)
        try:
            recovered(server, route)
        except Mixed:
            # With other names in both, a live without a stamp may be either.
            sure = set(old) & set(new) or not old
            assert left != after
            assert left != before or not sure
        else:
            assert left in (before, after)
        assert server.tables == left


@pytest.mark.parametrize(
    "tables",
    [
        {"live": {TABLE: "old", "a": "old"}, "previous": {TABLE: "new"}, "replaced": {"a": "new"}},
        {"live": {"a": "?"}, "previous": {TABLE: "new", "a": "new"}, "replaced": {TABLE: "old"}},
        {"live": {TABLE: "new", "a": "new"}, "previous": {TABLE: "new"}, "replaced": {"a": "old"}},
    ],
)
def test_what_no_crash_of_ours_leaves_is_left_alone(tables: Tables) -> None:
    before = begun(UNDO, "a!", "a!")
    server = Server(tables)
    with pytest.raises(Mixed):
        recovered(server, written_down(UNDO, before))
    assert server.tables == tables


def test_a_copy_that_still_has_tables_was_not_swapped_whole() -> None:
    """An earlier version moved the stamp before them."""
    before = begun(PROMOTE, "az!", "az!")
    after = swapped(PROMOTE, before)
    after["incoming"]["z"] = after["live"].pop("z")
    server = Server(after)
    with pytest.raises(Mixed):
        recovered(server, PROMOTE)
    assert server.tables["incoming"] == {"z": "new"}
