"""Dumps a database to a file with pg_dump."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from attrs import frozen

from env_sync.core import command
from env_sync.core.cancellation import Cancellation
from env_sync.core.disk import no_room, part_of, whole_file
from env_sync.core.errors import AccessRefused, ContentRefused, EnvSyncError
from env_sync.core.progress import Progress
from env_sync.core.redact import redact_tool_line
from env_sync.engines.base.contract import DumpFacts, ServerConnection
from env_sync.engines.base.exclusions import excludes_nothing
from env_sync.engines.postgresql import client
from env_sync.engines.postgresql.client_tools import known_client_tools, tools_to_dump
from env_sync.engines.postgresql.excluded_objects import (
    LEAVE_OUT_ROWS,
    LeftOut,
    could_not_be_restored,
    read_left_out,
)

LOCK_WAIT = dt.timedelta(minutes=10)
"""How long pg_dump waits for a table that is being altered before it fails."""
NO_STATISTICS = 18
"""pg_dump of this version and later can dump statistics, which quote the most common values."""


@frozen(kw_only=True)
class _Source:
    version: str
    major: int
    left_out: LeftOut
    names: frozenset[str]


def dump_database(
    connection: ServerConnection,
    database: str,
    to: Path,
    *,
    compression: str,
    excluded_tables: Sequence[str] = (),
    privileges: bool = True,
    cancellation: Cancellation,
    progress: Progress,
    log: logging.Logger,
    application_name: str = "env_sync",
) -> DumpFacts:
    """Write a consistent dump of a database to the file `to`, whole or not at all.

    `compression` is "none" or "gzip:1" to "gzip:9". `excluded_tables` are patterns as pg_dump's
    `--exclude-table` takes them: `schema.name`, or `name` for what needs no schema on the role's search_path,
    with `*` and `?`; without double quotes they are lower case. Partitions of what they name, and what
    inherits from it, are left out with it. Without `privileges` no grant is in the dump. Subscriptions and
    statistics are never in it: the one may hold a password, the other quotes rows. Raises NoSuchDatabase,
    AccessRefused, ServerUnreachable, ContentRefused where what stays needs what is left out, ToolMissing,
    ToolFailed, DiskFull, Cancelled.
    """
    source = _look_at(connection, database, excluded_tables, application_name)
    if source.left_out.needed:
        raise ContentRefused(f"{could_not_be_restored(database, source.left_out.needed)} {LEAVE_OUT_ROWS}")
    tools = tools_to_dump(known_client_tools(), source.major)
    log.info("pg_dump %s dumps %s (PostgreSQL %s)", tools.version, database, source.version)
    known = source.names | {database, connection.host, connection.login}
    said: list[str] = []
    progress.start(f"dump of {database}", None, "bytes")
    started = dt.datetime.now(dt.UTC)
    with whole_file(to) as part:
        result = command.run(
            [
                tools.pg_dump,
                f"--dbname={client.connection_string(database)}",
                "--format=custom",
                f"--compress={_level(compression)}",
                f"--file={part}",
                "--no-password",
                "--verbose",
                f"--lock-wait-timeout={int(LOCK_WAIT.total_seconds() * 1000)}",
                "--no-subscriptions",
                *([] if privileges else ["--no-privileges"]),
                *(["--no-statistics"] if tools.major >= NO_STATISTICS else []),
                *(f"--exclude-table={pattern}" for pattern in excluded_tables),
                *(f"--exclude-table={pattern}" for pattern in source.left_out.descendants),
            ],
            env=client.client_environment(
                connection, database, application_name=application_name, own_path=True
            ),
            cancellation=cancellation,
            log=log,
            on_line=lambda line: _keep_errors(line, said),
            on_tick=lambda: progress.advance(part.stat().st_size),
            redact=lambda line: redact_tool_line(line, known),
            check=False,
        )
        if result.exit_code != 0:
            raise _failure(result, "\n".join(said), connection, database, to)
    progress.advance(to.stat().st_size)
    progress.finish()
    return DumpFacts(
        engine_version=tools.version,
        server_version=source.version,
        started=started,
        finished=dt.datetime.now(dt.UTC),
        warnings=tuple(excludes_nothing(pattern, database) for pattern in source.left_out.unmatched),
    )


def _look_at(
    connection: ServerConnection, database: str, excluded_tables: Sequence[str], application_name: str
) -> _Source:
    """The server's version, what is left out, and the names that an error may hold."""
    with contextlib.closing(
        client.connect(connection, database, application_name=application_name, own_path=True)
    ) as session:
        session.execute("SET search_path = ''")
        left_out = read_left_out(
            lambda query, values: _rows(session.execute(query.encode(), values)), excluded_tables
        )
        names = {name for (name,) in session.execute("SELECT relname FROM pg_catalog.pg_class")}
        schemas = {name for (name,) in session.execute("SELECT nspname FROM pg_catalog.pg_namespace")}
        number = session.info.server_version
        return _Source(
            version=f"{number // 10000}.{number % 10000}",
            major=number // 10000,
            left_out=left_out,
            names=frozenset(names | schemas),
        )


def _rows(cursor: psycopg.Cursor[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return cursor.fetchall() if cursor.description else []


def _level(compression: str) -> int:
    """The number for `--compress`, which every version takes for gzip; 0 is none."""
    return 0 if compression == "none" else int(compression.removeprefix("gzip:"))


def _keep_errors(line: str, said: list[str]) -> None:
    """Keep what may tell why it failed, to be looked through and never shown."""
    if re.match(r"pg_dump: (?:error|detail)", line):
        said.append(line)


def _failure(
    result: command.Result, said: str, connection: ServerConnection, database: str, to: Path
) -> EnvSyncError:
    # The server's own disk may be full as well: its errors have a severity.
    if any("No space left on device" in line and "ERROR: " not in line for line in said.splitlines()):
        part_of(to).unlink(missing_ok=True)
        return no_room(to)
    unconnected = client.tool_connection_error(said, connection, database)
    if unconnected is not None:
        return unconnected
    if "permission denied" in said or "failed to get data for sequence" in said:
        return AccessRefused(
            f"Role {connection.login} may not read all of {database}: make it a member of the owner (or of "
            f"pg_read_all_data){result.said}"
        )
    if "row-level security" in said:
        return AccessRefused(
            f"Row security hides rows of {database} from role {connection.login}, so the dump would not be "
            f"whole: use a role that has BYPASSRLS{result.said}"
        )
    if "lock timeout" in said or "could not obtain lock" in said:
        return result.failure(
            f"A table of {database} was locked for longer than {LOCK_WAIT.total_seconds() / 60:.0f} minutes, "
            "by a migration perhaps: run the step again when it is done"
        )
    return result.failure()
