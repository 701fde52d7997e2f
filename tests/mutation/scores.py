"""The score of each module: how many of its mutants the tests kill."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import asdict, frozen

from tests.mutation.mutants import Judged

BASELINE = Path(__file__).with_name("baseline.json")


@frozen(kw_only=True)
class Score:
    """How many mutants a module has, and how many of them the tests kill."""

    mutants: int
    killed: int

    def is_lower_than(self, other: Score) -> bool:
        """Whether a smaller part was killed."""
        return self.killed * other.mutants < other.killed * self.mutants

    def __str__(self) -> str:
        # Rounded down: only all are 100 %.
        return f"{int(1000 * self.killed / self.mutants) / 10:.1f} %"


def score(judged: Iterable[Judged]) -> dict[str, Score]:
    """The scores by module."""
    mutants, killed = Counter[str](), Counter[str]()
    for one in judged:
        mutants[one.change.module] += 1
        killed[one.change.module] += one.killed
    return {module: Score(mutants=count, killed=killed[module]) for module, count in sorted(mutants.items())}


def lower_scores(scores: Mapping[str, Score], baseline: Mapping[str, Score]) -> list[str]:
    """What is worse than in the baseline; a module that is not in it has no bound yet."""
    return [
        f"{module} has {one}, and {baseline[module]} in baseline.json."
        for module, one in scores.items()
        if module in baseline and one.is_lower_than(baseline[module])
    ]


def without_mutants(scores: Mapping[str, Score], baseline: Mapping[str, Score]) -> list[str]:
    """Modules of the baseline of which a run of all modules judged nothing."""
    return [
        f"{module} is in baseline.json but has no mutant: if it was renamed, name it in pyproject.toml."
        for module in baseline
        if module not in scores
    ]


def read_baseline(file: Path = BASELINE) -> dict[str, Score]:
    """The scores by module that are to be reached."""
    return {module: Score(**one) for module, one in json.loads(file.read_text()).items()}


def write_baseline(scores: Mapping[str, Score], file: Path = BASELINE) -> None:
    """Write the baseline, a line for each module."""
    lines = [f"  {json.dumps(module)}: {json.dumps(asdict(one))}" for module, one in sorted(scores.items())]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def table(scores: Mapping[str, Score]) -> str:
    """The scores, and that of all modules together, for people."""
    together = Score(
        mutants=sum(one.mutants for one in scores.values()), killed=sum(one.killed for one in scores.values())
    )
    rows = {**scores, "all": together}
    width = max(map(len, rows))
    lines = [f"{'module':{width}}  mutants  killed  survived    score"]
    lines += [
        f"{module:{width}}  {one.mutants:7}  {one.killed:6}  {one.mutants - one.killed:8}  {one!s:>7}"
        for module, one in rows.items()
    ]
    return "\n".join(lines)
