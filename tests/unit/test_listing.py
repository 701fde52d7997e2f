from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import AsyncIterator

import pytest
from attrs import evolve

from env_sync.core.errors import DeletionRefused, TransferFailed
from env_sync.store.mirroring.listing import Pair, side_by_side
from env_sync.store.mirroring.mirror import Tally, Wanted, check_deletions, is_same
from env_sync.store.mirroring.object_requests import Item

WHEN = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
MD5, OTHER_MD5 = "0" * 32, "1" * 32
PARTS, OTHER_PARTS, MORE_PARTS = f"{'2' * 32}-3", f"{'3' * 32}-3", f"{'3' * 32}-4"


def item(key: str, *, size: int = 1, etag: str = MD5, after: int = 0) -> Item:
    return Item(key=key, size=size, etag=etag, modified=WHEN + dt.timedelta(hours=after))


def items(*keys: str) -> list[Item]:
    return [item(key) for key in sorted(keys, key=str.encode)]


def matched(source: list[Item], destination: list[Item]) -> list[Pair]:
    async def listing(items: list[Item]) -> AsyncIterator[Item]:
        for each in items:
            yield each

    async def match() -> list[Pair]:
        return [pair async for pair in side_by_side(listing(source), listing(destination))]

    return asyncio.run(match())


def keys(pairs: list[Pair]) -> list[tuple[str | None, str | None]]:
    return [
        (pair.source.key if pair.source else None, pair.destination.key if pair.destination else None)
        for pair in pairs
    ]


@pytest.mark.parametrize(
    ("source", "destination", "wanted"),
    [
        ("", "", []),
        ("a", "", [("a", None)]),
        ("", "a", [(None, "a")]),
        ("ab", "bc", [("a", None), ("b", "b"), (None, "c")]),
        ("ac", "b", [("a", None), (None, "b"), ("c", None)]),
        ("abc", "c", [("a", None), ("b", None), ("c", "c")]),
    ],
)
def test_two_listings_are_matched_key_by_key(
    source: str, destination: str, wanted: list[tuple[str | None, str | None]]
) -> None:
    assert keys(matched(items(*source), items(*destination))) == wanted


def test_keys_are_in_the_order_of_their_bytes() -> None:
    # By code units, as some languages sort, the second would come first.
    odd = ["\uffee", "\U0001f600", "é", "z", " ", "/", "a/../b", "a"]
    assert len(matched(items(*odd), items(*odd))) == len(odd)


def test_any_two_buckets() -> None:
    chance = random.Random(7)
    for _ in range(200):
        first = {f"{chance.randrange(30):x}" for _ in range(chance.randrange(30))}
        second = {f"{chance.randrange(30):x}" for _ in range(chance.randrange(30))}
        found = keys(matched(items(*first), items(*second)))
        assert {source for source, _ in found if source} == first
        assert {destination for _, destination in found if destination} == second
        assert {source for source, destination in found if source and destination} == first & second


@pytest.mark.parametrize("wrong", [["b", "a"], ["a", "a"]])
@pytest.mark.parametrize("source", [True, False])
def test_a_listing_that_is_out_of_order_stops_everything(wrong: list[str], source: bool) -> None:
    bad, good = [item(key) for key in wrong], items("a")
    with pytest.raises(TransferFailed, match="out of order"):
        matched(*((bad, good) if source else (good, bad)))


@pytest.mark.parametrize(
    ("source", "destination", "same"),
    [
        (item("a"), item("a", after=-5), True),
        (item("a"), item("a", size=2), False),
        (item("a"), item("a", etag=OTHER_MD5, after=5), False),
        (item("a", etag=PARTS), item("a", etag=PARTS, after=-5), True),
        (item("a", etag=PARTS), item("a", etag=OTHER_PARTS, after=5), False),
        (item("a", etag=PARTS), item("a", etag=MORE_PARTS, after=5), True),
        (item("a", etag=PARTS), item("a", etag=MD5, after=5), True),
        (item("a", etag=PARTS), item("a", etag=MD5, after=-5), False),
        (item("a", etag=PARTS), item("a", etag=MD5, after=5, size=2), False),
        (item("a", etag=MD5), item("a", etag=PARTS, after=5), True),
        (item("a", etag=MD5), item("a", etag=PARTS, after=-5), False),
    ],
)
def test_what_counts_as_a_copy(source: Item, destination: Item, same: bool) -> None:
    assert is_same(source, destination) is same


WANTED = Wanted(
    source="theirs", destination="ours", delete=True, max_delete_ratio=0.25, copies=1, acl="private"
)


@pytest.mark.parametrize(
    ("tally", "ratio"),
    [
        (Tally(source=0, destination=0), 0.0),
        (Tally(source=9, destination=9), 0.0),
        (Tally(source=75, destination=100, extra=25), 0.25),
        (Tally(source=1, destination=100, extra=99), 1.0),
        (Tally(source=0, destination=100, extra=100), 1.0),
    ],
)
def test_deletions_that_are_allowed(tally: Tally, ratio: float) -> None:
    check_deletions(evolve(WANTED, max_delete_ratio=ratio), tally)


@pytest.mark.parametrize(
    ("tally", "says"),
    [
        (Tally(source=74, destination=100, extra=26), "26%, more than max_delete_ratio"),
        (Tally(source=0, destination=3, extra=3), "the source is empty"),
    ],
)
def test_deletions_that_are_refused(tally: Tally, says: str) -> None:
    with pytest.raises(DeletionRefused, match=says):
        check_deletions(WANTED, tally)
