"""The order in which every engine promotes, on an engine that only says what it is asked."""

from __future__ import annotations

import logging

import pytest
from attrs import field, frozen

from env_sync.core.errors import PauseActive
from env_sync.engines.base.contract import CopyState, Holder, Stamp
from env_sync.engines.base.promotion import Prepared, Promoting, Swapped, promote
from tests.unit.values import moment

HOLDER = Holder(run="env_sync_integration/tonight", group="pull_signon", attempt="2")
PROOF = Stamp(
    state=CopyState.SANITISED,
    holder=HOLDER,
    sync="pull_signon",
    environment="integration",
    source_environment="staging",
    dump_key="signon/2026-11-23T220000Z-signon.gz",
    dump_sha256="c" * 64,
    data_time=moment("2026-11-23T22:00"),
    born_in="production",
    parents=(),
    transformations=(),
    changed=moment("2026-11-24T03:00"),
)


@frozen(kw_only=True)
class Asked(Promoting[str, Prepared]):
    """Writes down what it is asked to do."""

    first: bool
    asked: list[str] = field(factory=list)

    @property
    def live_named(self) -> str:
        return "signon on db"

    @property
    def incoming_named(self) -> str:
        return "signon__incoming on db"

    def read_incoming(self) -> str:
        return "there"

    def read_live(self) -> None:
        return None

    def read_proof(self) -> Stamp:
        self.asked.append("proof")
        return PROOF

    def prepare(self, incoming: str | None, stamp: Stamp) -> Prepared:
        self.asked.append("prepare")
        return Prepared(stamp=stamp, first=self.first)

    def make_way(self, prepared: Prepared) -> Prepared:
        self.asked.append("make way")
        return prepared

    def check_same(self, prepared: Prepared, *, last: bool) -> Prepared:
        self.asked.append("check, the swap is next" if last else "check")
        return prepared

    def swap(self, prepared: Prepared) -> Swapped:
        self.asked.append("swap")
        return Swapped(unavailable=0.0)

    def drop_replaced(self, *, first: bool) -> tuple[str, ...]:
        self.asked.append("drop replaced")
        return ()


WHERE_LIVE_IS = [
    *("proof", "prepare", "look", "check"),
    *("make way", "look", "check, the swap is next", "swap", "drop replaced"),
]
AT_FIRST = ["proof", "prepare", "look", "check, the swap is next", "swap", "drop replaced"]


def asking(*, first: bool) -> Asked:
    return Asked(
        holder=HOLDER,
        environment="integration",
        keep_previous=True,
        log=logging.getLogger("env_sync.tests"),
        first=first,
    )


@pytest.mark.parametrize(("first", "order"), [(False, WHERE_LIVE_IS), (True, AT_FIRST)])
def test_it_is_looked_before_anything_is_cleared_away_and_right_before_the_swap(
    first: bool, order: list[str]
) -> None:
    work = asking(first=first)
    promote(work, (), lambda: work.asked.append("look"))
    assert work.asked == order


@pytest.mark.parametrize("number", [1, 2])
def test_a_look_that_stops_it_is_the_last_that_is_done(number: int) -> None:
    work = asking(first=False)

    def look() -> None:
        work.asked.append("look")
        if work.asked.count("look") == number:
            raise PauseActive("the last pull was bad")

    with pytest.raises(PauseActive):
        promote(work, (), look)
    assert work.asked[-1] == "look"
    assert "swap" not in work.asked
