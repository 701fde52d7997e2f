"""The plan of one environment: its groups, their steps, their order. Pure: values in, values out.

A group is one sync at one of its times. A plan prints itself as text for a terminal and as a
Markdown table for the DAG's page.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from attrs import evolve, frozen

from env_sync.core.plural import plural
from env_sync.domain.capabilities import Capabilities
from env_sync.domain.duration import format_duration
from env_sync.domain.environment import Environment
from env_sync.domain.problem import Problem
from env_sync.domain.sanitising import badge_text
from env_sync.domain.settings import DAY, GO, Settings, Window
from env_sync.domain.sync import Action, AnySync, BucketSync, Ensure, Sync

STEPS: Mapping[Action, tuple[str, ...]] = {
    Action.PUSH: ("start_gate", "dump", "upload", "report"),
    Action.PULL: ("start_gate", "download", "restore", "sanitise", "promote", "report"),
    Action.BUCKET_SYNC: ("start_gate", "bucket_sync", "report"),
}
CLUSTER_STEPS: Mapping[Action, tuple[str, ...]] = {
    Action.PUSH: ("start_gate", "snapshot", "report"),
    Action.PULL: ("start_gate", "restore", "sanitise", "promote", "report"),
    Action.COPY: ("start_gate", "copy", "sanitise", "promote", "report"),
}
"""The same where the database is a cluster, which keeps its snapshots itself."""


@frozen(kw_only=True)
class Group:
    """One sync at one time of the night. `after` names the groups whose report comes first."""

    id: str
    sync: AnySync
    time: dt.time
    steps: tuple[str, ...]
    after: tuple[str, ...] = ()

    @property
    def by_hand_only(self) -> bool:
        """Whether no night runs it."""
        return self.sync.ensure is Ensure.DISABLED


@frozen(kw_only=True)
class LeftOut:
    """Syncs that are configured but cannot run yet, with the one reason that they share."""

    kind: str
    syncs: tuple[str, ...]

    def __str__(self) -> str:
        syncs = plural(len(self.syncs), f"{self.kind} sync")
        return f"{syncs} left out: no engine for {self.kind} is installed"


@frozen(kw_only=True)
class Plan:
    """What one environment's DAG will hold."""

    environment: str
    settings: Settings
    groups: tuple[Group, ...]
    left_out: tuple[LeftOut, ...]
    waiting: tuple[Sync, ...]
    """The syncs behind `left_out`, so that the plan can show them."""
    problems: tuple[Problem, ...]
    undo: Mapping[str, str]
    """The databases of which previous can be made live again, and the id of the group that does it."""
    notes: tuple[Problem, ...] = ()
    """What of the configuration is worth a look, and takes nothing away."""

    def names(self) -> tuple[str, ...]:
        """The names of the syncs that a run can select, in the order of the night, each once."""
        return tuple(dict.fromkeys(group.sync.name for group in self.groups))

    def as_text(self) -> str:
        """The plan for a terminal: a table of the night, then what is left out, then the problems."""
        kind = "".join(
            f", {word}"
            for word in ("protected" if self.settings.protected else "", sanitising_duty(self.settings))
            if word
        )
        counts = f"{plural(len(self.groups), 'group')}, {plural(len(self.problems), 'problem')}"
        lines = [
            f"{self.environment}: window {self.settings.window} {self.settings.timezone}{kind}; {counts}"
        ]
        lines += _aligned([_HEADINGS, *self._rows()])
        lines += [f"Left out: {left}" for left in self.left_out]
        lines += [f"Problem: {problem}" for problem in self.problems]
        lines += [f"Note: {note}" for note in self.notes]
        return "\n".join(lines)

    def as_markdown(self) -> str:
        """The same for the DAG's page."""
        window, zone = self.settings.window, self.settings.timezone
        undo = (
            ["To undo the last pull of a database: **Trigger**, choose it in `restore_previous`."]
            if self.undo
            else []
        )
        guard = " It is **protected**: no scheduled pull writes to it." if self.settings.protected else ""
        duty = sanitising_duty(self.settings)
        what = f" What comes down {duty.replace('sanitise', 'be sanitised')}." if duty else ""
        lines = [
            (
                f"Syncs the databases of **{self.environment}** every night from "
                f"{window.opens:%H:%M} to {window.closes:%H:%M} {zone}.{guard}{what}"
            ),
            "",
            (
                "To run syncs now: **Trigger**, choose them in `only`. To rerun one: clear its group "
                '("downstream" off, or the later syncs of the same database run again as well).'
            ),
            *undo,
            "",
            "| " + " | ".join(_HEADINGS) + " |",
            "|" + "---|" * len(_HEADINGS),
            *("| " + " | ".join(in_cell(cell) for cell in row) + " |" for row in self._rows()),
        ]
        for title, entries in (
            ("Left out", self.left_out),
            ("Problems", self.problems),
            ("Notes", self.notes),
        ):
            if entries:
                lines += ["", f"**{title}**", "", *(f"- {in_cell(str(entry))}" for entry in entries)]
        return "\n".join(lines)

    def _rows(self) -> list[tuple[str, ...]]:
        rows = [
            (self.settings.window.into(group.time), _group_row(group, self.settings)) for group in self.groups
        ]
        for sync in self.waiting:
            rows += [
                (self.settings.window.into(time), _waiting_row(sync, time))
                for time in sync.schedule.times[:1]
            ]
        return [row for _, row in sorted(rows)]


