"""One YAML file becomes nodes with lines, or a problem; never a traceback, never without end.

The events of libyaml's parser are composed here, rather than by a library's composer, so that each
key keeps its line through anchors and merge keys, nothing recurses, and the expanded size is known
before anything is expanded. libyaml reads YAML 1.1, as Puppet does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from attrs import define, evolve, field, frozen

from env_sync.config.yaml_nodes import Entry, Fault, Fields, Items, Node, Scalar, shown
from env_sync.domain.problem import Problem
from env_sync.domain.sync import Place

LARGEST_FILE = 16 * 1024 * 1024
"""Bytes; some forty times five thousand syncs."""
MOST_NODES = 1_000_000
"""Nodes after aliases are expanded; above this, aliases of aliases are being multiplied."""
DEEPEST = 64
"""Nesting; hieradata has four levels. libyaml's time grows with the square of it."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
COMPLEX_KEY = "(a key that is not text)"
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null"))
STANDARD_TAGS = PLAIN_TAGS | {"tag:yaml.org,2002:str"}


@frozen
class YamlFile:
    """What was read of one file: its top mapping, or else the problem with the whole file.

    `raw` is the text of the file as far as it could be read at all; None if it could not be opened.
    """

    name: str
    root: Fields | None
    problem: Problem | None
    raw: bytes | None


class _Unreadable(Exception):
    """The file as a whole cannot be read; turned into a Problem before it leaves this module."""

    def __init__(self, line: int, read: str, right: str) -> None:
        super().__init__(read)
        self.line, self.read, self.right = line, read, right


def read_yaml(path: Path, name: str) -> YamlFile:
    """Read one file; `name` is how places name it. Whatever is wrong becomes `problem`."""
    raw: bytes | None = None
    try:
        raw = _read_bytes(path)
        return YamlFile(name, _Composer(name).compose(_events(raw)), None, raw)
    except _Unreadable as error:
        problem = Problem(place=Place(name, error.line), sync=None, read=error.read, right=error.right)
        return YamlFile(name, None, problem, raw)


def _read_bytes(path: Path) -> bytes:
    try:
        # A named pipe would block the reader for good, so only regular files are opened.
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not a file that exists"
            raise _Unreadable(1, f"this is {kind}", "a hieradata file is a regular file")
        if path.stat().st_size > LARGEST_FILE:
            raise _Unreadable(
                1, f"the file is larger than {LARGEST_FILE} bytes", "split it into files by node class"
            )
        return path.read_bytes()
    except OSError as error:
        raise _Unreadable(
            1, f"the file cannot be read: {error.strerror}", "give Airflow's user read access"
        ) from None


