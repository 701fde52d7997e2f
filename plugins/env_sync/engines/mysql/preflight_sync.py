"""What would stop one push or pull: live, what was left, who could read incoming, the transformations."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pymysql

from env_sync.engines.contract import DumpHead, Preflight
from env_sync.engines.mysql.connecting import code_of, described
from env_sync.engines.mysql.dump import matches
from env_sync.engines.mysql.dump_file import check_header
from env_sync.engines.mysql.grants import accesses
from env_sync.engines.mysql.names import Copies
from env_sync.engines.mysql.reading import reading
from env_sync.engines.mysql.script import Script, as_scripts, read_transformations
from env_sync.engines.mysql.session import Server, Session, exists
from env_sync.engines.mysql.stamp import read_told
from env_sync.errors import DumpDamaged, TransformationFailed
from env_sync.finding import Finding, note, problem
from env_sync.postprocess.postprocess import Postprocess
from env_sync.redact import names_in

_SIZE = "SELECT SUM(DATA_LENGTH + INDEX_LENGTH) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s"
_NOT_PREPARED = 1295
"""The number of the error for a statement that cannot be prepared; its grammar was right then."""


def look_at_push(server: Server, database: str, excluded_tables: Sequence[str]) -> Preflight:
    """Look at live as mysqldump will; nothing is written.

    Raises AccessRefused, ServerUnreachable, EnvSyncError.
    """
    where = f"{database} on {server}"
    with reading(server) as session:
        if not exists(session, database):
            missing = problem(
                f"There is no database {where} to push, or account {server.connection.login} may not see it.",
                "Correct `database` or `database_hostname`, or grant SELECT on it.",
            )
            return Preflight(findings=(missing,), live_size=None)
        tables = [
            (str(name), engine)
            for name, engine in session.execute(
                "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
                "AND TABLE_TYPE = 'BASE TABLE'",
                [database],
            )
        ]
        findings = [
            note(
                f"excluded_tables: {where} has no table {pattern}, so it excludes nothing.",
                "Correct the name, or take it out.",
            )
            for pattern in excluded_tables
            if not any(matches(pattern, name) for name, _ in tables)
        ]
        if loose := [name for name, engine in tables if engine in ("MyISAM", "Aria", "MEMORY", "CSV")]:
            findings.append(
                note(
                    f"{len(loose)} tables of {where} are of an engine without transactions "
                    f"({', '.join(loose[:5])}): "
                    "what is written to them during a dump may be in it by half.",
                    "ALTER TABLE ... ENGINE=InnoDB",
                )
            )
        size = session.value(_SIZE, [database])
    return Preflight(findings=tuple(findings), live_size=int(size or 0))


def look_at_pull(
    server: Server,
    copies: Copies,
    transformations: Sequence[Path],
    postprocess: Sequence[Postprocess],
    head: DumpHead | None,
) -> Preflight:
    """Look at the copies, and try the transformations on live; nothing is written.

    Raises AccessRefused, ServerUnreachable, EnvSyncError.
    """
    findings: list[Finding] = []
    size: int | None = None
    with reading(server) as session:
        outside = [
            str(name) for (name,) in session.execute("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
        ]
        scripts: tuple[Script, ...] = ()
        try:
            others = {*outside, *copies.all}
            scripts = (*read_transformations(transformations, others), *as_scripts(postprocess, others))
        except TransformationFailed as failed:
            findings.append(problem(str(failed)))
        findings += _head(head, copies.live)
        findings += _readers(session, copies)
        findings += _leftovers(session, server, copies)
        there = exists(session, copies.live)
        if there:
            size = int(session.value(_SIZE, [copies.live]) or 0)
        else:
            findings.append(
                note(
                    f"There is no database {copies.live} on {server}: the first pull makes it, and only "
                    f"accounts "
                    "whose grants name it can read it then."
                )
            )
    if there:
        with reading(server, copies.live) as inside:
            for script in scripts:
                findings += _rehearsed(inside, copies.live, script)
    elif scripts:
        findings.append(note("The transformations could not be tried: there is no live to try them on."))
    return Preflight(findings=tuple(findings), live_size=size)


def _head(head: DumpHead | None, database: str) -> Iterator[Finding]:
    if head is None:
        return
    unpacked = b""
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(head.first, 8192)
    except zlib.error:
        # Not gzip: the header that is missing says so.
        unpacked = b""
    try:
        check_header(head.key, head.first, unpacked, database)
    except DumpDamaged as wrong:
        yield problem(str(wrong))


def _readers(session: Session, copies: Copies) -> Iterator[Finding]:
    for one in accesses(session, copies.incoming):
        if one.administrator:
            yield note(
                f"{one.account} is an administrator ({one.grant}): it can read {copies.incoming} before it "
                f"is "
                "sanitised, and cannot be kept out."
            )
        else:
            yield problem(
                f"{one.account} could read {copies.incoming} before it is sanitised, by {one.grant}, so a "
                f"pull "
                "refuses to start.",
                "Let the grant name the databases that it is for, with a backslash before each _ and %.",
            )


def _leftovers(session: Session, server: Server, copies: Copies) -> Iterator[Finding]:
    if not exists(session, copies.incoming):
        return
    stamp = read_told(session, copies.incoming).stamp
    now: dt.datetime = session.value("SELECT NOW(6)").replace(tzinfo=dt.UTC)
    age = (
        f"{(now - stamp.changed).total_seconds() / 3600:.1f} hours old, {stamp.state}"
        if stamp
        else "unstamped"
    )
    yield note(
        f"{copies.incoming} is there on {server}, {age}.",
        "A sync may be at work on it now; else the next one drops it.",
    )


def _rehearsed(session: Session, live: str, script: Script) -> Iterator[Finding]:
    """Have the server prepare each statement: it looks up what that names, and runs nothing."""
    made = any(
        step.text.lstrip().upper().startswith(("CREATE", "ALTER", "DROP", "RENAME")) for step in script.steps
    )
    # A read-only session refuses to prepare what would write; prepared statements are never run here.
    session.execute("SET SESSION TRANSACTION READ WRITE")
    for step in script.steps:
        try:
            session.execute("PREPARE env_sync_look FROM %s", [step.text])
            session.execute("DEALLOCATE PREPARE env_sync_look")
        except pymysql.err.MySQLError as error:
            if code_of(error) == _NOT_PREPARED:
                continue
            why = described(error, {live, *names_in(script.text)})
            said = f"{script.name}, line {step.line}, on {live} as it is now: {why}"
            if made:
                yield note(said, "It also changes definitions, so this may be right once those are run.")
            else:
                yield problem(said, "Correct the transformation, or live lacks what the dump has.")
            return
