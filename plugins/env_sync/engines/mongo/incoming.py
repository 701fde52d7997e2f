"""Incoming: filling it from a dump, carrying it beside live once it is sanitised, and dropping it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from env_sync.core.errors import NameRefused, RestoreFailed
from env_sync.core.progress import Progress
from env_sync.core.stopwatch import Stopwatch
from env_sync.engines.mongo.archive import BUCKETS, Documents
from env_sync.engines.mongo.bson_stream import BATCH
from env_sync.engines.mongo.catalogue import Entry, read_catalogue, write_catalogue
from env_sync.engines.mongo.creating import build_indexes, create
from env_sync.engines.mongo.definitions import Kind, shown
from env_sync.engines.mongo.loading import load
from env_sync.engines.mongo.metadata import KEY as STAMP_KEY
from env_sync.engines.mongo.names import CATALOGUE, STAGED, STAMP, Copies, Place
from env_sync.engines.mongo.session import Session


@frozen(kw_only=True)
class Filling:
    """All that filling a place works with."""

    session: Session
    place: Place
    entries: Sequence[Entry]
    jobs: int
    progress: Progress
    stopwatch: Stopwatch


def fill(work: Filling, batches: Callable[[], Iterator[Documents]], *, unique: bool | None) -> None:
    """Make every collection, load the documents, then build the indexes: all, or with `unique` only those.

    Raises RestoreFailed where a collection does not have what it was given, and PyMongoError.
    """
    session, place = work.session, work.place
    write_catalogue(session, place, work.entries)
    filled = [entry for entry in work.entries if entry.filled]
    names = {entry.name: place.name(entry.number, entry.name) for entry in filled}
    with work.stopwatch.part("collections"):
        for entry in filled:
            # What a transformation takes away must not stay in an image of what was before.
            images = place.beside_live
            create(session, place.database, names[entry.name], entry.definition, images=images)
    with work.stopwatch.part("documents"):
        work.progress.start(f"documents of {place.database}", None, "bytes")
        counts = load(
            session,
            place.database,
            names,
            _with_buckets_refused(batches()),
            in_order=frozenset(each.name for each in filled if each.definition.options.get("capped")),
            jobs=work.jobs,
            progress=work.progress,
        )
        work.progress.finish()
        for entry in filled:
            _check_count(session, place, entry, names[entry.name], counts[entry.name])
    with work.stopwatch.part("indexes"):
        work.progress.start(f"indexes of {place.database}", len(filled), "items")
        for entry in filled:
            build_indexes(session, place.database, names[entry.name], entry.definition, unique=unique)
            work.progress.advance(1)
        work.progress.finish()


def documents_of(session: Session, place: Place, entries: Sequence[Entry]) -> Iterator[Documents]:
    """Every document of a place, collection by collection, under its name in live."""
    for entry in entries:
        if not entry.filled:
            continue
        parts: list[bytes] = []
        size = 0
        for batch in session.cursor(place.database, {"find": place.name(entry.number, entry.name)}):
            parts += [bytes(each.raw) for each in batch]
            size += sum(len(each.raw) for each in batch)
            if size >= BATCH:
                yield Documents(entry.name, b"".join(parts))
                parts, size = [], 0
        if parts:
            yield Documents(entry.name, b"".join(parts))


def check_ours(session: Session, copies: Copies) -> None:
    """Raises NameRefused where a database of somebody else has the name of incoming.

    Raises PyMongoError.
    """
    if not _is_ours(session, copies.alone, _names(session, copies.alone)):
        raise NameRefused(
            f"{_not_ours(session, copies)} Nothing was touched. Drop it where it was incoming, or where "
            "nobody needs it; else rename it."
        )


def _not_ours(session: Session, copies: Copies) -> str:
    """What to say of a database under the name of incoming that cannot be told for ours."""
    return (
        f"There is a database {copies.alone.database} on {session.server}, where incoming of {copies.live} "
        "would be, and Env Sync did not make it: it carries no stamp. Or its stamp was lost, and it holds "
        "documents that are not sanitised."
    )


def _names(session: Session, place: Place) -> set[str]:
    """The collections of a database, but for the server's own."""
    # A profile stays where somebody switched the profiler on and off.
    return {name for name in session.names(place.database) if not name.startswith("system.")}


def _is_ours(session: Session, place: Place, names: set[str]) -> bool:
    """Whether Env Sync made all that is in a database of these collections: nothing is ours as well.

    Ours has a stamp from before there is anything else in it. Where that was lost, as when the server
    stopped in the midst of dropping it, it is known by its catalogue, if that names every other collection.
    """
    if not names:
        return True
    if STAMP in names and session.find_one(place.database, STAMP, STAMP_KEY) is not None:
        return True
    if CATALOGUE not in names:
        return False
    try:
        noted = {entry.name for entry in read_catalogue(session, place)}
    except RestoreFailed:
        return False
    return names <= {*noted, STAMP, CATALOGUE}


@frozen(kw_only=True)
class Dropped:
    """What became of incoming, in words."""

    dropped: tuple[str, ...]
    left: str
    """What stays in its place because nothing shows that it is ours; "" for nothing."""


def drop_incoming(session: Session, copies: Copies) -> Dropped:
    """Drop incoming wherever it is, if Env Sync made it. Raises PyMongoError."""
    dropped, left = [], ""
    # The raw one first: whatever stops this, nobody is to find that.
    names = _names(session, copies.alone)
    if not _is_ours(session, copies.alone, names):
        left = f"{_not_ours(session, copies)} It was left alone: look at it"
    elif names:
        session.drop_database(copies.alone.database)
        dropped.append(copies.alone.database)
    staged = sorted(name for name in session.names(copies.live) if name.startswith(STAGED))
    for name in staged:
        session.drop(copies.live, name)
    if staged:
        dropped.append(f"{len(staged)} collections {STAGED}* of {copies.live}")
    return Dropped(dropped=tuple(dropped), left=left)


def _with_buckets_refused(batches: Iterator[Documents]) -> Iterator[Documents]:
    for batch in batches:
        if batch.collection.startswith(BUCKETS):
            raise RestoreFailed(
                f"The dump holds time series {shown(batch.collection.removeprefix(BUCKETS))} in mongodump's "
                "buckets, which Env Sync does not load: push it with Env Sync, which dumps measurements, "
                "or leave the collection out of the dump. Live is untouched."
            )
        yield batch


def _check_count(session: Session, place: Place, entry: Entry, name: str, loaded: int) -> None:
    """Whatever else wrote there, or was lost on the way, is found out before it can be live."""
    if entry.definition.kind is Kind.TIMESERIES or entry.definition.options.get("capped"):
        return
    there = session.count(place.database, name)
    if there != loaded:
        raise RestoreFailed(
            f"Collection {shown(entry.name)} of incoming holds {there} documents, and {loaded} were loaded: "
            "something else writes there. Live is untouched; run the group again."
        )
