"""What would stop one push or pull: live, what was left, who could read incoming, the transformations."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pymysql
from attrs import frozen

from env_sync.core.errors import AccessRefused, DumpDamaged, NameRefused, PromoteFailed, TransformationFailed
from env_sync.core.redact import names_in
from env_sync.domain.finding import Finding, note, problem, problems
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.engines.base.contract import DumpHead, Preflight
from env_sync.engines.base.exclusions import excludes_nothing
from env_sync.engines.mysql.access.indirect_readers import (
    raw_log,
    told_of_onlookers,
    told_of_readers,
    told_of_sessions,
    watchers,
)
from env_sync.engines.mysql.access.init_connect import check_init_connect
from env_sync.engines.mysql.access.log_tables import log_tables
from env_sync.engines.mysql.access.readers import accesses
from env_sync.engines.mysql.archive import check_header
from env_sync.engines.mysql.client import code_of, described
from env_sync.engines.mysql.copy_ownership import check_no_strangers, is_copy
from env_sync.engines.mysql.dump import matches
from env_sync.engines.mysql.in_place import refuse_commits, refuse_tables_without_transactions
from env_sync.engines.mysql.metadata import read_told
from env_sync.engines.mysql.names import Copies, copies_of
from env_sync.engines.mysql.preflight import look_at_needed, look_at_rights
from env_sync.engines.mysql.read_only import reading
from env_sync.engines.mysql.replaceable import check_not_referred_to, check_previous, check_replaced
from env_sync.engines.mysql.session import Server, Session, clock, exists
from env_sync.engines.mysql.transformation import LIVE, OUTGOING, Script, as_scripts, read_transformations

_SIZE = "SELECT SUM(DATA_LENGTH + INDEX_LENGTH) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s"
_NOT_PREPARED = 1295
"""The number of the error for a statement that cannot be prepared; its grammar was right then."""


@frozen(kw_only=True)
class Pushing:
    """What a look at a push works with."""

    server: Server
    database: str
    excluded_tables: Sequence[str]
    transformations: Sequence[Path]
    in_place: bool


def look_at_push(pushing: Pushing) -> Preflight:
    """Look at live as mysqldump will, and try the transformations on it; nothing is written.

    Raises AccessRefused, ServerUnreachable, EnvSyncError.
    """
    server, database = pushing.server, pushing.database
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
                f"{excludes_nothing(pattern, where)}.",
                "Correct the name, or take it out.",
            )
            for pattern in pushing.excluded_tables
            if not any(matches(pattern, name) for name, _ in tables)
        ]
        if loose := [name for name, engine in tables if engine in ("MyISAM", "Aria", "MEMORY", "CSV")]:
            findings.append(
                note(
                    f"{len(loose)} tables of {where} are of an engine without transactions "
                    f"({', '.join(loose[:5])}): what is written to them during a dump may be in it by half.",
                    "ALTER TABLE ... ENGINE=InnoDB",
                )
            )
        size = int(session.value(_SIZE, [database]) or 0)
        if pushing.transformations:
            findings += _transformed(pushing, session, size)
    return Preflight(findings=tuple(findings), live_size=size)


def _transformed(pushing: Pushing, session: Session, size: int) -> Iterator[Finding]:
    """What would stop the transformations before the dump, and the copy that they run on."""
    server, database = pushing.server, pushing.database
    try:
        copies = copies_of(database, (server.lease_database,))
    except NameRefused as refused:
        yield problem(str(refused))
        return
    try:
        place = LIVE if pushing.in_place else OUTGOING
        scripts = read_transformations(pushing.transformations, {*_databases(session), *copies.all}, place)
        if pushing.in_place:
            for script in scripts:
                refuse_commits(script)
            refuse_tables_without_transactions(session, database)
    except TransformationFailed as failed:
        yield problem(str(failed))
    else:
        with reading(server, database) as inside:
            for script in scripts:
                yield from _rehearsed(inside, database, script)
    if pushing.in_place:
        return
    yield from look_at_rights(session, server)
    yield from look_at_needed(session, server, (copies.outgoing,))
    yield from _readers(session, copies.outgoing, "push")
    yield from _strangers(session, server, copies.live, copies.outgoing)
    yield note(
        f"The push makes {copies.outgoing} on {server}, about as large as live ({size / 1e6:.1f} MB), and "
        "drops it again. Whether there is room cannot be seen from here.",
        "If the push fails for want of it: make room on the server.",
    )


def look_at_pull(
    server: Server,
    copies: Copies,
    transformations: Sequence[Path],
    postprocess: Sequence[Postprocess],
    head: DumpHead | None,
    *,
    guards: bool,
) -> Preflight:
    """Look at the copies, and try the transformations on live; nothing is written.

    Where the sync `guards` what comes down, others are looked at who could see it. Raises AccessRefused,
    ServerUnreachable, EnvSyncError.
    """
    findings: list[Finding] = []
    size: int | None = None
    with reading(server) as session:
        scripts: tuple[Script, ...] = ()
        try:
            others = {*_databases(session), *copies.all}
            scripts = (*read_transformations(transformations, others), *as_scripts(postprocess, others))
        except TransformationFailed as failed:
            findings.append(problem(str(failed)))
        findings += _head(head, copies.live)
        findings += _readers(session, copies.incoming, "pull")
        if guards:
            findings += _watchers(session, server, copies.incoming)
        findings += look_at_needed(
            session, server, (copies.live, copies.incoming, copies.previous, copies.replaced)
        )
        for copy in (copies.incoming, copies.outgoing):
            findings += _strangers(session, server, copies.live, copy)
        findings += _leftovers(session, server, copies)
        findings += problems(
            lambda: check_previous(session, server, copies),
            lambda: check_replaced(session, server, copies),
            lambda: check_not_referred_to(session, server, copies, PromoteFailed),
            refusals=(NameRefused, PromoteFailed),
        )
        there = exists(session, copies.live)
        if there:
            size = int(session.value(_SIZE, [copies.live]) or 0)
        else:
            findings.append(
                note(
                    f"There is no database {copies.live} on {server}: the first pull makes it, and only "
                    "accounts whose grants name it can read it then."
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


def _databases(session: Session) -> Iterator[str]:
    for (name,) in session.execute("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA"):
        yield str(name)


def _readers(session: Session, copy: str, action: str) -> Iterator[Finding]:
    for one in accesses(session, copy):
        if one.administrator:
            yield note(
                f"{one.account} is an administrator ({one.grant}): it can read {copy} before it is "
                "sanitised, and cannot be kept out."
            )
        else:
            yield problem(
                f"{one.account} could read {copy} before it is sanitised, by {one.grant}, so a {action} "
                "refuses to start.",
                "Let the grant name the databases that it is for, with a backslash before each _ and %.",
            )


def _watchers(session: Session, server: Server, copy: str) -> Iterator[Finding]:
    """All who could see rows of a copy: those who stop a pull hide none of those who are a warning."""
    yield from problems(lambda: check_init_connect(session, server), refusals=(AccessRefused,))
    try:
        found = watchers(session, server, copy)
    except AccessRefused as refused:
        yield problem(str(refused))
        return
    if readers := found.readers.refused:
        yield problem(told_of_readers(found.readers, server, len(readers)))
    yield from found.readers.findings(server.connection)
    for watching in (found.readers, found.onlookers):
        yield from map(note, watching.wide(server.connection))
    if onlookers := found.onlookers.refused:
        yield note(told_of_onlookers(found.onlookers, server, len(onlookers)))
    if not found.sees_sessions:
        yield note(told_of_sessions(server))
    yield from map(note, raw_log(session, server) + log_tables(session, server))


def _strangers(session: Session, server: Server, live: str, copy: str) -> Iterator[Finding]:
    try:
        check_no_strangers(session, server, live, (copy,))
    except NameRefused as refused:
        yield problem(str(refused))


def _leftovers(session: Session, server: Server, copies: Copies) -> Iterator[Finding]:
    if not exists(session, copies.incoming) or not is_copy(session, copies.incoming):
        return
    stamp = read_told(session, copies.incoming).stamp
    now = clock(session)
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
