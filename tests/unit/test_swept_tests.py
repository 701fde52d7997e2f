"""Sweeps whose items are tests."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from tests.sweep import EXHAUSTIVE, SEED
from tests.swept_tests import drawn

ENGINES, STEPS = ("PostgreSQL", "Files", "MongoDB"), ("dump", "restore", "sanitise", "promote")


@pytest.fixture(autouse=True)
def ordinary_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EXHAUSTIVE, raising=False)
    monkeypatch.setenv(SEED, "734d67c")


def item(engine: str, step: str, mark: pytest.Mark | None) -> Any:
    return SimpleNamespace(
        nodeid=f"test_kills.py::test_it[{engine}-{step}]",
        callspec=SimpleNamespace(params={"engine": engine, "step": step}),
        get_closest_marker={"sweep": mark}.get,
    )


def items(*parameters: str, at_most: int) -> list[Any]:
    mark = pytest.mark.sweep(*parameters, at_most=at_most).mark
    return [item(engine, step, mark) for engine, step in itertools.product(ENGINES, STEPS)]


def test_each_set_of_the_other_parameters_is_a_sweep_of_its_own() -> None:
    found = drawn(items("step", at_most=2))
    assert [sum(engine in one.nodeid for one in found) for engine in ENGINES] == [2, 2, 2]


def test_parameters_may_belong_together() -> None:
    assert len(drawn(items("engine", "step", at_most=5))) == 5


def test_many_commits_try_every_test(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: set[str] = set()
    for number in range(100):
        monkeypatch.setenv(SEED, str(number))
        tried.update(one.nodeid for one in drawn(items("step", at_most=1)))
    assert len(tried) == len(ENGINES) * len(STEPS)


def test_an_exhaustive_run_leaves_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXHAUSTIVE, "1")
    assert len(drawn(items("step", at_most=1))) == len(ENGINES) * len(STEPS)


def test_what_is_no_sweep_is_tried() -> None:
    plain = [item(engine, step, None) for engine, step in itertools.product(ENGINES, STEPS)]
    assert drawn(plain) == plain


def test_a_parameter_that_is_not_there_is_an_error() -> None:
    with pytest.raises(pytest.UsageError, match="has no parameter way"):
        drawn(items("way", at_most=1))


def test_a_parameter_that_each_worker_prints_in_its_own_way_is_an_error() -> None:
    one = item("Files", "dump", pytest.mark.sweep("step", at_most=1).mark)
    one.callspec.params["way"] = object()
    with pytest.raises(pytest.UsageError, match="without a plain value: way"):
        drawn([one])
