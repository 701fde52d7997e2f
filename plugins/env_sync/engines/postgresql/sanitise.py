"""Running transformations: all of them, and what goes with them, in one transaction."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import psycopg
from attrs import evolve, frozen
from psycopg import errors, pq

from env_sync.core.errors import TransformationFailed
from env_sync.core.progress import Progress
from env_sync.core.redact import describe_database_error, names_in
from env_sync.domain.changed_rows import Changed, ChangedRows, statement_name, temporary_tables
from env_sync.domain.manifest import Transformation
from env_sync.domain.postprocess.postprocess import Postprocess, SqlPostprocess
from env_sync.engines.base.contract import Stamp
from env_sync.engines.postgresql.access.readers import check_closed
from env_sync.engines.postgresql.background_indexes import Built
from env_sync.engines.postgresql.deferred_statements import Kept
from env_sync.engines.postgresql.definitions import Definitions
from env_sync.engines.postgresql.existing_triggers import StandingBefore, read_standing
from env_sync.engines.postgresql.identifiers import unquoted
from env_sync.engines.postgresql.invariants import ENDED, Held
from env_sync.engines.postgresql.materialized_views import refresh_materialized_views
from env_sync.engines.postgresql.metadata import Closed, write_stamp
from env_sync.engines.postgresql.parallel import MEMORY, run_side_by_side
from env_sync.engines.postgresql.session import Server, Session, server_is_gone
from env_sync.engines.postgresql.shadowing import shadowed_calls, shadows
from env_sync.engines.postgresql.statistics import renew_statistics
from env_sync.engines.postgresql.track_counts import ADVICE, WHY, counts
from env_sync.engines.postgresql.transformation import SEARCH_PATH, Script, code_of, read_script, tokens
from env_sync.engines.postgresql.trigger_writes import PUT_OFF, WrittenBesides, read_triggers

SETTINGS = ("SET work_mem = '64MB'", f"SET maintenance_work_mem = '{MEMORY}'")
"""Of the session of the transformations, which may set others."""
END_OF_FILE = "CLOSE ALL; DEALLOCATE ALL; DISCARD TEMP"
"""Takes away what a transformation made for itself in the session."""
AT_THE_END = f"{PUT_OFF} ALL IMMEDIATE"
"""Runs what triggers put off to the end of the transaction."""
DROPPED = "Incoming is dropped, live is untouched."
"""What becomes of the copies where the transformations of a pull fail."""
COUNTED = ("INSERT", "UPDATE", "DELETE", "MERGE")
"""What the server tells the rows of (https://www.postgresql.org/docs/current/protocol-message-formats.html)."""
IS_TABLE = (
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relpersistence OPERATOR(pg_catalog.<>) 't' "
    "AND pg_catalog.lower(relname) OPERATOR(pg_catalog.=) pg_catalog.lower(%s) "
    "AND pg_catalog.pg_table_is_visible(oid))"
)
"""Asked where the transformation has names looked up, and so operators: each is the server's own."""
COPYING = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)


T = TypeVar("T")


class Look(Protocol):
    """What looks, after each statement, at what code of the data did."""

    def warnings(self, session: Session, where: str, text: str, changed: Changed | None, /) -> Iterator[str]:
        """What to say of a statement that was just run, by its file and line."""


@frozen(kw_only=True)
class Read:
    """A transformation that was read: what will be run, and what the proof will say of it."""

    script: Script
    said: Transformation
    is_rule: bool = False
    """Whether it is a postprocess: in some databases there is nothing for its rule to change."""


def read_transformations(files: Sequence[Path]) -> tuple[Read, ...]:
    """Read the files once; what is run is what was hashed.

    Raises TransformationFailed for one that cannot be read or holds no statement.
    """
    found = []
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as problem:
            raise TransformationFailed(
                f"Transformation {file.name} could not be read: {problem.strerror}. It belongs in "
                "include/transformation_sql/ on this worker."
            ) from None
        said = Transformation(name=file.name, sha256=hashlib.sha256(content).hexdigest())
        script = read_script(file, content)
        if not script.statements:
            # A full disk or a broken deployment leaves one, and what it should have changed would be live.
            raise TransformationFailed(
                f"Transformation {file.name} holds no statement, so it would sanitise nothing. Write it, or "
                "take it out of hieradata where nothing is to be sanitised. Nothing was run."
            )
        found.append(Read(script=script, said=said))
    return tuple(found)


