"""Dumps a database to a file with mysqldump, packed on the way."""

from __future__ import annotations

import contextlib
import datetime as dt
import fnmatch
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from isal import igzip_threaded

from env_sync.core import command
from env_sync.core.cancellation import Cancellation
from env_sync.core.disk import whole_file
from env_sync.core.errors import AccessRefused, EnvSyncError, NoSuchDatabase, ServerUnreachable
from env_sync.core.progress import Progress
from env_sync.core.redact import redact_mysql_line
from env_sync.engines.base.contract import DumpFacts
from env_sync.engines.base.exclusions import excludes_nothing
from env_sync.engines.mysql.archive import COMPLETED, DATABASE, SANDBOX, TAIL
from env_sync.engines.mysql.client_tools import DumpTool, known_dump_tools, tool_to_dump
from env_sync.engines.mysql.metadata import TABLE
from env_sync.engines.mysql.option_file import option_file
from env_sync.engines.mysql.session import Server, plain_errors
from env_sync.engines.mysql.version import ServerVersion

_PIPE = 1 << 20
_open_packed: Callable[..., Any] = igzip_threaded.open
_FIRST_LINES = 4096
"""Bytes within which the first lines end that are written anew."""


@frozen(kw_only=True)
class AsOf:
    """What makes a dump of a copy's tables one of its live: the name, and what stands behind the tables."""

    database: str
    objects: bytes
    """Views, triggers, routines and events, as statements; the copy's own are not dumped."""


@frozen(kw_only=True)
class _Source:
    version: ServerVersion
    said: str
    tables: tuple[str, ...]


def dump_database(
    server: Server,
    database: str,
    to: Path,
    *,
    compression: str,
    excluded_tables: Sequence[str] = (),
    as_of: AsOf | None = None,
    cancellation: Cancellation,
    progress: Progress,
    log: logging.Logger,
) -> DumpFacts:
    """Write a consistent dump of a database to the file `to`, whole or not at all.

    `compression` is "none" or "gzip:1" to "gzip:9"; the file is gzip in any case. `excluded_tables` are
    names, with `*` and `?`. `as_of` is for a copy. Raises NoSuchDatabase, AccessRefused,
    ServerUnreachable, ToolMissing, ToolFailed, DiskFull, Cancelled.
    """
    source = _look_at(server, database)
    tool = tool_to_dump(known_dump_tools(), source.version)
    excluded, warnings = [TABLE], list[str]()
    for pattern in excluded_tables:
        matching = [table for table in source.tables if matches(pattern, table)]
        excluded += matching
        if not matching:
            warnings.append(excludes_nothing(pattern, database))
    log.info("%s dumps %s (%s)", tool, database, source.version)
    said: list[str] = []
    progress.start(f"dump of {database}", None, "bytes")
    started = dt.datetime.now(dt.UTC)
    with whole_file(to) as part:
        packer = _Packer(part, compression, as_of)
        with (
            option_file(server.connection, tool.version.family, to.parent) as options,
            packer.running() as pipe,
        ):
            result = command.run(
                [
                    tool.program,
                    f"--defaults-extra-file={options}",
                    *_arguments(tool, database, excluded, objects=as_of is None),
                ],
                env={},
                cancellation=cancellation,
                log=log,
                stdout=pipe,
                on_line=said.append,
                on_tick=lambda: progress.advance(packer.read),
                redact=lambda line: redact_mysql_line(line, {database, *source.tables}),
                check=False,
            )
        packer.check()
        if result.exit_code != 0:
            raise _failure(result, "\n".join(said), server, database)
        if COMPLETED not in packer.end:
            raise result.failure("It ended before the dump was whole: run the step again")
    progress.advance(packer.read)
    progress.finish()
    return DumpFacts(
        engine_version=str(tool.version),
        server_version=source.said,
        started=started,
        finished=dt.datetime.now(dt.UTC),
        warnings=tuple(warnings),
    )


def matches(pattern: str, table: str) -> bool:
    """Whether a pattern of `excluded_tables` names a table: `*` is any text, `?` any character."""
    return fnmatch.fnmatchcase(table, pattern.replace("[", "[[]"))


def _look_at(server: Server, database: str) -> _Source:
    with server.session(database) as session, plain_errors(f"Database {database} on {server}"):
        rows = session.execute(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", [database]
        )
        said = session.value("SELECT VERSION()")
        return _Source(version=session.version, said=str(said), tables=tuple(name for (name,) in rows))