def sanitising_duty(settings: Settings) -> str:
    """Whether the environment must sanitise what comes down; "" where nothing may come down anyway."""
    if settings.must_sanitise:
        return "must sanitise"
    return "" if settings.protected else "need not sanitise"


_HEADINGS = (
    "Time",
    "Group",
    "Action",
    "Database",
    "Server",
    "Bucket and path",
    "Transformation",
    "Runs after",
    "Notes",
)


def make_plan(environment: Environment, engines: Mapping[str, Capabilities]) -> Plan:
    """The plan of an environment, given what each installed engine can do.

    A sync that asks for what its engine does not offer is a problem; one whose engine is not
    installed is left out. Neither takes another sync away.
    """
    window = environment.settings.window
    problems = list(environment.problems)
    waiting: list[Sync] = []
    groups: list[Group] = []
    for bucket_sync in environment.bucket_syncs:
        if bucket_sync.ensure is not Ensure.ABSENT:
            groups += _groups(bucket_sync)
    for sync in environment.syncs:
        if sync.ensure is Ensure.ABSENT:
            continue
        capabilities = engines.get(sync.dbms)
        if capabilities is None:
            waiting.append(sync)
        elif refusals := [_refusal(sync, reason) for reason in _not_offered(sync, capabilities)]:
            problems += refusals
        else:
            groups += _groups(sync)
    groups, name_problems = _first_of_each_id(groups)
    groups.sort(key=lambda group: (window.into(group.time), group.id))
    ordered, order_problems = _ordered(_in_order_of_after(groups))
    return Plan(
        environment=environment.name,
        settings=environment.settings,
        groups=ordered,
        left_out=_left_out(waiting),
        waiting=tuple(waiting),
        problems=(*problems, *name_problems, *order_problems),
        undo=_undo(ordered, engines),
        notes=environment.notes,
    )


def _undo(groups: Sequence[Group], engines: Mapping[str, Capabilities]) -> dict[str, str]:
    """The first pull of each live database whose engine keeps previous, by the database's name.

    Where several servers have a database of that name, the server's stands beside it.
    """
    pulls: dict[tuple[str, str, str], Group] = {}
    for group in groups:
        sync = group.sync
        if isinstance(sync, Sync) and sync.action is Action.PULL and engines[sync.dbms].previous:
            pulls.setdefault(sync.live, group)
    count = Counter(database for _, _, database in pulls)
    return {
        database if count[database] == 1 else f"{database} on {server} ({dbms})": group.id
        for (dbms, server, database), group in sorted(pulls.items(), key=lambda pull: pull[0][::-1])
    }


def _not_offered(sync: Sync, capabilities: Capabilities) -> Iterable[str]:
    if sync.action not in capabilities.actions:
        yield f"cannot {sync.action}"
    if sync.storagebackend not in capabilities.storagebackends:
        yield f"cannot use the store {sync.storagebackend}"
    if sync.transformation and not capabilities.transformation:
        yield "cannot run transformation_sql_filename"
    if sync.postprocess and not capabilities.postprocess:
        yield f"cannot run the postprocess {', '.join(one.rule for one in sync.postprocess)}"
    if sync.pre_dump_transformation and not capabilities.pre_dump_transformation:
        yield "cannot run pre_dump_transformation_sql_filename"
    if sync.excluded_tables and not capabilities.excluded_tables:
        yield "cannot leave out excluded_tables"


