"""Restores an archive into an empty database with pg_restore."""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from env_sync.core import command
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import EnvSyncError, RestoreFailed
from env_sync.core.progress import Progress
from env_sync.core.redact import describe_database_error, names_in, redact_text, redact_tool_line
from env_sync.core.stopwatch import Stopwatch
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.postgresql import client
from env_sync.engines.postgresql.archive import Archive, Entry
from env_sync.engines.postgresql.client_tools import (
    TRANSACTION_TIMEOUT,
    known_client_tools,
    tools_to_read,
)
from env_sync.engines.postgresql.deferred_indexes import table_of
from env_sync.engines.postgresql.deferred_statements import Kept, keep
from env_sync.engines.postgresql.restore_output import UNKNOWN_SETTING, Heard, Parts
from env_sync.engines.postgresql.selection import Target, one_at_a_time, select_entries
from env_sync.engines.postgresql.session import plain_errors, server_is_gone
from env_sync.engines.postgresql.statistics import hold_autovacuum_back
from env_sync.engines.postgresql.verify import read_failure, verify_archive

SESSION = "-c synchronous_commit=off -c maintenance_work_mem=256MB"
"""Settings of the sessions that restore: after a crash the database is restored anew in any case."""

BEFORE_ROWS = ("pre-data",)
ROWS_AND_AFTER = ("data", "post-data")
AFTER_ROWS = ("post-data",)
"""What is restored in one go, in pg_restore's words; autovacuum is held back after the first."""

_UNREADABLE = re.compile(
    r"could not (?:read from|find block|uncompress|close|seek)|(?:un)?expected (?:end of file|block|section)|"
    r"did not find magic string|unsupported version|input file|corrupt|is not a valid|out of memory"
)
_DIED = "a worker process died unexpectedly"


def restore_archive(
    archive: Archive,
    connection: ServerConnection,
    database: str,
    *,
    jobs: int,
    waiting: Sequence[Entry] = (),
    cancellation: Cancellation,
    progress: Progress,
    stopwatch: Stopwatch,
    log: logging.Logger,
    application_name: str = "env_sync",
) -> tuple[str, ...]:
    """Restore into a database that is there and empty; every object will belong to the connection's role.

    `jobs` is the number of connections. The entries in `waiting` are not made, but kept in the database
    as statements (see deferred_statements.py). What cannot or must not be restored is left out (see
    selection.py); returns a warning for each kind of it. The database is half full after any error: the
    caller drops it. Raises RestoreFailed, DumpDamaged, ToolMissing, AccessRefused, ServerUnreachable,
    NoSuchDatabase, Cancelled.
    """
    with _session(connection, database, application_name) as session:
        server_major = session.info.server_version // 10000
        options = f"{SESSION}{_check_of_connection(session)}"
        selection = select_entries(archive, _look_at(session))
    # What is left out altogether does not wait either.
    selected = frozenset(selection.dump_ids)
    later = {entry.dump_id: entry for entry in waiting if entry.dump_id in selected}
    now = tuple(number for number in selection.dump_ids if number not in later)
    alone = one_at_a_time(archive.entries) if jobs > 1 else frozenset()
    runs = [
        (BEFORE_ROWS, now, jobs),
        (ROWS_AND_AFTER, tuple(number for number in now if number not in alone), jobs),
        (AFTER_ROWS, tuple(number for number in now if number in alone), 1),
    ]
    found = known_client_tools()
    tools = tools_to_read(found, archive.file, target_major=server_major)
    # A newer pg_restore sets a setting that this server does not know, which cannot be turned off. Only
    # then it goes on after an error, and any other error than that is found at its end.
    tolerant = tools.major >= TRANSACTION_TIMEOUT > server_major
    if tolerant:
        log.info("pg_restore %s sets transaction_timeout, which this server does not know yet", tools.version)
    log.info(
        "pg_restore %s restores %d entries into %s (PostgreSQL %d) over %d connections",
        *(tools.version, len(now), database, server_major, jobs),
    )
    heard = Heard(archive, progress, len(now), tolerant=tolerant)
    progress.start(f"restore into {database}", len(now), "items")
    known = archive.names | {database, connection.host, connection.login}
    for sections, numbers, connections in runs:
        if not numbers:
            continue
        parts = Parts(stopwatch, alone=connections == 1)
        with _list_file(archive.file.parent, numbers) as list_file:
            result = command.run(
                [
                    tools.pg_restore,
                    f"--dbname={client.connection_string(database)}",
                    "--no-password",
                    f"--jobs={connections}",
                    *(f"--section={section}" for section in sections),
                    f"--use-list={list_file}",
                    "--no-owner",
                    "--no-acl",
                    "--no-tablespaces",
                    "--no-security-labels",
                    "--no-publications",
                    "--no-subscriptions",
                    *([] if tolerant else ["--exit-on-error"]),
                    "--verbose",
                    archive.file,
                ],
                env=client.client_environment(
                    connection, database, application_name=application_name, options=options
                ),
                cancellation=cancellation,
                log=log,
                on_line=_both(heard.within(connections), parts.line),
                redact=lambda line: None if UNKNOWN_SETTING.match(line) else redact_tool_line(line, known),
                check=False,
            )
        parts.end()
        if heard.errors or (result.exit_code != 0 and not (tolerant and result.exit_code == 1)):
            if _DIED in heard.errors:
                # The worker was gone before it could say why; most often it met the end of half a file.
                verify_archive(archive.file, cancellation=cancellation, progress=progress, log=log)
            raise _failure(result, heard, archive, connection, database)
        if sections == BEFORE_ROWS:
            with _session(connection, database, application_name) as session:
                hold_autovacuum_back(session)
    progress.finish()
    _run(selection.statements, archive, connection, database, application_name)
    if selection.revokes:
        with _session(connection, database, application_name) as session:
            session.execute("\n".join(selection.revokes).encode())
    if later:
        log.info("%d indexes, and what follows on them, wait for the transformation", len(later))
    with _session(connection, database, application_name) as session:
        keep(session, archive.database, tuple(_kept(entry) for entry in later.values()))
    return selection.warnings