def _arguments(tool: DumpTool, database: str, excluded: Sequence[str], *, objects: bool) -> Iterator[str]:
    yield from (
        "--single-transaction",
        "--quick",
        "--skip-lock-tables",
        "--no-tablespaces",
        "--hex-blob",
        "--default-character-set=utf8mb4",
        "--comments",
        "--skip-add-drop-table",
        "--max-allowed-packet=1G",
        "--net-buffer-length=1M",
    )
    yield from ("--routines", "--triggers", "--events") if objects else ("--skip-triggers",)
    if not tool.version.mariadb:
        # The one sets what only an administrator may, the other asks for statistics that older servers lack.
        yield from ("--set-gtid-purged=OFF", "--column-statistics=0")
    yield from (f"--ignore-table={database}.{table}" for table in excluded)
    yield from ("--", database)


class _Packer:
    """Packs what a program writes into a file, in a thread, its first lines as other clients take them."""

    def __init__(self, file: Path, compression: str, as_of: AsOf | None) -> None:
        self.read = 0
        """Bytes that were read so far."""
        self.end = b""
        """The last bytes that were read."""
        self._file = file
        self._as_of = as_of
        # isal has four levels; its second packs SQL as small as zlib's sixth.
        number = 0 if compression == "none" else int(compression.removeprefix("gzip:"))
        self._level = 0 if number == 0 else 1 if number < 3 else 2 if number < 8 else 3
        self._problem: OSError | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[command.Stream]:
        """Somewhere for a program to write; after the block all of it is in the file, or `check` raises."""
        reading, writing = os.pipe()
        thread = threading.Thread(target=self._pack, args=(reading,), name="env_sync packing")
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            thread.start()
            try:
                yield pipe
            finally:
                pipe.close()
                thread.join()

    def check(self) -> None:
        """Raises OSError for what went wrong in the thread."""
        if self._problem is not None:
            raise self._problem

    def _pack(self, reading: int) -> None:
        try:
            with (
                os.fdopen(reading, "rb", buffering=0) as pipe,
                _open_packed(str(self._file), "wb", compresslevel=self._level) as packed,
            ):
                first = b""
                while len(first) < _FIRST_LINES and (chunk := pipe.read(_PIPE)):
                    first += chunk
                self._count(first)
                last = self._named(as_mysql(first))
                while chunk := pipe.read(_PIPE):
                    self._count(chunk)
                    last += chunk
                    packed.write(last[:-TAIL])
                    last = last[-TAIL:]
                packed.write(self._with_objects(last))
        except OSError as problem:
            # The program fails on the pipe that is closed now.
            self._problem = problem

    def _named(self, first: bytes) -> bytes:
        """The first lines with the name that the dump is to have."""
        if self._as_of is None or (match := DATABASE.search(first)) is None:
            return first
        return first[: match.start("name")] + self._as_of.database.encode() + first[match.end("name") :]

    def _with_objects(self, last: bytes) -> bytes:
        """The last lines with what stands behind the tables, before the one that says that all is there."""
        at = last.rfind(COMPLETED)
        if self._as_of is None or at < 0:
            return last
        return last[:at] + self._as_of.objects + last[at:]

    def _count(self, chunk: bytes) -> None:
        self.read += len(chunk)
        self.end = (self.end + chunk)[-TAIL:]


def as_mysql(first: bytes) -> bytes:
    """The first lines of a dump without the line that MySQL's client refuses, saying "MySQL dump"."""
    first = SANDBOX.sub(b"", first, count=1)
    return first.replace(b"-- MariaDB dump ", b"-- MySQL dump ", 1)


def _failure(result: command.Result, said: str, server: Server, database: str) -> EnvSyncError:
    where = f"database {database} on {server}"
    if "Unknown database" in said:
        return NoSuchDatabase(f"There is no {where}{result.said}")
    if "Access denied" in said or "command denied" in said or "has insufficent privileges" in said:
        return AccessRefused(
            f"Account {server.connection.login} may not read all of {where}. Grant it SELECT, SHOW VIEW, "
            f"TRIGGER and EVENT, as docs/mysql.md lists{result.said}"
        )
    if any(
        lost in said
        for lost in ("Lost connection", "gone away", "Can't connect", "Connection refused", "Got packet")
    ):
        return ServerUnreachable(
            f"The connection to {where} was lost half-way: the server went away, or ended the session. Run "
            f"the step again; see the server's log for the reason{result.said}"
        )
    return result.failure(f"It dumped {where}")
