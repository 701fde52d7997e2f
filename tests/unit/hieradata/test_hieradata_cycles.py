from __future__ import annotations

from env_sync.config.cycles import cycles


def test_groups_that_wait_for_each_other() -> None:
    graph = {"a": ["b"], "b": ["a", "c"], "c": ["d"], "d": [], "e": ["f", "d"], "f": ["g"], "g": ["e"]}
    assert sorted(sorted(group) for group in cycles(graph)) == [["a", "b"], ["e", "f", "g"]]


def test_a_long_line_has_no_cycle_and_ends() -> None:
    count = 50_000
    line = {number: [number + 1] if number + 1 < count else [] for number in range(count)}
    assert cycles(line) == []
    (group,) = cycles({**line, count - 1: [0]})
    assert len(group) == count
