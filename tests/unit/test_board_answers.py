"""What the API takes has a greatest length, each field of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from env_sync.board.answers import RerunAsked, RunAsked


def test_what_is_asked_of_a_run_may_be_as_long_as_a_name() -> None:
    name = "x" * 200
    asked = RunAsked(only=(name,) * 1000, timestamp="x" * 40, confirm=name, restore_previous=name)
    assert asked.only[0] == name
    assert RerunAsked(run="x" * 250, groups=(name,)).run == "x" * 250


@pytest.mark.parametrize(
    "asked",
    [
        {"only": ("x" * 201,)},
        {"only": ("x",) * 1001},
        {"timestamp": "x" * 41},
        {"confirm": "x" * 201},
        {"restore_previous": "x" * 201},
    ],
)
def test_what_is_longer_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(asked))):
        RunAsked(**asked)


@pytest.mark.parametrize("asked", [{"run": "x" * 251}, {"groups": ("x" * 201,)}, {"groups": ("x",) * 1001}])
def test_so_is_it_of_what_is_rerun(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(asked))):
        RerunAsked(**{"run": "r", **asked})
