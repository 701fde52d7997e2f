"""One environment of hieradata is read: files to nodes, nodes to settings and syncs, then what they break."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from env_sync.config.bindings import read_bindings
from env_sync.config.cross_checks import (
    first_of_each_name,
    same_minute_pulls,
    shared_destinations,
    wrong_order,
)
from env_sync.config.files import SourceFile, environment_names, source_files
from env_sync.config.settings_reader import S3_SYNC_TASKS, TASKS, read_settings, unknown_keys
from env_sync.config.shipped import unbound
from env_sync.config.sync_reader import Surroundings, SyncReader, Written, is_absent
from env_sync.config.yaml_nodes import Entry, Fault, Fields, Scalar, shown
from env_sync.config.yaml_reader import YamlFile, read_yaml
from env_sync.domain.environment import Environment
from env_sync.domain.problem import Problem
from env_sync.domain.settings import PRODUCTION
from env_sync.domain.sync import CLUSTER, Action, BucketSync, Place, Sync, server_of


def read_environment(folder: Path, name: str, transformations: Path) -> Environment:
    """Read one environment from the hieradata folder; `transformations` is the folder of SQL files.

    Whatever is wrong in the files becomes a problem of the environment and takes away no more than
    it must. Raises NoHieradata if the folder cannot be listed, UnknownEnvironment if nothing in it
    belongs to `name`.
    """
    sources = source_files(folder, name)
    problems = list(sources.problems)
    common = [read_yaml(source.path, source.name) for source in sources.common]
    own = [read_yaml(source.path, source.name) for source in sources.own]
    settings, setting_problems = read_settings(name, common, own, hidden=sources.hidden)
    problems.extend(setting_problems)

    written: list[Written] = []
    for source, file in zip((*sources.common, *sources.own), (*common, *own), strict=True):
        problems.extend(_file_problems(file))
        written.extend(_written(source, file, problems))
    written, repeated = first_of_each_name(written)
    problems.extend(repeated)

    bindings, binding_faults = read_bindings((*common, *own), name, _databases(written))
    problems.extend(_problem(fault, None) for fault in binding_faults)
    reader = SyncReader(
        Surroundings(
            environment=name,
            # An Airflow of integration may know nothing of the others but that there is a production.
            others=frozenset({*environment_names(folder), PRODUCTION} - {name}),
            dump_buckets=_dump_buckets(written),
            settings=settings,
            transformations=transformations,
            transformation_names=_file_names(transformations),
            bindings=bindings,
        )
    )
    good: list[Sync | BucketSync] = []
    absent: dict[str, Sync | BucketSync | None] = {}
    left_out: set[str] = set()
    for each in written:
        sync, faults = reader.read(each)
        key = each.entry.key
        if is_absent(each.entry):
            absent[key] = sync
        elif sync is not None:
            good.append(sync)
        else:
            left_out.add(key)
        problems.extend(_problem(fault, key) for fault in faults)

    clashes = [
        *same_minute_pulls([sync for sync in good if isinstance(sync, Sync)]),
        *shared_destinations([sync for sync in good if isinstance(sync, BucketSync)]),
    ]
    problems.extend(clashes)
    left_out.update(problem.sync for problem in clashes if problem.sync is not None)
    good = [sync for sync in good if sync.name not in left_out]

    order = wrong_order(good, absent.keys(), left_out, settings.window, _after_places(written))
    problems.extend(order)
    left_out.update(problem.sync for problem in order if problem.sync is not None)

    kept = {sync.name: sync for sync in good if sync.name not in left_out}
    kept.update((key, sync) for key, sync in absent.items() if sync is not None)
    in_order = [kept[each.entry.key] for each in written if each.entry.key in kept]
    # Into a protected one only a recovery sync pulls: that brings back what is its own.
    says_none = [each.entry.key for each in written if _says_itself(each, "postprocess")]
    fills = {} if settings.protected else _fills(written)
    return Environment(
        name=name,
        settings=settings,
        syncs=tuple(_told_who_fills(sync, fills) for sync in in_order if isinstance(sync, Sync)),
        bucket_syncs=tuple(sync for sync in in_order if isinstance(sync, BucketSync)),
        problems=_in_order(problems),
        notes=_in_order(unbound((each for each in good if isinstance(each, Sync)), bindings, says_none)),
    )


def _file_problems(file: YamlFile) -> list[Problem]:
    """Return what is wrong with a file as a whole and with its top keys, settings aside."""
    if file.root is None:
        return [] if file.problem is None else [file.problem]
    root = file.root
    faults = (*root.faults, *(root.repetition(each) for each in root.repeated))
    return [*(_problem(fault, None) for fault in faults), *unknown_keys(file)]


def _written(source: SourceFile, file: YamlFile, problems: list[Problem]) -> list[Written]:
    """Return the entries of a file in the order in which they stand; adds what is wrong to `problems`."""
    if file.root is None:
        return []
    written: list[Written] = []
    for top in (*file.root.entries.values(), *file.root.repeated):
        if top.key not in (TASKS, S3_SYNC_TASKS):
            continue
        if not isinstance(top.value, Fields):
            fault = Fault(top.place, f"`{top.key}` is {shown(top.value)}", "write a mapping of syncs by name")
            problems.append(_problem(fault, None))
            continue
        problems.extend(_problem(fault, None) for fault in top.value.faults)
        entries: tuple[Entry, ...] = (*top.value.entries.values(), *top.value.repeated)
        written.extend(
            Written(entry=entry, node_class=source.node_class, is_bucket_sync=top.key == S3_SYNC_TASKS)
            for entry in entries
        )
    return sorted(written, key=lambda each: each.entry.place.line)


def _after_places(written: Iterable[Written]) -> dict[str, Place]:
    return {
        each.entry.key: each.entry.value.entries["after"].place
        for each in written
        if isinstance(each.entry.value, Fields) and "after" in each.entry.value.entries
    }


def _databases(written: Iterable[Written]) -> frozenset[str]:
    """Return the databases that any sync names, be it wrong or absent."""
    return frozenset(
        entry.value.text
        for each in written
        if isinstance(each.entry.value, Fields)
        and (entry := each.entry.value.entries.get("database")) is not None
        and isinstance(entry.value, Scalar)
    )


def _dump_buckets(written: Iterable[Written]) -> frozenset[str]:
    """Return the buckets that any sync of a database names, be it wrong or absent."""
    return frozenset(
        url
        for each in written
        if not each.is_bucket_sync
        and (said := _said(each)).get("storagebackend") != CLUSTER
        and (url := said.get("url"))
    )


def _fills(written: Iterable[Written]) -> Mapping[tuple[str, str, str], str]:
    """The first sync that fills each live database, be it left out for a problem or not."""
    found: dict[tuple[str, str, str], str] = {}
    for each in written:
        if is_absent(each.entry):
            continue
        said = _said(each)
        dbms, database = said.get("dbms", ""), said.get("database", "")
        if said.get("action") in (Action.PULL, Action.COPY):
            server = said.get("database_hostname") or server_of(dbms, database, each.node_class)
            found.setdefault((dbms, server, database), each.entry.key)
    return found


def _said(written: Written) -> Mapping[str, str]:
    """The texts of an entry by field, as they are written."""
    value = written.entry.value
    if not isinstance(value, Fields):
        return {}
    return {
        name: entry.value.text
        for name, entry in value.entries.items()
        if isinstance(entry.value, Scalar) and not entry.value.is_null
    }


def _says_itself(written: Written, name: str) -> bool:
    value = written.entry.value
    return isinstance(value, Fields) and name in value.entries and not value.borrowed(name)


def _told_who_fills(sync: Sync, fills: Mapping[tuple[str, str, str], str]) -> Sync:
    if sync.action is not Action.PUSH or sync.live not in fills:
        return sync
    return attrs.evolve(sync, filled_by=fills[sync.live])


def _file_names(folder: Path) -> frozenset[str]:
    """Return the names of the files in a folder; none where there is no such folder."""
    try:
        return frozenset(path.name for path in folder.iterdir() if path.is_file())
    except OSError:
        # Each sync that names a file says that it is not there, with the folder's name.
        return frozenset()


def _problem(fault: Fault, sync: str | None) -> Problem:
    return Problem(place=fault.place, sync=sync, read=fault.read, right=fault.right)


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    def order(problem: Problem) -> tuple[str, int, str, str]:
        return (problem.place.file, problem.place.line, problem.sync or "", problem.read)

    return tuple(sorted(dict.fromkeys(problems), key=order))
