"""What would stop a push of one database: whether all of it could be read, and transformed if so asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen
from psycopg import errors

from env_sync.core.errors import NameRefused, NoSuchDatabase, TransformationFailed
from env_sync.domain.finding import Finding, note, problem
from env_sync.engines.base.contract import Preflight
from env_sync.engines.base.exclusions import excludes_nothing
from env_sync.engines.postgresql.copy_ownership import check_names
from env_sync.engines.postgresql.database import read_database
from env_sync.engines.postgresql.excluded_objects import LEAVE_OUT_ROWS, could_not_be_restored, read_left_out
from env_sync.engines.postgresql.in_place import refuse_end_of_transaction
from env_sync.engines.postgresql.names import copies_of
from env_sync.engines.postgresql.read_only import reading
from env_sync.engines.postgresql.rehearsal import rehearse
from env_sync.engines.postgresql.sanitise import read_transformations
from env_sync.engines.postgresql.session import Server, Session
from env_sync.engines.postgresql.track_counts import ADVICE, WHY, counts

SHOWN = 5
"""How many names a finding lists."""

_DUMPED = """
SELECT n.nspname, c.relname,
    pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind = 'S',
    CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
        ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END,
    pg_catalog.row_security_active(c.oid), pg_catalog.has_schema_privilege(n.oid, 'USAGE')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
