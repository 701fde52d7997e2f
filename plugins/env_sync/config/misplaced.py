"""Settings that guard an environment, written so that they set nothing: by a wrong name, or inside something.

Hieradata holds keys of other software too. Of those none is taken for ours but one that names Env Sync, or
that reads, key and value, as the setting does.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache

from attrs import frozen

from env_sync.config.setting_fields import NAMESPACE
from env_sync.config.suggestion import closest
from env_sync.config.yaml_nodes import Entry, Fields, Items, Node, Scalar, shorten
from env_sync.domain.settings import Sanitise

HELD_AS = {"protected": "true", "sanitise": Sanitise.REQUIRED.value}
"""The settings that hold wherever what was written of them cannot be known, and what they then are."""
OURS = (NAMESPACE.rstrip(":"), "env_sync")
NEARLY = 0.85
"""How alike words are (difflib's ratio) of which one is a slip of the pen for the other."""
TRUE = ("true", "yes", "on")


@frozen(eq=False)
class Misplaced:
    """A setting that was meant and sets nothing: where, and inside which top key, or at the top."""

    setting: str
    entry: Entry
    inside: str | None

    @property
    def read(self) -> str:
        """What was read."""
        key = shorten(self.entry.key)
        return f"unknown key `{key}`" if self.inside is None else f"`{key}` is nested in `{self.inside}`"

    @property
    def right(self) -> str:
        """What would be right."""
        where = "" if self.inside is None else " at the beginning of a line"
        counts = f"until then it counts as `{HELD_AS[self.setting]}`"
        return f"write `{NAMESPACE}{self.setting}`{where}; {counts}"


def misplaced(
    root: Fields, known: Collection[str], lists: Collection[str], ours: Callable[[str], bool]
) -> Iterator[Misplaced]:
    """Yield each setting that was meant in a file, and that nothing reads.

    `known` are the top keys that are read, `lists` those of them that hold syncs by name; `ours` tells
    whether another one is Env Sync's by its name.
    """
    # What `<<` brings to the top is read there, wherever its anchor is.
    read = {entry.place for entry in root.entries.values() if entry.key in known}
    for top in (*root.entries.values(), *root.repeated):
        if top.key not in known and (setting := _meant_at_top(top)) is not None:
            yield Misplaced(setting, top, None)
        loose = top.key not in known and ours(top.key)
        for setting, entry in _inside(top.value, loose=loose, of_syncs=top.key in lists):
            if entry.place not in read:
                yield Misplaced(setting, entry, shorten(top.key))


def _meant_at_top(entry: Entry) -> str | None:
    if (setting := _named_as_ours(entry.key)) is not None:
        return setting
    words = re.findall(r"[a-z0-9]+", entry.key[:100].lower())
    last = words[-1] if words else ""
    setting = closest(last, HELD_AS, cutoff=NEARLY)
    if setting is None or not isinstance(entry.value, Scalar):
        return None
    # What reads as the default, or more, takes nothing away where it is not read.
    said = entry.value.text[:100].lower()
    requires = setting == "sanitise" and closest(said, Sanitise, cutoff=NEARLY) == Sanitise.REQUIRED
    return setting if requires or (len(words) == 1 and said in TRUE) else None


def _inside(value: Node, *, loose: bool, of_syncs: bool) -> Iterator[tuple[str, Entry]]:
    """Yield the settings that were meant somewhere inside the value of a top key.

    Those that name Env Sync; where `loose`, bare names as well; where `of_syncs`, such beside syncs and
    beside the fields of one. What those hold has names of its own: `timeouts` has the step `sanitise`.
    """
    seen: set[int] = set()
    nodes: list[tuple[Node, int]] = [(value, 1)]
    while nodes:
        node, depth = nodes.pop()
        # Through aliases a node may be reached by very many ways.
        if isinstance(node, Scalar) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Items):
            nodes += [(each, depth + 1) for each in node.items]
            continue
        for entry in (*node.entries.values(), *node.repeated):
            nodes.append((entry.value, depth + 1))
            if isinstance(entry.value, Fields) and not loose:
                continue
            bare = loose or (of_syncs and depth <= 2)
            setting = _named_as_ours(entry.key) or (_named(entry.key) if bare else None)
            if setting is not None:
                yield setting, entry


@lru_cache(maxsize=4096)
def _named(key: str) -> str | None:
    """The setting of which a key has the name, or nearly."""
    return closest(key[:100].strip(), HELD_AS, cutoff=NEARLY)


@lru_cache(maxsize=4096)
def _named_as_ours(key: str) -> str | None:
    """The setting that a key names together with Env Sync, with whatever signs between them."""
    text = key[:100].lower().replace("-", "_")
    if not any(
        re.search(r"(?:^|_)env_sync(?:_|$)", part) or difflib.get_close_matches(part, OURS, cutoff=NEARLY)
        for part in re.split(r"[^a-z0-9_]+", text)
    ):
        return None
    words = re.split(r"[^a-z0-9]+", text.replace("_", " "))
    return next((name for word in words if (name := closest(word, HELD_AS, cutoff=NEARLY))), None)
