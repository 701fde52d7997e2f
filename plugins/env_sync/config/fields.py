"""The fields of one entry, read by a table of fields; everything wrong is collected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve, frozen

from env_sync.config.suggestion import did_you_mean
from env_sync.config.sync_fields import SyncField
from env_sync.config.yaml_nodes import Fault, Fields, shorten, shown
from env_sync.domain.invalid_value import WrongValue
from env_sync.domain.sync import Place


@frozen(eq=False)
class EntryFields:
    """The values that could be read, where each field stands, and what was wrong."""

    values: Mapping[str, Any]
    places: Mapping[str, Place]
    faults: tuple[Fault, ...]
    borrowed: frozenset[str] = frozenset()
    """The fields that were written in another entry and came along by `<<` or by an alias."""

    def without(self, names: Iterable[str]) -> EntryFields:
        """Return the same without the fields of these names."""
        dropped = frozenset(names)
        return evolve(
            self,
            values={name: value for name, value in self.values.items() if name not in dropped},
            places={name: place for name, place in self.places.items() if name not in dropped},
        )


def read_fields(place: Place, fields: Fields, table: Mapping[str, SyncField]) -> EntryFields:
    """Read the fields of an entry that stands at `place`; `table` says which there may be."""
    faults = [*fields.faults, *(fields.repetition(each) for each in fields.repeated)]
    values: dict[str, Any] = {}
    for name, entry in fields.entries.items():
        if name not in table:
            right = f"correct or remove it.{did_you_mean(name, table)}"
            faults.append(Fault(entry.place, f"unknown field `{shorten(name)}`", right))
            continue
        try:
            values[name] = table[name].reader(entry.value)
        except WrongValue as error:
            faults.append(Fault(entry.place, f"`{name}` is {shown(entry.value)}", str(error)))
    faults.extend(
        Fault(place, f"`{name}` is missing", f"add it: {each.values}")
        for name, each in table.items()
        if each.default is None and name not in fields.entries
    )
    places = {name: entry.place for name, entry in fields.entries.items()}
    borrowed = frozenset(name for name in fields.entries if fields.borrowed(name))
    return EntryFields(values, places, tuple(faults), borrowed)
