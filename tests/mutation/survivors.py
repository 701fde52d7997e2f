"""The mutants that may survive, each with the reason: mostly that it behaves as the module does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from tests.mutation.mutants import Change, Judged

SURVIVORS = Path(__file__).with_name("survivors.yaml")


def read_survivors(file: Path = SURVIVORS) -> dict[Change, list[str]]:
    """The reasons, by the change; as many as there are mutants with that change in the function.

    The file has for each module a list of `why` with `mutants`: for each function a list of changes, each a
    text of `-` and `+` lines.
    """
    reasons: dict[Change, list[str]] = {}
    for module, entries in (yaml.safe_load(file.read_text()) or {}).items():
        for entry in entries:
            for function, changes in entry["mutants"].items():
                for lines in changes:
                    change = Change(module, function, lines.strip())
                    reasons.setdefault(change, []).append(entry["why"].strip())
    return reasons


def unexplained(judged: Iterable[Judged], reasons: Mapping[Change, Sequence[str]]) -> list[Change]:
    """The mutants that survive and are not explained."""
    return sorted((_survivors(judged) - _count(reasons)).elements())


def explained_in_vain(judged: Iterable[Judged], reasons: Mapping[Change, Sequence[str]]) -> list[Change]:
    """What is explained of the modules that were judged, and does not survive, or is no mutant any more."""
    judged = list(judged)
    modules = {one.change.module for one in judged}
    left = (_count(reasons) - _survivors(judged)).elements()
    return sorted(change for change in left if change.module in modules)


def _survivors(judged: Iterable[Judged]) -> Counter[Change]:
    return Counter(one.change for one in judged if not one.killed)


def _count(reasons: Mapping[Change, Sequence[str]]) -> Counter[Change]:
    return Counter({change: len(each) for change, each in reasons.items()})
