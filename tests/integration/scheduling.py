"""Which worker of pytest-xdist runs which tests: those of one kind of server go to one worker.

Each worker starts the servers that its tests ask for, so tests of one server that are spread over all
workers start it in each. Work is handed out in units, the tests of one file on one kind of server. A worker
that is free takes the next unit of a kind that it has begun; else of the largest kind that nobody has begun;
else, at the end, what is left of another worker's.

On a worker the tests of subjects come before a folder's: they share databases and dumps on its servers, which
the tests of a folder clear.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

OF_SUBJECTS = ("conformance", "compatibility")
"""Folders whose tests are each of one subject, whose servers they share."""
BETWEEN = "|"
SHARED: Mapping[str, str] = {"Elasticsearch": "elasticsearch"}
"""The folder of the tests that have the servers of some subjects, by how the names of these begin."""


def servers_of(nodeid: str) -> str:
    """The kind of servers that a test starts: the subject of a scenario, else the folder of its file."""
    path, _, name = nodeid.partition("::")
    parts = PurePosixPath(path).parts[2:]
    folder = parts[0] if len(parts) > 1 else PurePosixPath(path).stem
    if folder in OF_SUBJECTS and (found := re.search(r"\[([A-Z][^\[\]-]*)", name)):
        return SHARED.get(found[1].partition(" ")[0], found[1])
    return folder


def unit_of(nodeid: str) -> str:
    """The unit of work that a test belongs to."""
    return f"{servers_of(nodeid)}{BETWEEN}{nodeid.partition('::')[0]}"


def next_unit(waiting: Mapping[str, int], mine: Sequence[str], others: Sequence[str]) -> str:
    """The unit that a worker takes next.

    `waiting` are the units that nobody has, each with its number of tests, at least one; `mine` and `others`
    are the kinds of servers that this worker and the other ones have begun.
    """
    left: Counter[str] = Counter()
    for unit, count in waiting.items():
        left[_servers(unit)] += count
    begun = [kind for kind in mine if kind in left]
    untouched = [kind for kind in left if kind not in {*mine, *others}]
    if begun:
        return _in_order(waiting, begun[0])[0]
    if untouched:
        return _in_order(waiting, max(untouched, key=lambda kind: left[kind]))[0]
    # Of what another worker has begun the last unit, not the one that it comes to next.
    return _in_order(waiting, max(left, key=lambda kind: left[kind]))[-1]


def _in_order(waiting: Mapping[str, int], kind: str) -> list[str]:
    """The units of one kind of servers, those of subjects first."""
    units = [unit for unit in waiting if _servers(unit) == kind]
    return sorted(units, key=lambda unit: not _is_of_a_subject(unit))


def _is_of_a_subject(unit: str) -> bool:
    return PurePosixPath(unit.partition(BETWEEN)[2]).parts[2] in OF_SUBJECTS


def _servers(unit: str) -> str:
    return unit.partition(BETWEEN)[0]


class ByServers(LoadScopeScheduling):  # type: ignore[misc]  # xdist comes without types
    """Hands out the tests by the servers that they need."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def remove_node(self, node: WorkerController) -> str | None:
        """Hand on what a worker that ended had left; the test that it ended in, None without one, has failed.

        xdist would hand on that test as well, which would end one worker after the other.
        """
        work = self.assigned_work.pop(node)
        left: list[tuple[dict[str, bool], str]] = [
            (tests, test) for tests in work.values() for test, done in tests.items() if not done
        ]
        if not left:
            return None
        tests, ended_in = left[0]
        tests[ended_in] = True
        self.workqueue.update({unit: tests for unit, tests in work.items() if not all(tests.values())})
        for other in self.assigned_work:
            self._reschedule(other)
        return ended_in

    def _assign_work_unit(self, node: WorkerController) -> None:
        waiting = {unit: len(tests) for unit, tests in self.workqueue.items()}
        begun = {
            worker: list(dict.fromkeys(_servers(unit) for unit in units))
            for worker, units in self.assigned_work.items()
        }
        mine = begun.pop(node, [])
        unit = next_unit(waiting, mine, [kind for kinds in begun.values() for kind in kinds])
        self.workqueue.move_to_end(unit, last=False)
        super()._assign_work_unit(node)
