"""Cycles in a graph: the groups of nodes that all wait for each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def cycles(waits_for: Mapping[Node, Collection[Node]]) -> list[list[Node]]:
    """Return each group of two or more nodes of which every one waits, however indirectly, for every other.

    These are the strongly connected components, by Kosaraju's two walks; neither recurses, so that
    the depth of the graph does not matter. Each node named must be a key.
    """
    awaited_by: dict[Node, list[Node]] = defaultdict(list)
    for node, awaited in waits_for.items():
        for each in awaited:
            awaited_by[each].append(node)
    finished: list[Node] = []
    seen: set[Node] = set()
    for node in waits_for:
        finished.extend(_walk(node, waits_for, seen))
    groups = []
    seen = set()
    for node in reversed(finished):
        group = _walk(node, awaited_by, seen)
        if len(group) > 1:
            groups.append(group)
    return groups


def _walk(start: Node, edges: Mapping[Node, Collection[Node]], seen: set[Node]) -> list[Node]:
    """Return the nodes not seen before that `start` leads to, itself last, each after those it leads to."""
    if start in seen:
        return []
    seen.add(start)
    done: list[Node] = []
    path = [(start, iter(edges.get(start, ())))]
    while path:
        node, rest = path[-1]
        ahead = next((each for each in rest if each not in seen), None)
        if ahead is None:
            done.append(node)
            path.pop()
        else:
            seen.add(ahead)
            path.append((ahead, iter(edges.get(ahead, ()))))
    return done