@contextlib.contextmanager
def _session(
    connection: ServerConnection, database: str, application_name: str
) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A session in the copy for the length of the block, whose errors are those of Env Sync."""
    opened = client.connect(connection, database, application_name=application_name)
    where = f"Database {database} on {client.address_of(connection)}"
    with contextlib.closing(opened) as session, plain_errors(where, RestoreFailed):
        yield session


def _both(first: Callable[[str], None], second: Callable[[str], None]) -> Callable[[str], None]:
    def hear(line: str) -> None:
        first(line)
        second(line)

    return hear


def _kept(entry: Entry) -> Kept:
    name = entry.name if entry.type == "INDEX" else ""
    return Kept(schema=entry.schema, index=name, table=table_of(entry), sql=entry.definition)


def _look_at(session: psycopg.Connection[tuple[object, ...]]) -> Target:
    superuser = session.execute("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user")
    roles = session.execute("SELECT rolname FROM pg_catalog.pg_roles")
    extensions = session.execute("SELECT name FROM pg_catalog.pg_available_extensions")
    return Target(
        superuser=(True,) in superuser.fetchall(),
        roles=frozenset(str(name) for (name,) in roles),
        extensions=frozenset(str(name) for (name,) in extensions),
    )


def _check_of_connection(session: psycopg.Connection[tuple[object, ...]]) -> str:
    """The option that ends a statement within a second of its program, where the server can do that.

    pg_restore that is killed, and now and then one that is told to end, leaves its statements running.
    """
    option = "client_connection_check_interval"
    try:
        session.execute(f"SET {option} = '1s'")
    except (psycopg.errors.InvalidParameterValue, psycopg.errors.UndefinedObject):
        return ""
    return f" -c {option}=1000"


@contextlib.contextmanager
def _list_file(folder: Path, dump_ids: Sequence[int]) -> Iterator[Path]:
    """A file for `--use-list`; only the numbers in it are read."""
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix="restore-", suffix=".list") as file:
        file.writelines(f"{dump_id};\n" for dump_id in dump_ids)
        file.flush()
        yield Path(file.name)


def _run(
    statements: tuple[str, ...],
    archive: Archive,
    connection: ServerConnection,
    database: str,
    application_name: str,
) -> None:
    """Run what is left to do, each statement by itself."""
    if not statements:
        return
    with _session(connection, database, application_name) as session:
        for statement in statements:
            try:
                session.execute(statement.encode())
            except psycopg.Error as error:
                if server_is_gone(error):
                    raise
                reason = describe_database_error(error, names_in(statement))
                raise RestoreFailed(
                    f"A policy of {archive.database} could not be made in {database} without the roles that "
                    f"this server lacks: {reason}"
                ) from None


def _failure(
    result: command.Result, heard: Heard, archive: Archive, connection: ServerConnection, database: str
) -> Exception:
    said = "\n".join(heard.errors)
    unconnected = client.tool_connection_error(said, connection, database)
    if unconnected is not None:
        return unconnected
    if any(_UNREADABLE.search(line) and "ERROR: " not in line for line in heard.errors):
        return read_failure(result, archive.file, heard.errors)
    return _restore_failed(result, heard, archive, database)


def _restore_failed(result: command.Result, heard: Heard, archive: Archive, database: str) -> EnvSyncError:
    known = archive.names
    where = f" at {redact_text(str(heard.entry), known)}" if heard.entry else ""
    return RestoreFailed(
        f"The dump of {archive.database} could not be restored into {database}: pg_restore "
        f"{result.how_it_ended}{where}{_advice(heard)}{result.said}"
    )


def _advice(heard: Heard) -> str:
    said = "\n".join(heard.errors)
    if "No space left on device" in said:
        return ". The disk of the database server is full: free some, or set keep_previous to false"
    if heard.entry and heard.entry.type == "EXTENSION" and "permission denied" in said:
        return (
            f". The role may not make extension {heard.entry.name}: have a superuser make it a trusted one. "
            "PostgreSQL 12 has no trusted ones: restore there with a role that may"
        )
    if "permission denied" in said or "must be" in said:
        return ". The role that restores lacks a right that this needs"
    return ""
