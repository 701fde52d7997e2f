"""One entry of hieradata becomes a sync or a bucket sync, or problems."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from attrs import frozen

from env_sync.config.bindings import Bindings
from env_sync.config.crontab import times_of_day
from env_sync.config.fields import EntryFields, read_fields
from env_sync.config.rules import Checked, broken_bucket_rules, broken_rules, is_recovery
from env_sync.config.said_here import FILE_OF_PULL, FILE_OF_PUSH, said_here
from env_sync.config.suggestion import did_you_mean
from env_sync.config.sync_fields import BUCKET_SYNC_FIELDS, SYNC_FIELDS, option_sync_fields, with_options
from env_sync.config.yaml_nodes import Entry, Fault, Fields, Scalar, shorten, shown
from env_sync.domain.invalid_value import WrongValue
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.settings import Settings
from env_sync.domain.sync import Action, BucketSync, CopyWay, Ensure, Place, Schedule, Sync

TRANSFORMATIONS = (FILE_OF_PULL, FILE_OF_PUSH)

PLACEHOLDERS = {
    "hour": "",
    "minute": "",
    "action": Action.PUSH,
    "dbms": "",
    "storagebackend": "",
    "database": "",
    "url": "",
    "source_bucket": "",
    "destination_bucket": "",
}
"""Stand in for fields that could not be read, so that the rules about the others are still checked."""


@frozen(kw_only=True, eq=False)
class Written:
    """An entry as it stands in a file of this node class; `is_bucket_sync` tells under which key."""

    entry: Entry
    node_class: str
    is_bucket_sync: bool


@frozen(kw_only=True, eq=False)
class Surroundings:
    """What an entry is read with: its environment, its settings, transformations and postprocesses."""

    environment: str
    others: frozenset[str]
    """The names of other environments."""
    dump_buckets: frozenset[str]
    """The buckets that any sync names as its `url`, whatever they are called."""
    settings: Settings
    transformations: Path
    transformation_names: frozenset[str]
    bindings: Bindings


class SyncReader:
    """Reads the entries of one environment; holds the tables of fields, made once."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        options = option_sync_fields()
        self.tables = {False: {**SYNC_FIELDS, **options}, True: {**BUCKET_SYNC_FIELDS, **options}}

    def read(self, written: Written) -> tuple[Sync | BucketSync | None, tuple[Fault, ...]]:
        """Return the entry as a sync, or None and why not.

        Entries that are absent are often stale: nothing is asked of them but to be mappings. One
        that is not complete gives neither a sync nor faults.
        """
        entry = written.entry
        if not isinstance(entry.value, Fields):
            fault = Fault(
                entry.place,
                f"`{shorten(entry.key)}` is {shown(entry.value)}",
                "write a mapping of fields such as `hour`, `minute` and `action`",
            )
            return None, (fault,)
        table = self.tables[written.is_bucket_sync]
        fields, borrowed_faults = said_here(
            read_fields(entry.place, entry.value, table),
            entry.place,
            protected=self.surroundings.settings.protected,
        )
        unread = {name for name, each in table.items() if each.default is None} | fields.places.keys()
        unread -= fields.values.keys()
        times, schedule_faults = _times(fields)
        if is_absent(entry):
            required = {name for name, each in table.items() if each.default is None}
            stale = bool(unread & required or schedule_faults)
            return (None if stale else self._make(written, fields.values, times)), ()
        sync = self._make(written, {**PLACEHOLDERS, **fields.values}, times)
        faults = (
            *fields.faults,
            *schedule_faults,
            *borrowed_faults,
            *self._transformation_faults(fields),
            *self._broken_rules(sync, fields.places, unread),
            *self._postprocess_faults(sync, fields, unread),
        )
        return (None, faults) if faults else (sync, ())

    def _broken_rules(
        self, sync: Sync | BucketSync, places: Mapping[str, Place], unread: Set[str]
    ) -> tuple[Fault, ...]:
        settings = self.surroundings.settings
        if isinstance(sync, BucketSync):
            around = self.surroundings
            return broken_bucket_rules(sync, settings, places, unread, around.others, around.dump_buckets)
        return broken_rules(Checked(sync=sync, settings=settings, places=places), unread)

    def _postprocess_faults(
        self, sync: Sync | BucketSync, fields: EntryFields, unread: Set[str]
    ) -> Iterator[Fault]:
        if isinstance(sync, BucketSync) or unread & {"action", "database", "dbms", "ensure", "url"}:
            return
        place = fields.places.get("postprocess", sync.place)
        says_none = "postprocess" in fields.values
        if sync.recovery or sync.action is not Action.PULL:
            if says_none:
                kind = "a recovery sync" if sync.recovery else f"a {sync.action}"
                yield Fault(place, f"`postprocess` on {kind}", "remove it: only a pull from above has any")
            return
        if self.surroundings.settings.protected:
            return
        wrong = self.surroundings.bindings.wrong(
            sync.environment, sync.database, sync.dbms, says_none=says_none
        )
        if wrong:
            yield Fault(place, *wrong)

    def _transformation_faults(self, fields: EntryFields) -> list[Fault]:
        faults = []
        for field in TRANSFORMATIONS:
            name = fields.values.get(field)
            if name is None or name in self.surroundings.transformation_names:
                continue
            suggestion = did_you_mean(name, self.surroundings.transformation_names)
            faults.append(
                Fault(
                    fields.places[field],
                    f"`{field}` is `{shorten(name)}`",
                    f"there is no such file in {self.surroundings.transformations.name}/.{suggestion}",
                )
            )
        return faults

    def _make(
        self, written: Written, values: Mapping[str, Any], times: tuple[dt.time, ...]
    ) -> Sync | BucketSync:
        around = self.surroundings
        ensure = Ensure(values.get("ensure", Ensure.PRESENT))
        common: dict[str, Any] = {
            "name": written.entry.key,
            "environment": around.environment,
            "node_class": written.node_class,
            "place": written.entry.place,
            "ensure": ensure,
            "schedule": Schedule(hour=values["hour"], minute=values["minute"], times=times),
            "after": values.get("after", ()),
            "options": with_options(around.settings.options, values),
            "reason": values.get("reason", ""),
        }
        if written.is_bucket_sync:
            return BucketSync(
                **common,
                says_none=_says_none(values, TRANSFORMATIONS[0]),
                source_bucket=values["source_bucket"],
                destination_bucket=values["destination_bucket"],
                delete=values.get("delete", False),
            )
        action = Action(values["action"])
        return Sync(
            **common,
            says_none=_says_none(values, TRANSFORMATIONS[action is Action.PUSH]),
            action=action,
            dbms=values["dbms"],
            storagebackend=values["storagebackend"],
            database=values["database"],
            database_hostname=values.get("database_hostname"),
            url=values["url"],
            path=values.get("path", ""),
            temppath=_path(values.get("temppath")),
            transformation=self._transformation(values, TRANSFORMATIONS[0]),
            pre_dump_transformation=self._transformation(values, TRANSFORMATIONS[1]),
            excluded_tables=values.get("excluded_tables", ()),
            postprocess=self._postprocess(values, action),
            says_no_rules="postprocess" in values,
            pre_dump_in_place=values.get("pre_dump_in_place", False),
            must_sanitise=around.settings.must_sanitise,
            source_hostname=values.get("source_hostname"),
            copy_way=values.get("copy_way", CopyWay.AUTO),
            indices=values.get("indices", ("*",)),
            excluded_indices=values.get("excluded_indices", ()),
            recovery=is_recovery(ensure, action, values["url"], around.environment, around.settings),
        )

    def _postprocess(self, values: Mapping[str, Any], action: Action) -> tuple[Postprocess, ...]:
        around = self.surroundings
        if action is not Action.PULL or around.settings.protected:
            return ()
        return around.bindings.of(around.environment, values["database"], values["dbms"])

    def _transformation(self, values: Mapping[str, Any], field: str) -> Path | None:
        name = values.get(field)
        return None if name is None else self.surroundings.transformations / name


