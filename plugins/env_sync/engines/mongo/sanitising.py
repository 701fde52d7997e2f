"""Sanitising incoming: the commands of the transformations, one after another, then the postprocess."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo.errors import BulkWriteError, OperationFailure

from env_sync.changed_rows import Changed, ChangedRows
from env_sync.engines.command_file import NOTHING_DONE
from env_sync.engines.mongo.catalogue import Entry
from env_sync.engines.mongo.definitions import Kind, shown
from env_sync.engines.mongo.documents import IncomingDocuments
from env_sync.engines.mongo.names import Place
from env_sync.engines.mongo.server_errors import describe, is_gone
from env_sync.engines.mongo.session import Session
from env_sync.engines.mongo.transformation import Command, Read, unknown_collections
from env_sync.errors import AccessRefused, TransformationFailed
from env_sync.manifest import Transformation
from env_sync.postprocess.postprocess import AFTERMATH, DocumentPostprocess, Postprocess
from env_sync.progress import Progress


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
        if "n" in reply:
            changed_rows.add(
                Changed(
                    file=command.file,
                    line=command.line,
                    what=f"{command.name} {shown(command.collections[0])}",
                    rows=int(reply["n"]),
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


def _as_run(command: Command) -> dict[str, object]:
    if command.name == "aggregate":
        return {**command.body, "cursor": {}}
    # Stopping at the first error that a document makes.
    return {**command.body, "ordered": True}