def _refusal(sync: Sync, reason: str) -> Problem:
    return Problem(
        place=sync.place,
        sync=sync.name,
        read=f"{sync.name} asks for what the {sync.dbms} engine does not offer: it {reason}",
        right="change the sync, or set ensure: absent",
    )


def steps_of(sync: AnySync) -> tuple[str, ...]:
    """The steps of a sync's groups, in order."""
    steps = CLUSTER_STEPS if sync.is_cluster else STEPS
    return steps[sync.action]


def _groups(sync: AnySync) -> list[Group]:
    # A disabled sync is run by hand, so its times do not matter beyond its place in the order.
    times = sync.schedule.times if sync.ensure is Ensure.PRESENT else sync.schedule.times[:1]
    several = len(times) > 1
    return [
        Group(
            id=f"{sync.name}__{time:%H%M}" if several else sync.name,
            sync=sync,
            time=time,
            steps=steps_of(sync),
        )
        for time in times
    ]


def _first_of_each_id(groups: Iterable[Group]) -> tuple[list[Group], list[Problem]]:
    """The groups without those whose id another sync's group has, as a time of `a` and the name `a__0200`."""
    first: dict[str, Group] = {}
    problems: list[Problem] = []
    for group in groups:
        other = first.setdefault(group.id, group)
        if other is not group:
            problems.append(
                Problem(
                    place=group.sync.place,
                    sync=group.sync.name,
                    read=f"{group.sync.name} makes a group {group.id}, as {other.sync.name} does "
                    f"({other.sync.place})",
                    right="rename one of the two",
                )
            )
    return list(first.values()), problems


def _in_order_of_after(groups: Sequence[Group]) -> list[Group]:
    """Groups that are sorted by time, with those of one minute in the order that their `after` asks for."""
    ordered: list[Group] = []
    for _, same in itertools.groupby(groups, key=lambda group: group.time):
        together = list(same)
        ordered += _by_after(together) if any(group.sync.after for group in together) else together
    return ordered


def _by_after(groups: Sequence[Group]) -> Sequence[Group]:
    by_sync = {group.sync.name: group for group in groups}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, group in by_sync.items():
        sorter.add(name, *(before for before in group.sync.after if before in by_sync))
    try:
        return [by_sync[name] for name in sorter.static_order()]
    except CycleError:
        return groups


def _ordered(groups: Sequence[Group]) -> tuple[tuple[Group, ...], list[Problem]]:
    """Add the edges: one after another on the same live database, and `after`.

    An `after` that would close a cycle with the order of times is dropped, and said.
    """
    edges: dict[str, list[str]] = {group.id: [] for group in groups}
    last: dict[tuple[str, str, str], str] = {}
    for group in groups:
        if (before := last.get(group.sync.live)) is not None:
            edges[group.id].append(before)
        last[group.sync.live] = group.id
    by_sync: dict[str, list[str]] = {}
    for group in groups:
        by_sync.setdefault(group.sync.name, []).append(group.id)
    wanted = [
        (group, name, before)
        for group in groups
        for name in dict.fromkeys(group.sync.after)
        for before in by_sync.get(name, ())
        if before not in edges[group.id]
    ]
    problems: list[Problem] = []
    if wanted and _has_cycle(_with(edges, wanted)):
        place = {group.id: number for number, group in enumerate(groups)}
        wanted, problems = _without_cycles(edges, wanted, place)
    complete = _with(edges, wanted)
    return tuple(evolve(group, after=tuple(complete[group.id])) for group in groups), problems


_Edges = Mapping[str, Sequence[str]]
_Wanted = list[tuple[Group, str, str]]


def _with(edges: _Edges, wanted: _Wanted) -> dict[str, list[str]]:
    complete = {group: list(before) for group, before in edges.items()}
    for group, _, before in wanted:
        complete[group.id].append(before)
    return complete


