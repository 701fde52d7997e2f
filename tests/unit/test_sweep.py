"""Samples of sweeps: few, repeatable, different from commit to commit, and together everything."""

from __future__ import annotations

import itertools

import pytest

from tests.sweep import EXHAUSTIVE, SEED, draw, header, sample, strides

ITEMS = [f"item {number}" for number in range(100)]


@pytest.fixture(autouse=True)
def ordinary_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EXHAUSTIVE, raising=False)
    monkeypatch.setenv(SEED, "734d67c")


def test_a_sample_is_in_order_and_keeps_the_first_and_the_last() -> None:
    found = sample("sweep", ITEMS, 10)
    assert len(found) == len(set(found)) == 10
    assert found == sorted(found, key=ITEMS.index)
    assert (found[0], found[-1]) == (ITEMS[0], ITEMS[-1])


def test_a_sample_is_the_same_again() -> None:
    assert sample("sweep", ITEMS, 10) == sample("sweep", ITEMS, 10)


def test_another_seed_and_another_name_draw_another_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    first = sample("sweep", ITEMS, 10)
    assert sample("another", ITEMS, 10) != first
    monkeypatch.setenv(SEED, "a087b71")
    assert sample("sweep", ITEMS, 10) != first


def test_many_seeds_draw_every_item(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: set[str] = set()
    for number in range(200):
        monkeypatch.setenv(SEED, str(number))
        drawn.update(sample("sweep", ITEMS, 10))
    assert drawn == set(ITEMS)


def test_without_a_seed_there_is_one() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv(SEED)
        without = sample("sweep", ITEMS, 10)
        patched.setenv(SEED, "")
        assert sample("sweep", ITEMS, 10) == without
        patched.setenv(SEED, "0")
        assert sample("sweep", ITEMS, 10) == without


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_a_short_list_is_tried_whole(count: int) -> None:
    assert sample("sweep", ITEMS[:count], 10) == ITEMS[:count]


def test_two_are_the_first_and_the_last() -> None:
    assert sample("sweep", ITEMS, 2) == [ITEMS[0], ITEMS[-1]]


def test_an_exhaustive_run_tries_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXHAUSTIVE, "1")
    assert sample("sweep", ITEMS, 2) == ITEMS
    assert header() == "sweeps: every item"


def test_fewer_than_two_are_refused() -> None:
    with pytest.raises(ValueError, match="1 are too few"):
        sample("sweep", ITEMS, 1)


def test_any_item_may_be_missing_from_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    for number in range(200):
        monkeypatch.setenv(SEED, str(number))
        found = draw("sweep", ITEMS[:4], 1)
        assert len(found) == 1
        drawn += found
    assert set(drawn) == set(ITEMS[:4])


def test_strides_begin_at_nothing_and_are_no_longer_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = list(itertools.islice(strides("sweep", 5), 100))
    assert numbers[0] == 0
    assert {after - before for before, after in itertools.pairwise(numbers)} == set(range(1, 6))
    assert numbers == list(itertools.islice(strides("sweep", 5), 100))
    monkeypatch.setenv(SEED, "a087b71")
    assert numbers != list(itertools.islice(strides("sweep", 5), 100))
    monkeypatch.setenv(EXHAUSTIVE, "1")
    assert list(itertools.islice(strides("sweep", 5), 100)) == list(range(100))


def test_the_header_tells_how_to_repeat_the_run() -> None:
    assert "ENV_SYNC_TEST_SEED=734d67c" in header()