def _says_none(values: Mapping[str, Any], field: str) -> bool:
    """Whether a field for a transformation says that there is none: it is written, and names no file."""
    return field in values and values[field] is None


def is_absent(entry: Entry) -> bool:
    """Tell whether an entry says that it is absent; a word that is not known says no such thing."""
    if not isinstance(entry.value, Fields):
        return False
    ensure = entry.value.entries.get("ensure")
    return (
        ensure is not None
        and isinstance(ensure.value, Scalar)
        and ensure.value.tag is None
        and ensure.value.text == Ensure.ABSENT
        and not any(each.key == "ensure" for each in entry.value.repeated)
    )


def _times(fields: EntryFields) -> tuple[tuple[dt.time, ...], tuple[Fault, ...]]:
    """Return the times of day of an entry, or why there are none; a field that is wrong was told before."""
    if not {"hour", "minute"} <= fields.values.keys():
        return (), ()
    hour, minute = fields.values["hour"], fields.values["minute"]
    try:
        return times_of_day(hour, minute), ()
    except WrongValue as error:
        read = f"`hour` is `{shorten(hour)}` and `minute` is `{shorten(minute)}`"
        return (), (Fault(fields.places["minute"], read, str(error)),)


def _path(folder: Any) -> Path | None:
    return None if folder is None else Path(folder)
