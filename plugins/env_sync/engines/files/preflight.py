"""What would stop the syncs of a directory tonight, found by looking alone."""

from __future__ import annotations

import datetime as dt
import os
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import define, field

from env_sync.core.errors import ContentRefused, DumpDamaged
from env_sync.domain.finding import Finding, note, problem
from env_sync.domain.sync import Action
from env_sync.engines.base.contract import DumpHead, Preflight
from env_sync.engines.base.exclusions import excludes_nothing
from env_sync.engines.files.access import look_at_entering, who_enters
from env_sync.engines.files.archive import check_beginning, stays_inside
from env_sync.engines.files.exclusions import excluder
from env_sync.engines.files.metadata import read_record
from env_sync.engines.files.place import Place, check_folder, check_live
from env_sync.engines.files.swap import is_there

LOOK = 10.0
"""Seconds after which a look at a directory gives up: there may be millions of files."""


def look_at_root(place: Place, action: Action) -> Iterator[Finding]:
    """Look at what all directories of one root share. Raises ServerUnreachable, AccessRefused."""
    check_folder(place)
    where = f"{place.root} on {socket.gethostname()}"
    yield note(
        f"Files are local to a machine: this one, {socket.gethostname()}, was looked at.",
        "If the sync's queue is served by another, look there.",
    )
    writable = place.hidden if is_there(place.hidden) else place.root
    if not os.access(writable, os.R_OK | os.W_OK | os.X_OK):
        yield problem(
            f"The user of this worker (number {os.geteuid()}) may not write to {writable}, where it keeps "
            "who may touch which directory.",
            f"As an administrator: install -d -m 0700 -o '#{os.geteuid()}' {place.hidden}",
        )
    if action is Action.PULL:
        if not os.access(place.root, os.W_OK | os.X_OK):
            yield problem(
                f"The user of this worker (number {os.geteuid()}) may not rename what is in {where}.",
                "Let it write to that directory.",
            )
        if os.geteuid() != 0:
            yield note(
                f"The user of this worker (number {os.geteuid()}) is not root: after a pull all files belong "
                "to it, whoever they belonged to before.",
                "If applications need them to be theirs, let workers of this queue run as root.",
            )


def look_at_push(place: Place, excluded: Sequence[str]) -> Preflight:
    """Look at a directory that is to be dumped."""
    if not is_there(place.live):
        return Preflight(findings=(problem(f"There is no directory {place}."),), live_size=None)
    look = _Look(place, excluded)
    look.run()
    return Preflight(findings=tuple(look.findings()), live_size=look.size if look.complete else None)


def look_at_pull(
    place: Place, transformations: Sequence[Path], head: DumpHead | None, *, keep_previous: bool
) -> Preflight:
    """Look at a directory that is to be replaced."""
    findings = [
        problem(f"{file.name} cannot be run on files.", "Take transformation_sql_filename out of the sync.")
        for file in transformations
    ]
    if head is not None:
        try:
            check_beginning(head.first, head.key)
        except DumpDamaged as damaged:
            findings.append(problem(str(damaged)))
    size = None
    try:
        if check_live(place):
            look = _Look(place, ())
            look.run()
            size = look.size if look.complete else None
        else:
            findings.append(
                note(
                    f"There is no directory {place}: the first pull makes it, and only the user of this "
                    "worker can enter it then."
                )
            )
    except ContentRefused as refused:
        findings.append(problem(str(refused)))
    findings += look_at_entering(place)
    findings += _leftovers(place, keep_previous=keep_previous)
    return Preflight(findings=tuple(findings), live_size=size, said=who_enters(place))


def _leftovers(place: Place, *, keep_previous: bool) -> Iterator[Finding]:
    now = dt.datetime.now(dt.UTC)
    for copy, advice in (
        (place.incoming, "A sync may be at work on it now; else the next one removes it."),
        *(() if keep_previous else ((place.previous, "Remove it to have its room."),)),
    ):
        record = read_record(place, copy)
        if record is None:
            continue
        stamp = record.stamp
        of = (
            f"{(now - stamp.changed).total_seconds() / 3600:.0f} hours old, {stamp.state}"
            if stamp
            else "of unknown age, without a stamp"
        )
        yield note(f"{copy} is there: {of}.", advice)


@define
class _Look:
    """A walk through a directory, for as long as somebody waits."""

    place: Place
    excluded: Sequence[str]
    size: int = 0
    complete: bool = False
    leaving: list[str] = field(factory=list)
    unreadable: list[str] = field(factory=list)
    matched: set[str] = field(factory=set)

    def run(self) -> None:
        """Walk."""
        matches = excluder(self.excluded)
        until = time.monotonic() + LOOK
        todo: list[tuple[Path, str, int]] = [(self.place.live, "", 0)]
        while todo:
            folder, path, depth = todo.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError:
                self.unreadable.append(path or ".")
                continue
            for entry in entries:
                if time.monotonic() > until:
                    return
                inner = f"{path}/{entry.name}" if path else entry.name
                if (pattern := matches(inner)) is not None:
                    self.matched.add(pattern)
                    continue
                if entry.is_dir(follow_symlinks=False):
                    todo.append((Path(entry.path), inner, depth + 1))
                else:
                    self._file(entry, inner, depth)
        self.complete = True

    def findings(self) -> Iterator[Finding]:
        """What was seen."""
        if self.leaving:
            yield problem(
                f"{len(self.leaving)} symlinks in {self.place} leave the directory, so that it cannot be "
                f"pushed; the first is {self.leaving[0]!r}.",
                "Make them relative ones to something in the directory, or leave them out with "
                "excluded_tables.",
            )
        if self.unreadable:
            yield problem(
                f"The user of this worker (number {os.geteuid()}) may not read {len(self.unreadable)} files "
                f"or directories in {self.place}; the first is {self.unreadable[0]!r}.",
                "Let it read them, or leave them out with excluded_tables.",
            )
        if not self.complete:
            yield note(f"{self.place} holds too many files to look at all of them in {LOOK:.0f} seconds.")
            return
        for pattern in self.excluded:
            if pattern not in self.matched:
                yield note(
                    f"{excludes_nothing(pattern, str(self.place))}.",
                    "Correct it, or take it out.",
                )

    def _file(self, entry: os.DirEntry[str], path: str, depth: int) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                if not stays_inside(str(Path(entry.path).readlink()), depth):
                    self.leaving.append(path)
            elif stat.S_ISREG(status.st_mode):
                self.size += status.st_blocks * 512
                if not os.access(entry.path, os.R_OK):
                    self.unreadable.append(path)
        except FileNotFoundError:
            # It went away meanwhile.
            return
