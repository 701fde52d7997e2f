"""Choosing the dump that is restored, out of what a bucket holds. Pure: `s3` looks, this decides."""

from __future__ import annotations

import datetime as dt
import difflib

from attrs import frozen

from env_sync.core.errors import DumpTooSmall, NothingToRestore
from env_sync.core.plural import plural
from env_sync.domain.manifest import Manifest
from env_sync.store.dump_keys import folder, parse_dump_key, timestamp_text

MEGABYTE = 1_000_000
SHOWN = 5
"""How many timestamps or names an error lists."""


@frozen(kw_only=True)
class StoredDump:
    """A dump as the bucket lists it: timestamp from its key (UTC), size in bytes, ETag with its quotes."""

    key: str
    database: str
    timestamp: dt.datetime
    size: int
    etag: str

    @property
    def timestamp_text(self) -> str:
        """As it is asked for, e.g. `2026-11-23T010203Z`."""
        return timestamp_text(self.timestamp)


@frozen(kw_only=True)
class Survey:
    """What a bucket holds of one database: its dumps, and the evidence that they are whole."""

    bucket: str
    path: str
    database: str
    dumps: tuple[StoredDump, ...]
    """Newest first."""
    described: frozenset[str]
    """The keys of those of `dumps` that have a manifest."""
    pointer: str | None
    """The key that the pointer names, as it was read."""
    others: tuple[str, ...] = ()
    """Other databases with dumps under the same path, sorted; not all of them where there are very many."""

    @property
    def pointed(self) -> dt.datetime | None:
        """The timestamp in the key that the pointer names, whether or not that dump is still there."""
        name = parse_dump_key(self.path, self.pointer) if self.pointer else None
        return name.timestamp if name and name.database == self.database else None

    @property
    def whole(self) -> tuple[StoredDump, ...]:
        """The dumps that may be restored, newest first.

        A manifest and the pointer are written after a dump, so either is evidence that it is whole. Dumps
        from before there was any evidence (the shell script wrote no manifests) are taken as whole. What
        has none, though others before it have, is still being written or was abandoned.
        """
        evident = {dump.timestamp for dump in self.dumps if dump.key in self.described}
        if self.pointed is not None:
            evident.add(self.pointed)
        first = min(evident, default=None)
        return tuple(
            dump
            for dump in self.dumps
            if first is None
            or dump.timestamp < first
            or dump.key in self.described
            or dump.key == self.pointer
        )


@frozen(kw_only=True)
class Choice:
    """The dump that is restored, and what is worth saying about how it was chosen."""

    key: str
    database: str
    timestamp: dt.datetime
    size: int
    etag: str
    manifest: Manifest | None
    previous_size: int | None
    """Bytes of the next older whole dump; None where there is none."""
    notes: tuple[str, ...]

    @property
    def timestamp_text(self) -> str:
        """As it is asked for, e.g. `2026-11-23T010203Z`."""
        return timestamp_text(self.timestamp)


def choose(survey: Survey, *, asked: dt.datetime | None = None, min_size_ratio: float = 0.5) -> Choice:
    """The newest whole dump, or exactly the one that is asked for by its timestamp; manifest is left None.

    Raises NothingToRestore where there is none, naming what is there instead; and DumpTooSmall where the
    newest is smaller than `min_size_ratio` of the next older one, which asking for it by timestamp overrules.
    """
    whole = survey.whole
    if not survey.dumps:
        raise NothingToRestore(_nothing_at_all(survey))
    notes = list(_notes(survey, whole))
    if asked is None:
        if not whole:
            raise NothingToRestore(
                f"{_place(survey)} holds no whole dump of {survey.database}: {'; '.join(notes)}. "
                "Run the push again, and look into why the last one did not end"
            )
        chosen = whole[0]
    else:
        found = [dump for dump in whole if dump.timestamp == asked]
        if not found:
            raise NothingToRestore(_not_that_one(survey, whole, asked))
        # Both styles may name the same second: evidence first.
        chosen = max(found, key=lambda dump: (dump.key in survey.described, dump.key == survey.pointer))
        notes = []
    older = next((dump for dump in whole if dump.timestamp < chosen.timestamp), None)
    if older is not None and chosen.size < min_size_ratio * older.size:
        sizes = (
            f"{chosen.key} is {_megabytes(chosen.size)}, the dump before it, {older.key}, "
            f"is {_megabytes(older.size)}"
        )
        if asked is None:
            raise DumpTooSmall(
                f"{sizes}: less than {min_size_ratio:g} of it (min_size_ratio), so it was not restored. "
                f"If it is right, ask for it by timestamp: {timestamp_text(chosen.timestamp)}. "
                "If not, look into the push that made it"
            )
        notes.append(f"{sizes}; restored because it was asked for")
    return Choice(
        key=chosen.key,
        database=chosen.database,
        timestamp=chosen.timestamp,
        size=chosen.size,
        etag=chosen.etag,
        manifest=None,
        previous_size=older.size if older else None,
        notes=tuple(notes),
    )


def _notes(survey: Survey, whole: tuple[StoredDump, ...]) -> list[str]:
    notes = []
    newest = whole[0].timestamp if whole else None
    passed = [dump.key for dump in survey.dumps if dump not in whole]
    passed = [key for key in passed if newest is None or _later(survey, key, newest)]
    if passed:
        more = f" and {len(passed) - SHOWN} more" if len(passed) > SHOWN else ""
        notes.append(
            f"not chosen, with neither manifest nor pointer (still being written, or abandoned): "
            f"{', '.join(passed[:SHOWN])}{more}"
        )
    if survey.pointer is not None and survey.pointer not in {dump.key for dump in survey.dumps}:
        notes.append(f"the pointer names {survey.pointer[:200]!r}, which is not there")
    return notes


def _later(survey: Survey, key: str, than: dt.datetime) -> bool:
    return any(dump.key == key and dump.timestamp > than for dump in survey.dumps)


def _nothing_at_all(survey: Survey) -> str:
    if not survey.others:
        there = "and no dump of any other database"
    else:
        close = difflib.get_close_matches(survey.database, survey.others, n=SHOWN, cutoff=0.5)
        close += [
            name
            for name in survey.others
            if name not in close and (survey.database in name or name in survey.database)
        ]
        shown = (close or list(survey.others))[:SHOWN]
        rest = len(survey.others) - len(shown)
        more = f" and of {plural(rest, 'other database')}" if rest > 0 else ""
        there = f"but dumps of {', '.join(shown)}{more}"
    return (
        f"{_place(survey)} holds no dump of {survey.database}, {there}. "
        "Check `database`, `path` and `url` of the sync, or run the push first"
    )


def _not_that_one(survey: Survey, whole: tuple[StoredDump, ...], asked: dt.datetime) -> str:
    unfinished = [dump.key for dump in survey.dumps if dump.timestamp == asked]
    nearest = sorted(whole, key=lambda dump: abs(dump.timestamp - asked))[:SHOWN]
    times = ", ".join(timestamp_text(dump.timestamp) for dump in nearest)
    what = (
        f"{_place(survey)} holds no dump of {survey.database} of {timestamp_text(asked)}"
        if not unfinished
        else f"{unfinished[0]} in {_place(survey)} has neither manifest nor pointer: "
        "it is still being written, or was abandoned"
    )
    return f"{what}. The nearest are: {times}" if times else f"{what}. There is no other"


def _place(survey: Survey) -> str:
    return f"s3://{survey.bucket}/{folder(survey.path)}"


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.1f} MB" if size >= MEGABYTE else f"{size} bytes"