def as_transformations(postprocess: Sequence[Postprocess]) -> tuple[Read, ...]:
    """A postprocess as a transformation that was read. Raises TransformationFailed for one that is no SQL."""
    found = []
    for one in postprocess:
        if not isinstance(one, SqlPostprocess):
            raise TransformationFailed(
                f"Postprocess {one.rule} does not run on postgresql: nothing of it was run. Correct its "
                "binding in hieradata."
            )
        # Errors name the script by the last part of its path.
        script = read_script(Path(f"postprocess {one.rule}"), one.sql("postgresql").encode())
        said = Transformation(name=one.name, sha256=one.sha256)
        found.append(Read(script=script, said=said, is_rule=True))
    return tuple(found)


def run_transformations(
    session: Session,
    transformations: Sequence[Read],
    finish: Callable[[], T],
    changed_rows: ChangedRows,
    *,
    settings: Sequence[str] = (),
    comments: int = 0,
    aftermath: str = DROPPED,
) -> T:
    """Run them in one transaction, with `finish` at its end; gives what that gives.

    `changed_rows` is told what each statement changed. `settings` are statements that set, beside ours, what
    each transformation begins with. `finish` writes so many `comments` on databases. `aftermath` says in
    errors what becomes of the databases. Raises TransformationFailed, and psycopg.Error where the server went
    away: the transaction is rolled back, or, where a transformation ended it, what it did is there without a
    proof; the caller drops the database.
    """
    file = ""
    try:
        with session.transaction():
            if transformations and not counts(session):
                raise TransformationFailed(f"{WHY}; nothing of them was run. {aftermath} {ADVICE}")
            shadowing = shadows(session) if transformations else ()
            definitions = Definitions()
            looks: tuple[Look, ...] = ()
            if transformations:
                besides = WrittenBesides(session, read_triggers(session))
                looks = (StandingBefore(read_standing(session)), besides, definitions)
            for transformation in transformations:
                file = transformation.said.name
                # What one file sets, and makes for itself in the session, the next must not inherit.
                session.set_anew(*SETTINGS, *settings, SEARCH_PATH)
                changed_rows.warn(shadowed_calls(session, transformation.script, shadowing))
                definitions.begin(session)
                _run(session, transformation, looks, changed_rows, aftermath)
                session.execute(END_OF_FILE)
            file = ""
            if transformations:
                definitions.begin(session)
                # What triggers put off is done before the proof, and not at the commit behind it.
                session.set_anew(*SETTINGS, *settings, AT_THE_END)
                _refuse_reach(session, aftermath)
                for look in looks:
                    changed_rows.warn(look.warnings(session, "At the end", AT_THE_END, None))
            session.set_anew(*SETTINGS, *settings)
            finished = finish()
            if transformations:
                _refuse_reach(session, aftermath, comments)
            return finished
    except psycopg.Error as error:
        if server_is_gone(error):
            raise
        where = f"Transformation {file}" if file else "The transaction of the transformations"
        said = describe_database_error(error, strict=True)
        raise TransformationFailed(f"{where} failed: {said}. {aftermath}") from None


def prove(session: Session, server: Server, database: str, proof: Stamp, kept: Closed | None) -> Stamp:
    """Within the transaction of the transformations, at its end: write the proof into a closed copy.

    `kept` is how it was when it was opened. Materialised views are filled anew before it. Raises
    TransformationFailed where one cannot be, others could connect to the copy, or its statistics tell of raw
    rows, and psycopg.Error.
    """
    if proof.transformations:
        refresh_materialized_views(session)
    renew_statistics(session)
    check_closed(session, server, database, TransformationFailed, kept=kept)
    write_stamp(session, database, proof)
    return proof


def _run(
    session: Session,
    transformation: Read,
    looks: Sequence[Look],
    changed_rows: ChangedRows,
    aftermath: str,
) -> None:
    """Run its statements one by one, and see after each that what must hold still does."""
    script = transformation.script
    held = Held.of(session)
    code = code_of(script.text)
    temporary = temporary_tables(code)
    for begin, text in script.parts():
        where = f"Transformation {script.file.name}, line {script.line_at(begin)}"
        results = session.script(text)
        _refuse_failure(script, begin, results, aftermath)
        if session.status != pq.TransactionStatus.INTRANS:
            raise TransformationFailed(f"{where}: it {ENDED}. {aftermath}")
        if (broken := held.broken_by(session, text)) is not None:
            raise TransformationFailed(f"{where}: it {broken}. {aftermath}")
        # Each result is a statement's: what a rule runs in its place or beside it has none.
        changed = next((one for result in results if (one := _changed(script, begin, text, result))), None)
        if changed is not None:
            name = changed.what.rpartition(" ")[2]
            usual = transformation.is_rule or (name in temporary and not _is_table(session, name))
            changed_rows.add(evolve(changed, may_find_none=usual))
        told = f"{script.file.name}:{script.line_at(begin)}"
        for look in looks:
            changed_rows.warn(look.warnings(session, told, text, changed))


