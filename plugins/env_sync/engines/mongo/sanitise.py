"""Sanitising incoming: the commands of the transformations, one after another, then the postprocess."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from pymongo.errors import BulkWriteError, OperationFailure

from env_sync.core.errors import AccessRefused, TransformationFailed
from env_sync.core.progress import Progress
from env_sync.domain.changed_rows import Changed, ChangedRows, new_names, new_warning
from env_sync.domain.manifest import Transformation
from env_sync.domain.postprocess.postprocess import AFTERMATH, DocumentPostprocess, Postprocess
from env_sync.engines.base.command_file import NOTHING_DONE
from env_sync.engines.mongo.catalogue import Entry
from env_sync.engines.mongo.definitions import Definition, Kind, described, shown
from env_sync.engines.mongo.documents import IncomingDocuments
from env_sync.engines.mongo.errors import describe, is_gone
from env_sync.engines.mongo.names import OURS, Place
from env_sync.engines.mongo.session import Session
from env_sync.engines.mongo.transformation import Command, Read, unknown_collections


def run_transformations(
    session: Session,
    place: Place,
    entries: Sequence[Entry],
    transformations: Sequence[Read],
    progress: Progress,
    changed_rows: ChangedRows,
) -> None:
    """Run every command. Any error, also of one document, stops it; the caller drops incoming.

    Raises TransformationFailed, AccessRefused, and PyMongoError where the server went away.
    """
    known = {entry.name for entry in entries if entry.definition.kind is Kind.COLLECTION}
    for command, name in unknown_collections(transformations, known):
        raise TransformationFailed(
            f"{command}: there is no collection {shown(name)} in what was restored. {NOTHING_DONE}"
        )
    commands = [command for each in transformations for command in each.commands]
    progress.start(f"transformations of {place.database}", len(commands), "items")
    for command in commands:
        try:
            # What it changed need not fit its `$match` any more.
            found = _finds(session, place, command) if command.name == "aggregate" else None
            reply = session.write(place.database, _as_run(command))
        except (OperationFailure, BulkWriteError) as error:
            if is_gone(error):
                raise
            if error.code == 13:
                raise AccessRefused(
                    f"{command}: the server refused {session.server.connection.login} ({describe(error)}). "
                    f"Give it the role readWrite on {place.database}."
                ) from None
            raise TransformationFailed(f"{command} failed: {describe(error)}. {NOTHING_DONE}") from None
        changed_rows.add(
            Changed(
                file=command.file,
                line=command.line,
                what=f"{command.name} {shown(command.collections[0])}",
                rows=int(reply["n"]) if found is None else found,
            )
        )
        progress.advance(1)
    progress.finish()


def run_postprocess(
    session: Session, place: Place, postprocess: Sequence[Postprocess], changed_rows: ChangedRows
) -> tuple[Transformation, ...]:
    """Run each on incoming, which stands alone; gives what the proof says of them.

    `changed_rows` is told the documents of each, and so warns of one that is for none.
    Raises TransformationFailed, after which the caller drops incoming, and PyMongoError where the server went
    away.
    """
    for one in postprocess:
        if not isinstance(one, DocumentPostprocess):
            raise TransformationFailed(
                f"Postprocess {one.rule} does not run on documents. {AFTERMATH} Correct its binding in "
                "hieradata."
            )
        rows = one.run(IncomingDocuments(session, place.database))
        what = f"update {shown(one.collection)}"
        changed_rows.add(Changed(file=f"postprocess {one.rule}", line=1, what=what, rows=rows))
    return tuple(Transformation(name=one.name, sha256=one.sha256) for one in postprocess)


def new_collections(
    session: Session,
    live: str,
    entries: Sequence[Entry],
    transformations: Sequence[Read],
    postprocess: Sequence[Postprocess],
) -> Iterator[str]:
    """Warnings of collections that live has not, and that neither a command nor a rule names.

    Raises PyMongoError.
    """
    listed = [described(each, ()) for each in session.collections(live)]
    before = {each.name for each in listed if _has_documents(each)}
    named = {name for each in transformations for command in each.commands for name in command.collections}
    named |= {one.collection for one in postprocess if isinstance(one, DocumentPostprocess)}
    now = {each.name for each in (entry.definition for entry in entries) if _has_documents(each)}
    for name in new_names(before, now):
        if name not in named:
            yield new_warning("collection", shown(name))


def _has_documents(definition: Definition) -> bool:
    return definition.kind is not Kind.VIEW and not definition.name.startswith((OURS, "system."))


def _finds(session: Session, place: Place, command: Command) -> int:
    """For how many documents an aggregate is, of which its reply tells nothing: those that it begins with."""
    begins = itertools.takewhile(lambda stage: "$match" in stage, command.body["pipeline"])
    counting = {**command.body, "pipeline": [*begins, {"$count": "n"}], "cursor": {}}
    batch = session.command(place.database, counting)["cursor"]["firstBatch"]
    return int(batch[0]["n"]) if batch else 0


def _as_run(command: Command) -> dict[str, object]:
    if command.name == "aggregate":
        return {**command.body, "cursor": {}}
    # Stopping at the first error that a document makes.
    return {**command.body, "ordered": True}
