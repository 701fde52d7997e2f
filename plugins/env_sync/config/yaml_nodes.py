"""What a YAML file holds, with the line of everything, before any of it is given a meaning.

Anchors, aliases and merge keys are resolved; scalars are text as written.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from env_sync.domain.sync import Place

LONGEST_SHOWN = 60
"""Characters of a value that a message repeats."""

NULLS = ("", "~", "null", "Null", "NULL")


@frozen(eq=False)
class Scalar:
    """One value as written; `plain` if it stood without quotes, `tag` if one was written before it."""

    place: Place
    text: str
    plain: bool
    tag: str | None

    @property
    def is_null(self) -> bool:
        """Whether this says "no value"."""
        return self.plain and self.tag is None and self.text in NULLS


@frozen(eq=False)
class Items:
    """A list."""

    place: Place
    items: tuple[Node, ...]


@frozen(eq=False)
class Entry:
    """One key with its value; `place` is that of the key, in the anchor if it was merged from there."""

    key: str
    place: Place
    value: Node
    merged: bool = False
    """Whether it stands in another mapping and came along by `<<`."""


@frozen(eq=False)
class Fault:
    """Something wrong with a mapping itself: what was read and what would be right."""

    place: Place
    read: str
    right: str


@frozen(eq=False)
class Fields:
    """A mapping: each key once; a key's second and later entries are in `repeated`."""

    place: Place
    entries: dict[str, Entry]
    repeated: tuple[Entry, ...]
    faults: tuple[Fault, ...]
    is_alias: bool = False
    """Whether it was written at an anchor, and an alias of that stands here."""

    def borrowed(self, key: str) -> bool:
        """Whether a key is here, and was not written here: it came along by `<<` or by an alias."""
        return key in self.entries and (self.is_alias or self.entries[key].merged)

    def repetition(self, entry: Entry) -> Fault:
        """Return the fault of a repeated entry; both of its places are named."""
        return Fault(
            entry.place,
            f"`{shorten(entry.key)}` is defined twice (first at {self.entries[entry.key].place})",
            "keep one of the two",
        )


Node: TypeAlias = Scalar | Items | Fields


def shorten(text: str) -> str:
    """Return text fit for one line of a message: printable, and cut where it is long."""
    start = text[:LONGEST_SHOWN]
    printable = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in start)
    return printable if start == text else f"{printable}..."


def shown(node: Node) -> str:
    """Return how a message names the value of a node."""
    if isinstance(node, Items):
        return "a list"
    if isinstance(node, Fields):
        return "a mapping"
    if node.is_null:
        return "empty"
    return f"`{shorten(node.text)}`"