AND n.nspname <> 'information_schema'
AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    AND d.refclassid = 'pg_catalog.pg_extension'::regclass
    AND NOT c.oid = ANY (coalesce(e.extconfig, '{}'))
)
ORDER BY 3
"""
_LARGE_OBJECTS_SINCE_18 = (
    "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata "
    "WHERE NOT pg_catalog.has_largeobject_privilege(oid, 'SELECT')"
)
_LARGE_OBJECTS = (
    "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata l "
    "WHERE NOT pg_catalog.pg_has_role(l.lomowner, 'USAGE') AND NOT EXISTS (SELECT FROM "
    "pg_catalog.aclexplode(l.lomacl) a WHERE a.privilege_type = 'SELECT' "
    "AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))"
)


@frozen
class _Dumped:
    """A table or sequence that pg_dump reads, and whether our role could."""

    schema: str
    table: str
    name: str
    is_sequence: bool
    readable: bool
    filtered: bool
    schema_usable: bool


@frozen(kw_only=True)
class Pushing:
    """What a look at a push works with."""

    server: Server
    database: str
    excluded_tables: Sequence[str]
    transformations: Sequence[Path]
    in_place: bool


def look_at_push(pushing: Pushing) -> Preflight:
    """Look at live as pg_dump will, and try the transformations on it; nothing is written.

    Raises AccessRefused, ServerUnreachable, EnvSyncError.
    """
    server, database = pushing.server, pushing.database
    where = f"{database} on {server}"
    with reading(server, server.maintenance_database) as session:
        live = read_database(session, database)
    if live is not None and not live.open:
        closed = problem(
            f"Database {where} refuses connections.",
            f"If nobody wants it closed: ALTER DATABASE {database} ALLOW_CONNECTIONS true.",
        )
        return Preflight(findings=(closed,), live_size=None)
    try:
        with reading(server, database, own_path=True) as session:
            findings = list(_looked_into(session, where, pushing.excluded_tables))
            size = session.value("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())")
            if pushing.transformations:
                if not counts(session):
                    findings.append(problem(f"On {server} {WHY}.", ADVICE))
                findings += _transformed(pushing, session, size)
    except NoSuchDatabase:
        missing = problem(
            f"There is no database {where} to push.", "Correct `database` or `database_hostname`, or make it."
        )
        return Preflight(findings=(missing,), live_size=None)
    return Preflight(findings=tuple(findings), live_size=size)


def _transformed(pushing: Pushing, session: Session, size: int) -> Iterator[Finding]:
    """What would stop the transformations before the dump, and the copy that they run on."""
    try:
        scripts = [read.script for read in read_transformations(pushing.transformations)]
        if pushing.in_place:
            for script in scripts:
                refuse_end_of_transaction(script)
    except TransformationFailed as failed:
        yield problem(str(failed))
    else:
        yield from rehearse(session, pushing.database, scripts)
    if pushing.in_place:
        return
    server = pushing.server
    try:
        copies = copies_of(pushing.database, (server.lease_database, server.maintenance_database))
    except NameRefused as refused:
        yield problem(str(refused))
        return
    try:
        check_names(session, server, copies, (copies.outgoing,))
    except NameRefused as refused:
        yield problem(str(refused))
    ours, may_make = session.execute(
        "SELECT pg_catalog.quote_ident(rolname), rolcreatedb OR rolsuper FROM pg_catalog.pg_roles "
        "WHERE rolname = current_user"
    )[0]
    if not may_make:
        yield problem(
            f"Role {ours} may not make databases on {server}, so there can be no {copies.outgoing} to "
            "transform.",
            f"As an administrator: ALTER ROLE {ours} CREATEDB; or set pre_dump_in_place, which changes live.",
        )
    yield note(
        f"The push makes {copies.outgoing} on {server}, about as large as live ({size / 1e6:.1f} MB), and "
        "drops it again. Whether there is room cannot be seen from here.",
        "If the push fails for want of it: make room on the server.",
    )


def _looked_into(session: Session, where: str, excluded_tables: Sequence[str]) -> Iterator[Finding]:
    ours = session.value("SELECT pg_catalog.quote_ident(current_user)")
    with session.transaction():
        left_out = read_left_out(session.execute, excluded_tables)
        dumped = [_Dumped(*row) for row in session.execute(_DUMPED)]
    gone = {(one.schema, one.name) for one in left_out.relations}
    dumped = [one for one in dumped if (one.schema, one.table) not in gone]
    lacking = {
        "schemas": sorted({one.schema for one in dumped if not one.schema_usable}),
        "tables": [one.name for one in dumped if not one.is_sequence and not one.readable],
        "sequences": [one.name for one in dumped if one.is_sequence and not one.readable],
    }
    if any(lacking.values()):
        which = "; ".join(f"{len(names)} {kind} ({_some(names)})" for kind, names in lacking.items() if names)
        everything = "pg_read_all_data" if session.version >= 14 else "SELECT on each"
        yield problem(
            f"Role {ours} may not read all of {where}: {which}. pg_dump would stop at the first.",
            f"As an administrator: GRANT {everything} TO {ours}; or the role that owns them.",
        )
    if hidden := [one.name for one in dumped if one.filtered]:
        yield problem(
            f"Row security would hide rows of {len(hidden)} tables of {where} from role {ours}, and pg_dump "
            f"refuses to dump a part: {_some(hidden)}.",
            f"As an administrator: ALTER ROLE {ours} BYPASSRLS; or use a role that owns them.",
        )
    yield from _large_objects(session, where, ours)
    if left_out.needed:
        yield problem(could_not_be_restored(where, left_out.needed), LEAVE_OUT_ROWS)
    for pattern in left_out.unmatched:
        yield note(
            f"{excludes_nothing(pattern, where)}.",
            "Correct the name or the schema before it, or take it out.",
        )


def _large_objects(session: Session, where: str, ours: str) -> Iterator[Finding]:
    if session.value("SELECT pg_catalog.current_setting('lo_compat_privileges')") == "on":
        return
    try:
        lacking = session.value(_LARGE_OBJECTS_SINCE_18 if session.version >= 18 else _LARGE_OBJECTS)
    except errors.QueryCanceled:
        yield note(f"{where} holds too many large objects to see in time whether role {ours} may read them.")
        return
    if lacking:
        yield problem(
            f"Role {ours} may not read {lacking} large objects of {where}, which pg_read_all_data does not "
            "cover. pg_dump would stop at the first.",
            f"GRANT SELECT ON LARGE OBJECT ... TO {ours}, or make it a member of their owner.",
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