def _without_cycles(
    edges: _Edges, wanted: _Wanted, place: Mapping[str, int]
) -> tuple[_Wanted, list[Problem]]:
    """The wanted edges that close no cycle, and a problem for each of the others.

    An edge that goes with the order of the night (`place` of each group in it), as those of `edges` do,
    closes none; each of the others closes one where what it starts from leads to its end by those kept.
    """
    kept = [edge for edge in wanted if place[edge[2]] < place[edge[0].id]]
    waits_for = _with(edges, kept)
    problems: list[Problem] = []
    for edge in wanted:
        group, name, before = edge
        if place[before] < place[group.id]:
            continue
        if not _leads(waits_for, before, group.id):
            kept.append(edge)
            waits_for[group.id].append(before)
            continue
        problems.append(
            Problem(
                place=group.sync.place,
                sync=None,
                read=f"{group.id} is to run after {before}, which the order of times on their databases puts "
                "later",
                right=f"give {group.sync.name} a later time than {name}, or remove the after",
            )
        )
    return kept, problems


def _leads(waits_for: Mapping[str, Iterable[str]], start: str, end: str) -> bool:
    """Whether `start` waits for `end`, however indirectly, or is it."""
    seen = {start}
    path = [start]
    while path:
        group = path.pop()
        if group == end:
            return True
        ahead = [before for before in waits_for[group] if before not in seen]
        seen.update(ahead)
        path += ahead
    return False


def _has_cycle(edges: Mapping[str, Iterable[str]]) -> bool:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError:
        return True
    return False


def _left_out(waiting: Iterable[Sync]) -> tuple[LeftOut, ...]:
    kinds: dict[str, list[str]] = {}
    for sync in waiting:
        kinds.setdefault(sync.dbms, []).append(sync.name)
    return tuple(LeftOut(kind=kind, syncs=tuple(names)) for kind, names in sorted(kinds.items()))


def _group_row(group: Group, settings: Settings) -> tuple[str, ...]:
    sync = group.sync
    notes = []
    if isinstance(sync, Sync) and sync.recovery:
        notes.append("recovery sync: by hand, database's name typed to confirm")
    elif group.by_hand_only:
        notes.append("disabled: by hand only")
    elif not settings.window.holds(group.time):
        notes.append("outside the window")
    waits = sync.pulls_dump and not group.by_hand_only
    if waits and (wait := sync.options.wait_for_dump):
        notes.append(_waiting_note(group.time, wait, sync.options.wait_for_dump_then, settings.window))
    if isinstance(sync, BucketSync):
        notes += ["deletes what the source lacks"] if sync.delete else []
        way = f"{sync.source_bucket} to {sync.destination_bucket}"
        after = ", ".join(group.after)
        what = (f"{group.time:%H:%M}", group.id, str(sync.action))
        return (*what, "", "", way, badge_text(sync), after, "; ".join(notes))
    return (
        f"{group.time:%H:%M}",
        group.id,
        str(sync.action),
        f"{sync.dbms} {sync.database}",
        sync.server,
        _way(sync),
        _transformation(sync),
        ", ".join(group.after),
        "; ".join(notes),
    )


def _way(sync: Sync) -> str:
    if not sync.is_cluster:
        return f"{sync.url}/{sync.path}"
    source = f"from {sync.source_hostname}, " if sync.source_hostname else ""
    return f"{source}repository {sync.url}"


def _transformation(sync: Sync) -> str:
    if sync.pre_dump_transformation:
        where = "on live" if sync.pre_dump_in_place else "on a copy"
        return f"{sync.pre_dump_transformation.name} {where}, before the dump"
    ran = [
        *([sync.transformation.name] if sync.transformation else []),
        *(one.name for one in sync.postprocess),
    ]
    return ", ".join(filter(None, [badge_text(sync), *ran]))


def _waiting_note(time: dt.time, wait: dt.timedelta, then: str, window: Window) -> str:
    other = "takes an older one" if then == GO else "fails"
    note = f"waits up to {format_duration(wait)} for tonight's dump, then {other}"
    if window.holds(time) and window.into(time) + wait > (window.into(window.closes) or DAY):
        note += "; the wait may end after the window"
    return note


def _waiting_row(sync: Sync, time: dt.time) -> tuple[str, ...]:
    note = f"left out: no engine for {sync.dbms}"
    return (
        f"{time:%H:%M}",
        sync.name,
        str(sync.action),
        f"{sync.dbms} {sync.database}",
        sync.server,
        f"{sync.url}/{sync.path}",
        "",
        "",
        note,
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def in_cell(text: str) -> str:
    """Text as a cell of a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
