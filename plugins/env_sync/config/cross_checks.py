"""What must hold between the syncs of one environment: names, same-minute pulls, order."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

from env_sync.config.cycles import cycles
from env_sync.config.suggestion import did_you_mean
from env_sync.config.sync_reader import Written
from env_sync.config.yaml_nodes import shorten
from env_sync.domain.problem import Problem
from env_sync.domain.settings import Window
from env_sync.domain.sync import AnySync, BucketSync, Ensure, Place, Sync

START, END = -1, -2
"""Parts of a sync beside its times, which count from 0."""
NO_SYNC = ""
"""The name under which nodes of the graph stand that belong to no sync."""
MOST_NAMES = 8
"""Names of a cycle that a message lists."""


def first_of_each_name(written: Iterable[Written]) -> tuple[list[Written], list[Problem]]:
    """Return the entries without those whose name was there before, and a problem for each of those."""
    first: dict[str, Written] = {}
    problems = []
    for each in written:
        name, place = each.entry.key, each.entry.place
        if name not in first:
            first[name] = each
            continue
        problems.append(
            Problem(
                place=place,
                sync=name,
                read=f"the sync `{shorten(name)}` is defined twice (first at {first[name].entry.place})",
                right="remove or rename one of the two; only the first counts",
            )
        )
    return list(first.values()), problems


def same_minute_pulls(syncs: Sequence[Sync]) -> list[Problem]:
    """Return a problem for each scheduled pull that another one before it meets in its live database."""
    taken: dict[tuple[tuple[str, str, str], dt.time], Sync] = {}
    problems = []
    for sync in syncs:
        if not sync.writes or sync.ensure is not Ensure.PRESENT:
            continue
        met = [time for time in sync.schedule.times if (sync.live, time) in taken]
        if not met:
            taken.update({(sync.live, time): sync for time in sync.schedule.times})
            continue
        other = taken[sync.live, met[0]]
        problems.append(
            Problem(
                place=sync.place,
                sync=sync.name,
                read=f"`{sync.name}` pulls into `{shorten(sync.database)}` on {shorten(sync.server)} at "
                f"{met[0]:%H:%M}, as `{other.name}` does ({other.place})",
                right="give one of the two another time, database or host",
            )
        )
    return problems


def shared_destinations(syncs: Sequence[BucketSync]) -> list[Problem]:
    """Return a problem for each bucket sync into the destination of one before it, where either deletes.

    Each would delete what only the other's source has.
    """
    earlier: dict[str, list[BucketSync]] = {}
    problems = []
    for sync in syncs:
        before = earlier.setdefault(sync.destination_bucket, [])
        other = next(
            (
                each
                for each in before
                if each.source_bucket != sync.source_bucket and (each.delete or sync.delete)
            ),
            None,
        )
        if other is None:
            before.append(sync)
            continue
        problems.append(
            Problem(
                place=sync.place,
                sync=sync.name,
                read=f"`{sync.name}` mirrors into `{shorten(sync.destination_bucket)}`, as `{other.name}` "
                f"does ({other.place}), and one of them deletes what its own source lacks",
                right="give one of the two another destination, or take `delete` out of both",
            )
        )
    return problems


def wrong_order(
    syncs: Sequence[AnySync],
    absent: Collection[str],
    left_out: Collection[str],
    window: Window,
    places: Mapping[str, Place],
) -> list[Problem]:
    """Return what is wrong with `after`: names that are unknown or absent, and cycles.

    `places` tells where the `after` of each sync that has one is written. `left_out` are the names of
    syncs that have a problem of their own: an `after` that names one of them only loses that edge,
    which is a problem that takes no sync away.
    """
    problems = _unknown_names(syncs, absent, left_out, places)
    lost = {problem.sync for problem in problems if problem.sync is not None}
    looping = _cycles([sync for sync in syncs if sync.name not in lost], window, places)
    lost |= {problem.sync for problem in looping if problem.sync is not None}
    gone = {*lost, *left_out}
    dropped = [
        Problem(
            place=places[sync.name],
            sync=None,
            read=f"`{sync.name}` is `after` `{name}`, which is left out for its own problem",
            right=f"correct `{name}`; until then `{sync.name}` does not wait for it",
        )
        for sync in syncs
        if sync.name not in lost
        for name in sync.after
        if name in gone
    ]
    return [*problems, *looping, *dropped]


def _unknown_names(
    syncs: Sequence[AnySync],
    absent: Collection[str],
    left_out: Collection[str],
    places: Mapping[str, Place],
) -> list[Problem]:
    names = {sync.name for sync in syncs}
    problems = []
    for sync in syncs:
        for name in sync.after:
            if name in names or name in left_out:
                continue
            if name in absent:
                right = "an absent sync never runs: remove it from `after`, or make that sync present"
            else:
                right = f"there is no such sync in `{sync.environment}`.{did_you_mean(name, names)}"
            problems.append(
                Problem(
                    place=places[sync.name],
                    sync=sync.name,
                    read=f"`{sync.name}` is `after` `{shorten(name)}`",
                    right=right,
                )
            )
    return problems


def _cycles(syncs: Sequence[AnySync], window: Window, places: Mapping[str, Place]) -> list[Problem]:
    """Return a problem for each sync that would wait for itself.

    Syncs of one live database wait for each other too, in the order of their times; so an `after`
    against that order makes a cycle as well. Taken away are the syncs whose `after` is part of it.
    """
    by_name = {sync.name: sync for sync in syncs}
    graph = _graph(by_name, window)
    problems: list[Problem] = []
    for cycle in cycles(graph):
        inside = set(cycle)
        names = sorted({name for name, _ in cycle} - {NO_SYNC})
        shown = _listed(names)
        by_time = any(name == NO_SYNC for name, _ in cycle)
        reason = "; syncs of one database run in the order of their times" if by_time else ""
        # A cycle enters a sync by its start only along `after`.
        problems.extend(
            Problem(
                place=places[name],
                sync=name,
                read=f"`{name}` is `after` {_listed(by_name[name].after)}, which forms a cycle of "
                f"{shown}{reason}",
                right="break the cycle: remove an `after`",
            )
            for name in names
            if (name, START) in inside
        )
    return problems


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in names[:MOST_NAMES])
    return f"{listed}, ..." if len(names) > MOST_NAMES else listed


def _graph(by_name: Mapping[str, AnySync], window: Window) -> dict[tuple[str, int], set[tuple[str, int]]]:
    """Return what each part of each sync waits for; parts are its START, each of its times, its END."""
    graph: dict[tuple[str, int], set[tuple[str, int]]] = {}
    by_live: dict[tuple[str, str, str], dict[dt.timedelta, list[tuple[str, int]]]] = {}
    for name, sync in by_name.items():
        # What runs by hand only has one place in the night, that of its first time.
        times = sync.schedule.times if sync.ensure is Ensure.PRESENT else sync.schedule.times[:1]
        parts = [(name, part) for part in range(len(times))]
        graph[name, START] = {(each, END) for each in sync.after if each in by_name}
        graph.update((part, {(name, START)}) for part in parts)
        graph[name, END] = set(parts)
        if isinstance(sync, Sync):
            by_time = by_live.setdefault(sync.live, {})
            for part, time in zip(parts, times, strict=True):
                by_time.setdefault(window.into(time), []).append(part)
    for by_time in by_live.values():
        in_order = [by_time[time] for time in sorted(by_time)]
        for earlier, later in itertools.pairwise(in_order):
            # One node between two minutes keeps the graph small where many syncs share a minute.
            between = (NO_SYNC, len(graph))
            graph[between] = set(earlier)
            for part in later:
                graph[part].add(between)
    return graph
