"""What would stop a pull of one database: its name, live, what an earlier pull left, the transformations."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
from attrs import frozen

from env_sync.core.errors import (
    AccessRefused,
    ContentRefused,
    DumpDamaged,
    NameRefused,
    NoSuchDatabase,
    ToolMissing,
    TransformationFailed,
)
from env_sync.domain.finding import Finding, note, problem, problems
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.engines.base.contract import DumpHead, Preflight
from env_sync.engines.postgresql.access.objects import read_privileges
from env_sync.engines.postgresql.access.owners import against_owner
from env_sync.engines.postgresql.access.roles import Roles, read_roles
from env_sync.engines.postgresql.client_tools import known_client_tools, tools_to_read_header
from env_sync.engines.postgresql.copy_ownership import check_names
from env_sync.engines.postgresql.database import INVALID, Database, read_database
from env_sync.engines.postgresql.incoming import storage_of
from env_sync.engines.postgresql.metadata import read_comment
from env_sync.engines.postgresql.names import Copies
from env_sync.engines.postgresql.promotion import required_role
from env_sync.engines.postgresql.read_only import reading
from env_sync.engines.postgresql.rehearsal import rehearse
from env_sync.engines.postgresql.replication import check_not_replicated, publications
from env_sync.engines.postgresql.sanitise import as_transformations, read_transformations
from env_sync.engines.postgresql.session import Server, Session
from env_sync.engines.postgresql.swap import blockers
from env_sync.engines.postgresql.track_counts import ADVICE, WHY, counts
from env_sync.engines.postgresql.transformation import Script


@frozen(kw_only=True)
class Pulling:
    """What a look at a pull works with. `wait` is how long promote waits for others to leave live."""

    server: Server
    copies: Copies
    transformations: Sequence[Path]
    postprocess: Sequence[Postprocess]
    head: DumpHead | None
    keep_previous: bool
    wait: dt.timedelta

    @property
    def where(self) -> str:
        """Live, and where it is."""
        return f"{self.copies.live} on {self.server}"


def look_at_pull(pulling: Pulling) -> Preflight:
    """Look at the copies, and try the transformations on live; nothing is written.

    Raises AccessRefused, ServerUnreachable, EnvSyncError.
    """
    findings: list[Finding] = []
    scripts: tuple[Script, ...] = ()
    try:
        scripts = tuple(
            read.script
            for read in (
                *read_transformations(pulling.transformations),
                *as_transformations(pulling.postprocess),
            )
        )
    except TransformationFailed as failed:
        findings.append(problem(str(failed)))
    size: int | None = None
    with reading(pulling.server, pulling.server.maintenance_database) as session:
        findings += _archive(pulling, session.version)
        if scripts and not counts(session):
            findings.append(problem(f"On {pulling.server} {WHY}.", ADVICE))
        roles = read_roles(session)
        live = read_database(session, pulling.copies.live)
        if live is None:
            findings += _first(pulling)
        else:
            findings += _live(pulling, session, live, roles)
            size = _size(session, pulling.copies.live)
        findings += _owner(pulling, live, roles)
        try:
            check_names(session, pulling.server, pulling.copies, (pulling.copies.incoming,))
        except NameRefused as refused:
            findings.append(problem(str(refused)))
        else:
            findings += _leftovers(pulling, session)
    if live is not None and live.open and live.connection_limit != INVALID:
        with reading(pulling.server, pulling.copies.live) as inside:
            findings += _owners(pulling, inside, roles)
            findings += _published(inside)
            findings += rehearse(inside, pulling.copies.live, scripts)
    elif scripts:
        findings.append(note("The transformations could not be tried: there is no live to try them on."))
    return Preflight(findings=tuple(findings), live_size=size)


def _archive(pulling: Pulling, major: int) -> Iterator[Finding]:
    if pulling.head is None:
        return
    try:
        tools_to_read_header(known_client_tools(), pulling.head.first, pulling.head.key, target_major=major)
    except (ToolMissing, DumpDamaged) as wrong:
        yield problem(str(wrong))


def _first(pulling: Pulling) -> Iterator[Finding]:
    if name := str(pulling.server.connection.extra.get("owner") or ""):
        yield note(
            f"There is no database {pulling.where}: the first pull makes it, owned by {name}, and no other "
            "role can connect to it then."
        )


def _owner(pulling: Pulling, live: Database | None, roles: Roles) -> Iterator[Finding]:
    if (against := against_owner(pulling.server, pulling.copies.live, live, roles)) is not None:
        yield problem(*against)


def _live(pulling: Pulling, session: Session, live: Database, roles: Roles) -> Iterator[Finding]:
    server, copies = pulling.server, pulling.copies
    yield from problems(
        lambda: required_role(session, live, roles, pulling.where),
        lambda: check_names(session, server, copies, (copies.replaced,)),
        lambda: check_names(session, server, copies, (copies.previous,)),
        lambda: check_not_replicated(session, server, copies),
        refusals=(AccessRefused, ContentRefused, NameRefused),
    )
    if live.connection_limit == INVALID:
        yield problem(f"{pulling.where} is the rest of a DROP DATABASE that did not end.", "Drop it.")
    elif not live.open and _closed_by_us(pulling):
        yield note(
            f"{pulling.where} was closed by a promote that did not end; the next sync of it reopens it."
        )
    elif not live.open:
        yield problem(
            f"{pulling.where} refuses connections, and Env Sync did not close it, so it is not replaced.",
            f"When it may be replaced: ALTER DATABASE {live.name} ALLOW_CONNECTIONS true.",
        )
    storage = storage_of(session, live.name)
    if (
        storage is not None
        and storage.tablespace
        and not session.value(
            "SELECT pg_catalog.has_tablespace_privilege(%s, 'CREATE')", [storage.tablespace]
        )
    ):
        ours = roles.names[roles.ours]
        yield problem(
            f"{pulling.where} lies in tablespace {storage.tablespace}, where role {ours} may make nothing.",
            f"As an administrator: GRANT CREATE ON TABLESPACE {storage.tablespace} TO {ours};",
        )
    if staying := blockers(session, [live.name], only_staying=True):
        yield note(
            f"Role {roles.names[roles.ours]} may not end {', '.join(staying)}.",
            f"If they are there tonight as well, promote waits {pulling.wait.total_seconds():.0f} seconds "
            "and gives up: end them, or give them another role than a superuser's.",
        )


def _closed_by_us(pulling: Pulling) -> bool:
    try:
        with reading(pulling.server, pulling.server.lease_database) as session:
            if session.value("SELECT pg_catalog.to_regclass('public.lease')") is None:
                return False
            rows = session.execute(
                "SELECT 1 FROM public.lease WHERE database = %s AND live_closed_at IS NOT NULL",
                [pulling.copies.live],
            )
            return bool(rows)
    except (NoSuchDatabase, AccessRefused):
        return False


def _leftovers(pulling: Pulling, session: Session) -> Iterator[Finding]:
    """Incoming and outgoing always are; previous only where it was not to be kept."""
    copies = pulling.copies
    now = session.value("SELECT pg_catalog.clock_timestamp()")
    for name, advice in (
        (copies.incoming, "A sync may be at work on it now; else the next one drops it."),
        (copies.outgoing, "A push may be at work on it now; else the next sync drops it."),
        *(() if pulling.keep_previous else ((copies.previous, "Drop it to have its room."),)),
    ):
        comment = read_comment(session, name)
        if comment is None:
            continue
        size = _size(session, name)
        of = f"{size / 1e6:.0f} MB" if size is not None else "unknown size"
        stamp = comment.stamp
        age = (
            f"{_hours(now - stamp.changed)} old, {stamp.state}"
            if stamp
            else "of unknown age, without a stamp"
        )
        yield note(f"{name} is there on {pulling.server}: {of}, {age}.", advice)


def _size(session: Session, database: str) -> int | None:
    try:
        size: int = session.value("SELECT pg_catalog.pg_database_size(%s::name)", [database])
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.QueryCanceled):
        return None
    return size


def _owners(pulling: Pulling, session: Session, roles: Roles) -> Iterator[Finding]:
    """Objects in live that cannot keep their owner, as only a warning of promote tells otherwise."""
    counted = Counter(
        one.owner
        for one in read_privileges(session).objects.values()
        if not one.follows
        and not roles.can_be(one.owner)
        and (one.kind, one.identity) != ("SCHEMA", "public")
    )
    ours = roles.names[roles.ours]
    for owner, count in sorted(counted.items()):
        name = roles.names.get(owner, str(owner))
        yield note(
            f"{count} objects in {pulling.where} belong to {name}, as which {ours} may not act: after a pull "
            "they belong to the database's owner.",
            f"To keep them: {roles.to_act_as(owner)}",
        )


def _published(session: Session) -> Iterator[Finding]:
    if names := publications(session):
        yield note(
            f"A pull does not keep the publications of live: {', '.join(names)}.",
            "Make them in the transformation, or again by hand.",
        )


def _hours(age: dt.timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"