def _events(raw: bytes) -> Iterator[yaml.Event]:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _Unreadable(line, f"byte {error.start} is not UTF-8", "save the file as UTF-8") from None
    try:
        yield from yaml.parse(raw, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        read = f"the YAML does not parse: {error.problem or error.context}"
        raise _Unreadable(line, read, "correct it here or just above") from None
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        reason = getattr(error, "reason", "it cannot be read")
        line = raw.count(b"\n", 0, position) + 1
        raise _Unreadable(line, f"the YAML does not parse: {reason}", "correct it here") from None


@define
class _Open:
    """A list or mapping whose end has not come yet."""

    place: Place
    anchor: str | None
    is_mapping: bool
    nodes: list[Node] = field(factory=list)
    size_before: int = 0


def _line(event: yaml.Event) -> int:
    return 1 if event.start_mark is None else event.start_mark.line + 1


class _Composer:
    """Events to nodes, with an explicit stack and a running count of the expanded nodes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.open: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.expanded = 0

    def compose(self, events: Iterator[yaml.Event]) -> Fields:
        root: Node | None = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Unreadable(
                        _line(event),
                        "a second YAML document begins",
                        "keep one document in a file: remove this `---`",
                    )
                continue
            node = self._take(event)
            if node is None:
                continue
            if self.open:
                self.open[-1].nodes.append(node)
            else:
                root = node
        if root is None or (isinstance(root, Scalar) and root.is_null):
            raise _Unreadable(1, "the file is empty", "write `govuk_env_sync::tasks:` or remove the file")
        if not isinstance(root, Fields):
            raise _Unreadable(
                root.place.line,
                f"the file holds {shown(root) if isinstance(root, Items) else 'a single value'}",
                "it must be a mapping with keys such as `govuk_env_sync::tasks:`",
            )
        return root

    def _take(self, event: yaml.Event) -> Node | None:
        """Return the node that this event completes, if it does."""
        if isinstance(event, yaml.ScalarEvent):
            self._grow(1, event)
            tag = event.tag
            plain = bool(event.implicit[0]) or tag in PLAIN_TAGS
            node = Scalar(self._place(event), event.value, plain, None if tag in STANDARD_TAGS else tag)
            self._remember(event.anchor, node, 1)
            return node
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(self.open) >= DEEPEST:
                raise _Unreadable(
                    _line(event), f"more than {DEEPEST} levels of nesting", "write fewer levels"
                )
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            # An alias means the latest anchor of its name, even one that has not ended.
            if event.anchor is not None:
                self.anchors.pop(event.anchor, None)
            self.open.append(_Open(self._place(event), event.anchor, is_mapping, size_before=self.expanded))
            self._grow(1, event)
            return None
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            ended = self.open.pop()
            collection = _fields(ended) if ended.is_mapping else Items(ended.place, tuple(ended.nodes))
            self._remember(ended.anchor, collection, self.expanded - ended.size_before)
            return collection
        return None

    def _alias(self, event: yaml.AliasEvent) -> Node:
        line = _line(event)
        if event.anchor not in self.anchors:
            if any(each.anchor == event.anchor for each in self.open):
                raise _Unreadable(
                    line, f"`*{event.anchor}` is inside its own anchor", "an anchor cannot contain itself"
                )
            raise _Unreadable(
                line, f"`*{event.anchor}` names no anchor above it", f"define `&{event.anchor}` first"
            )
        node, size = self.anchors[event.anchor]
        self._grow(size, event)
        return evolve(node, is_alias=True) if isinstance(node, Fields) else node

    def _grow(self, size: int, event: yaml.Event) -> None:
        self.expanded += size
        if self.expanded > MOST_NODES:
            raise _Unreadable(
                _line(event),
                f"the file grows to more than {MOST_NODES} values when its aliases are expanded",
                "use fewer aliases of aliases",
            )

    def _remember(self, anchor: str | None, node: Node, size: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = (node, size)

    def _place(self, event: yaml.Event) -> Place:
        return Place(self.name, _line(event))


def _fields(ended: _Open) -> Fields:
    """Return a mapping whose own keys come before merged ones, as YAML's merge key says."""
    entries: dict[str, Entry] = {}
    repeated: list[Entry] = []
    faults: list[Fault] = []
    merges: list[tuple[Place, Node]] = []
    pairs = iter(ended.nodes)
    for key, value in zip(pairs, pairs, strict=True):
        if isinstance(key, Scalar) and key.plain and key.text == "<<":
            merges.append((key.place, value))
            continue
        entry = Entry(key.text if isinstance(key, Scalar) else COMPLEX_KEY, key.place, value)
        if entry.key in entries:
            repeated.append(entry)
        else:
            entries[entry.key] = entry
    for place, _ in merges[1:]:
        faults.append(
            Fault(place, "`<<` is defined twice", "write `<<: [*first, *second]`; the first one wins")
        )
    for place, value in merges:
        for merged in value.items if isinstance(value, Items) else (value,):
            if isinstance(merged, Fields):
                for name, entry in merged.entries.items():
                    entries.setdefault(name, Entry(name, entry.place, entry.value, merged=True))
                faults.extend(merged.faults)
                faults.extend(merged.repetition(each) for each in merged.repeated)
            else:
                read = f"`<<` is given {shown(merged)}"
                faults.append(Fault(place, read, "write an alias of a mapping, `<<: *anchor`"))
    return Fields(ended.place, entries, tuple(repeated), tuple(faults))
