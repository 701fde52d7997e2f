"""What earlier versions stored, or passed from step to step, is read as it was meant."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest

from env_sync.airflow.operators.start_gate import StartGateOperator
from env_sync.airflow.operators.waiting import WaitingOperator
from tests.integration.compatibility.bases import BASES
from tests.integration.compatibility.product import KINDS
from tests.unit.stored_values import STORED, VALUES, kept, written

FILES = {file.stem: json.loads(file.read_text()) for file in sorted(STORED.glob("*.json"))}
SAMPLES = [(commit, kind) for commit, stored in FILES.items() for kind in stored]
DEFERRED: Mapping[type[Any], Mapping[str, Any]] = {
    StartGateOperator: {
        "waiting_since": "2026-11-24T01:02:03+00:00",
        "awaiting_since": "2026-11-24T01:02:03+00:00",
        "awaited": {"awaited": "a dump", "waited": 60.5, "found": None, "warnings": []},
        "waited_for_time": True,
    },
    WaitingOperator: {"since": "2026-11-24T01:02:03+00:00"},
}
"""With what 734d67c has tasks go on that wait in Airflow's triggerer; only the base and the start gate do."""


@pytest.mark.parametrize(("commit", "kind"), SAMPLES)
def test_what_was_stored_is_read_and_written_anew_as_it_was(commit: str, kind: str) -> None:
    stored = FILES[commit][kind]
    assert kept(stored, json.loads(json.dumps(KINDS[kind].write(KINDS[kind].read(stored)))))


@pytest.mark.parametrize("kind", VALUES)
def test_each_value_is_read_as_it_was_written(kind: str) -> None:
    assert KINDS[kind].read(json.loads(json.dumps(written()[kind]))) == VALUES[kind]


def test_there_is_a_value_of_each_kind() -> None:
    assert VALUES.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", VALUES)
def test_no_value_has_a_default(kind: str) -> None:
    """A key that is spelled in another way would be taken for one that is missing, and not be seen."""
    assert set(defaults(VALUES[kind])) <= {"Manifest.format", "Pause.readable"}


def defaults(value: object) -> Iterator[str]:
    """The fields in a value, and in what is in it, that are as they are where nothing is said."""
    if isinstance(value, Mapping):
        value = (*value.values(),)
    if isinstance(value, list | tuple):
        for each in value:
            yield from defaults(each)
    elif attrs.has(type(value)):
        kind: type[Any] = type(value)
        for each in attrs.fields(kind):
            said = getattr(value, each.name)
            if said == each.default:
                yield f"{type(value).__name__}.{each.name}"
            yield from defaults(said)


def test_each_base_has_stored_values() -> None:
    assert {base.name for base in BASES} <= FILES.keys()


@pytest.mark.parametrize("operator", DEFERRED)
def test_a_task_that_waits_in_the_triggerer_goes_on(operator: type[Any]) -> None:
    inspect.signature(operator.resume).bind(None, {}, None, **DEFERRED[operator])


def test_kept_sees_a_key_that_is_spelled_in_another_way() -> None:
    assert kept({"a": [{"b": 1}]}, {"a": [{"b": 1, "more": 2}], "c": 3})
    assert not kept({"a": [{"b": 1}]}, {"a": [{"B": 1}]})
    assert not kept({"a": [{"b": 1}]}, {"a": []})
    assert kept('x {"a": 1}', 'x {"a": 1, "b": 2}')
    assert not kept('x {"a": 1}', 'x {"b": 2}')
    assert not kept('x {"a": 1}', 'y {"a": 1}')
