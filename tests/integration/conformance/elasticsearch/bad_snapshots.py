"""Repositories that are damaged, each in a way of its own: whoever pulls from one must say so and stop."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from env_sync.engines.elasticsearch.names import CONTENTS
from tests.integration.conformance.elasticsearch.snapshots import as_tar, unpacked
from tests.integration.conformance.subject import BadDump

Change = Callable[[bytes], bytes | None]
"""What becomes of a file; None where it is gone."""
GAVE_UP = "could not be restored: the cluster gave up"
UNREADABLE = "cannot read the snapshot repository"
NOT_RESTORED = "could not be restored: "
NONE = "has no whole snapshot of"
RECORD = "cannot be read: files of it are damaged or gone"


def bad_snapshots(good: bytes, other: bytes) -> Mapping[str, BadDump]:
    """Damaged copies of a repository with one snapshot; `other` is one with a snapshot of another cluster."""
    files = unpacked(good)
    return {
        name: BadDump(content=as_tar(_with(files, file, change)), says=says)
        for name, (file, change, says) in _damages(files)
    } | {
        "empty": BadDump(content=as_tar({}), says=NONE),
        "of another cluster": BadDump(content=other, says=NONE),
    }


def _damages(files: Mapping[str, bytes]) -> Iterator[tuple[str, tuple[str, Change, str]]]:
    """Each by what it is: a file, what is done to it, and what must be said."""
    root = _one(files, "index-")
    said = json.loads(files[root])
    folders = {name: f"indices/{each['id']}/" for name, each in said["indices"].items()}
    [people] = [folder for name, folder in folders.items() if "-people-" in name]
    shard = f"{people}0/"
    largest = max(
        (name for name in files if name.startswith(f"{shard}__")), key=lambda name: len(files[name])
    )
    for percent in (1, 30, 60, 90):
        yield f"documents flipped at {percent} %", (largest, _flipped(percent), GAVE_UP)
    for percent in (0, 10, 50, 99):
        yield f"documents cut at {percent} %", (largest, _cut(percent), GAVE_UP)
    yield "documents gone", (largest, _gone, GAVE_UP)
    of_shard = _one(files, f"{shard}snap-")
    yield "a shard flipped", (of_shard, _flipped(50), GAVE_UP)
    yield "a shard cut", (of_shard, _cut(50), GAVE_UP)
    yield "a shard gone", (of_shard, _gone, GAVE_UP)
    of_index = _one(files, f"{people}meta-")
    yield "an index flipped", (of_index, _flipped(50), NOT_RESTORED)
    yield "an index gone", (of_index, _gone, UNREADABLE)
    record = _one(files, f"{folders[CONTENTS]}0/snap-")
    yield "its record flipped", (record, _flipped(50), RECORD)
    yield "its record gone", (record, _gone, RECORD)
    snapshot = _one(files, "snap-")
    yield "the snapshot flipped", (snapshot, _flipped(50), NONE)
    yield "the snapshot gone", (snapshot, _gone, NONE)
    yield "the repository cut", (root, _cut(50), UNREADABLE)
    yield "the repository noise", (root, lambda _: bytes(range(256)), UNREADABLE)
    yield "the repository empty", (root, _cut(0), UNREADABLE)
    yield "no snapshot known", (root, _edited(lambda all_of_it: all_of_it["snapshots"].clear()), UNREADABLE)


def _one(files: Mapping[str, bytes], prefix: str) -> str:
    [found] = [name for name in files if name.startswith(prefix) and name != "index.latest"]
    return found


def _with(files: Mapping[str, bytes], file: str, change: Change) -> dict[str, bytes]:
    changed = {name: content if name != file else change(content) for name, content in files.items()}
    return {name: content for name, content in changed.items() if content is not None}


def _flipped(percent: int) -> Change:
    def change(content: bytes) -> bytes:
        at = len(content) * percent // 100
        return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]

    return change


def _cut(percent: int) -> Change:
    return lambda content: content[: len(content) * percent // 100]


def _gone(_: bytes) -> None:
    return None


def _edited(edit: Callable[[Any], None]) -> Change:
    def change(content: bytes) -> bytes:
        said = json.loads(content)
        edit(said)
        return json.dumps(said).encode()

    return change
