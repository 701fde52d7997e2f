"""What a crash of the server leaves of the RENAME of a swap, on servers whose RENAME is not atomic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import pytest

from env_sync.engines.mysql.renaming import Mixed, Route, complete, take_back, whole_rename
from env_sync.engines.mysql.session import Session
from env_sync.engines.mysql.stamp import TABLE

Tables = dict[str, dict[str, str]]
"""The tables of each database, and whose each was before."""
PROMOTE = Route(live="live", other="incoming", aside="previous", undo=False, first=False)
FIRST = Route(live="live", other="incoming", aside="previous", undo=False, first=True)
UNDO = Route(live="live", other="previous", aside="replaced", undo=True, first=False)


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


def swapped(route: Route, before: Tables) -> Tables:
    server = Server(before)
    server.execute(whole_rename(server.session, route))
    return server.tables


def recovered(server: Server, route: Route) -> None:
    """As the journal and the token tell it."""
    if server.tables["live"].get(TABLE) == "new":
        complete(server.session, route)
    else:
        take_back(server.session, route)


def crashes(route: Route, before: Tables) -> Iterator[Tables]:
    """What a crash leaves after each move but the last."""
    moves = whole_rename(Server(before).session, route).count(" TO ")
    for number in range(moves):
        server = Server(before, number)
        with pytest.raises(Crash):
            server.execute(whole_rename(server.session, route))
        yield server.tables


@pytest.mark.parametrize(
    ("route", "old", "new"),
    [
        (UNDO, "abz!", "abz!"),
        (UNDO, "ab!", "yz!"),
        (UNDO, "yz!", "ab!"),
        (UNDO, "!", "a!"),
        (PROMOTE, "abz!", "abc!"),
        (PROMOTE, "yz!", "ab!"),
        (PROMOTE, "abc", "abc!"),
        (FIRST, "", "abz!"),
    ],
)
def test_after_a_crash_at_any_move_all_is_as_it_was_or_swapped(route: Route, old: str, new: str) -> None:
    before = begun(route, old, new)
    after = swapped(route, before)
    assert before["live"] != after["live"]
    assert set(after["live"].values()) == {"new"}
    for left in crashes(route, before):
        server = Server(left)
        recovered(server, route)
        assert server.tables in (before, after)
        assert not take_back(Server(before).session, route)
        # It may crash in that as well, at each move, and is done again.
        for number in range(sum(map(len, before.values())) * 2):
            again = Server(left, number)
            try:
                recovered(again, route)
            except Crash:
                again.moves = 1000
                recovered(again, route)
            assert again.tables == server.tables


def test_where_live_had_no_stamp_tables_that_may_be_anybodys_are_left_alone() -> None:
    """Its first promote, of a dump that has none of its tables."""
    before = begun(PROMOTE, "ab", "yz!")
    outcomes = set()
    for left in crashes(PROMOTE, before):
        server = Server(left)
        try:
            recovered(server, PROMOTE)
        except Mixed:
            assert server.tables == left
            outcomes.add("left alone")
        else:
            assert server.tables == before
            outcomes.add("as it was")
    assert outcomes == {"left alone", "as it was"}


@pytest.mark.parametrize(
    "tables",
    [
        {"live": {TABLE: "old", "a": "old"}, "previous": {TABLE: "new"}, "replaced": {"a": "new"}},
        {"live": {"a": "?"}, "previous": {TABLE: "new", "a": "new"}, "replaced": {TABLE: "old"}},
    ],
)
def test_what_no_crash_of_ours_leaves_is_left_alone(tables: Tables) -> None:
    server = Server(tables)
    with pytest.raises(Mixed):
        take_back(server.session, UNDO)
    assert server.tables == tables