def _refuse_reach(session: Session, aftermath: str, comments: int = 0) -> None:
    """Raises TransformationFailed if the transaction changed what is outside of the database.

    So many comments on databases are ours.
    """
    held = Held.of(session, comments)
    if held.reached:
        raise TransformationFailed(
            f"The transaction of the transformations {held.told_of_reach}. {aftermath}"
        )


def _refuse_failure(script: Script, begin: int, results: Sequence[pq.abc.PGresult], aftermath: str) -> None:
    """Raises TransformationFailed, or psycopg.Error where the server went away, if a statement failed."""
    last = results[-1] if results else None
    name = script.file.name
    if last is not None and last.status in COPYING:
        raise TransformationFailed(
            f"Transformation {name}, line {script.line_at(begin)}: COPY from or to the client cannot be run "
            f"here: write INSERT, or leave it out. {aftermath}"
        )
    if last is not None and last.status == pq.ExecStatus.FATAL_ERROR:
        error = errors.error_from_result(last)
        if server_is_gone(error):
            raise error
        said = describe_database_error(error, names_in(script.text), strict=True)
        position = error.diag.statement_position
        line = script.line_at(begin + (int(position) - 1 if position else 0))
        raise TransformationFailed(
            f"Transformation {name}, line {line}: {said}. {aftermath} Correct the transformation and "
            "run the group again."
        )


def _changed(script: Script, begin: int, text: str, result: pq.abc.PGresult) -> Changed | None:
    said = (result.command_status or b"").decode().split()
    if not said or said[0] not in COUNTED:
        return None
    parts = [
        unquoted(token.text)
        for token in tokens(text)
        if token.kind in ("word", "identifier") or token.text == "."
    ]
    return Changed(
        file=script.file.name,
        line=script.line_at(begin),
        what=statement_name(parts, said[0]),
        rows=int(said[-1]),
    )


def _is_table(session: Session, name: str) -> bool:
    """Whether a name without a schema is that of a table of the data, and of no temporary one alone."""
    found: bool = session.value(IS_TABLE, [name])
    return found


def settle(server: Server, database: str, jobs: int, log: logging.Logger) -> None:
    """Make incoming fast at once: VACUUM and ANALYZE on all its tables, the largest first.

    It also clears away the row versions that the transformations replaced. What fails is logged: the
    server's own autovacuum does the same later.
    """
    with server.session(database) as session:
        tables = [
            name
            for (name,) in session.execute(
                "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c "
                "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relkind IN ('r', 'm') AND n.nspname NOT LIKE 'pg\\_%' "
                "AND n.nspname <> 'information_schema' ORDER BY c.relpages DESC, 1"
            )
        ]
        # Statistics over all partitions together; VACUUM has done the partitions.
        trees = [
            name
            for (name,) in session.execute(
                "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c "
                "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'p' ORDER BY 1"
            )
        ]
    failed = run_side_by_side(
        server, database, [f"VACUUM (ANALYZE) {name}" for name in tables], jobs, go_on=True
    )
    failed += run_side_by_side(server, database, [f"ANALYZE {name}" for name in trees], 1, go_on=True)
    if failed:
        log.warning(
            "%d of the VACUUM and ANALYZE statements in %s failed; queries may be slow at first. The "
            "first: %s",
            len(failed),
            database,
            f"{failed[0].statement}: {failed[0].why}",
        )


def build_indexes(
    server: Server, database: str, kept: tuple[Kept, ...], built: Built, jobs: int, progress: Progress
) -> None:
    """Build what waited for the transformations: indexes side by side, then what joins and describes them.

    `built` is what was built meanwhile.
    Raises TransformationFailed, with the name of the index; the caller drops the database.
    """
    indexes = [each for each in kept if each.index and each not in built.indexes]
    progress.start(f"indexes of {database}", len(indexes), "items")
    failed = built.failed or run_side_by_side(
        server, database, [each.sql for each in indexes], jobs, go_on=False, on_done=progress.advance
    )
    if not failed:
        others = [each.sql for each in kept if not each.index]
        failed = run_side_by_side(server, database, others, 1, go_on=False)
    if failed:
        # Named, not quoted: an index may have a condition.
        name = next((f"{each.schema}.{each.index}" for each in kept if each.sql == failed[0].statement), "")
        raise TransformationFailed(
            f"Index {name} waited for the transformations and could not be built on what they left: "
            f"{failed[0].why}. Incoming is dropped, live is untouched. Correct the transformation, or set "
            "indexes_after_transformation to `never`, which shows the statement that stands against it."
        )
    progress.finish()
