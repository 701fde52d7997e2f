"""Promoting: incoming becomes live, live becomes previous, in one transaction."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence

import psycopg
from attrs import frozen
from psycopg import errors, sql

from env_sync.engines.contract import CopyState, Holder, Promotion, Stamp
from env_sync.engines.postgresql.database import INVALID, Database, give_place, give_settings, read_database
from env_sync.engines.postgresql.incoming import check_closed, drop_database
from env_sync.engines.postgresql.lease import Hold, Leases
from env_sync.engines.postgresql.names import Copies
from env_sync.engines.postgresql.privileges import carry_over, read_privileges
from env_sync.engines.postgresql.roles import Roles, read_roles
from env_sync.engines.postgresql.session import Server, Session, plain_errors
from env_sync.engines.postgresql.stamp import Comment, Promoted, read_comment, write_comment
from env_sync.engines.postgresql.statistics import let_autovacuum_go
from env_sync.errors import AccessRefused, EnvSyncError, PromoteFailed, ProofMissing
from env_sync.manifest import Transformation
from env_sync.redact import describe_database_error

PAUSE = 0.01
"""Seconds between two looks at who is still in the database."""


@frozen(kw_only=True)
class Promoting:
    """All that a promotion works with."""

    server: Server
    hold: Hold
    leases: Leases
    copies: Copies
    holder: Holder
    environment: str
    keep_previous: bool
    wait: dt.timedelta
    log: logging.Logger


def promote(
    work: Promoting, transformations: Sequence[Transformation], last_look: Callable[[], None]
) -> Promotion:
    """Swap the copies. See `Engine.promote`. Raises psycopg.Error for what nobody foresaw."""
    session, copies = work.hold.session, work.copies
    incoming = read_database(session, copies.incoming)
    if incoming is None and (done := _done_before(work, transformations)):
        return done
    stamp = check_proof(work, transformations)
    if incoming is None:
        raise ProofMissing(f"There is no database {copies.incoming}: run the group again from restore.")
    check_closed(session, copies.incoming, PromoteFailed)
    live = read_database(session, copies.live)
    roles, owner, warnings = _prepare(work, incoming, live)
    if live is None:
        last_look()
        _name_first(work, incoming, stamp, roles, owner)
        return Promotion(unavailable=0.0, first=True, previous_kept=False, warnings=warnings)
    if drop_database(session, copies.previous):
        work.log.info("Dropped %s.", copies.previous)
    _wait_for_those_that_stay(work)
    last_look()
    # Read again: preparing takes a while, and this is what the new live is given.
    live = _still_there(work, live)
    unavailable = _swap(work, live, incoming, stamp, roles, owner)
    work.log.info("%s was unavailable for %.3f s.", work.leases.where, unavailable)
    return _finish(
        work, Promotion(unavailable=unavailable, first=False, previous_kept=True, warnings=warnings)
    )


def check_proof(work: Promoting, transformations: Sequence[Transformation]) -> Stamp:
    """The proof that incoming carries. Raises ProofMissing, saying what does not fit."""
    comment = read_comment(work.hold.session, work.copies.incoming)
    where = f"{work.copies.incoming} on {work.server}"
    again = "Nothing was touched; run the group again from restore."
    if comment is None:
        raise ProofMissing(f"There is no database {where}, so nothing to promote. {again}")
    stamp = comment.stamp
    if stamp is None:
        raise ProofMissing(f"{where} carries no stamp of Env Sync: it was not made by it. {again}")
    if stamp.state != CopyState.SANITISED:
        raise ProofMissing(f"{where} is {stamp.state}, not {CopyState.SANITISED}. {again}")
    differences = [
        f"its {what} is {found}, this step's is {wanted}"
        for what, found, wanted in (
            ("run", stamp.holder.run, work.holder.run),
            ("group", stamp.holder.group, work.holder.group),
            ("attempt", stamp.holder.attempt, work.holder.attempt),
            ("environment", stamp.environment, work.environment),
        )
        if found != wanted
    ]
    if stamp.transformations != tuple(transformations):
        differences.append(
            f"its transformations are {_named(stamp.transformations)}, this step's are "
            f"{_named(transformations)}"
        )
    if differences:
        raise ProofMissing(f"{where} was sanitised, but {'; '.join(differences)}. {again}")
    return stamp


def required_role(session: Session, live: Database, roles: Roles, where: str) -> None:
    """Raises AccessRefused where this role could not rename live: it must be able to act as its owner."""
    if roles.can_be(live.owner):
        return
    ours, owner = roles.names[roles.ours], roles.names.get(live.owner, str(live.owner))
    superuser = session.value("SELECT rolsuper FROM pg_catalog.pg_roles WHERE oid = %s", [live.owner])
    advice = (
        "give the database to the application's own role (ALTER DATABASE ... OWNER TO ...) and GRANT that "
        f"role to {ours}"
        if superuser
        else f"GRANT {owner} TO {ours}"
    )
    raise AccessRefused(
        f"Database {where} belongs to {owner}, and {ours} may not act as it, so it could not be swapped. As "
        f"an administrator: {advice}. Live is untouched."
    )


def _done_before(work: Promoting, transformations: Sequence[Transformation]) -> Promotion | None:
    """What an earlier try of this attempt did, if it was killed after the swap."""
    comment = read_comment(work.hold.session, work.copies.live)
    if comment is None or comment.stamp is None or comment.promoted is None:
        return None
    stamp = comment.stamp
    if stamp.holder != work.holder or stamp.transformations != tuple(transformations):
        return None
    work.log.info("%s was promoted by an earlier try of this step.", work.leases.where)
    kept = read_database(work.hold.session, work.copies.previous) is not None
    return _finish(
        work,
        Promotion(
            unavailable=comment.promoted.unavailable,
            first=comment.promoted.first,
            previous_kept=kept and not comment.promoted.first,
            warnings=(),
        ),
    )


def _prepare(
    work: Promoting, incoming: Database, live: Database | None
) -> tuple[Roles, int, tuple[str, ...]]:
    """Give the objects in incoming their owners and grants; it stays closed. Nothing of live is changed."""
    warnings: list[str] = []
    server, copies = work.server, work.copies
    with server.session(copies.incoming) as inside:
        roles = read_roles(inside)
        now = read_privileges(inside)
        let_autovacuum_go(inside)
        if live is None:
            owner = _first_owner(work, roles)
            warnings += carry_over(inside, now, None, roles, owner)
            warnings.append(
                f"{copies.live} is new on {server}: it belongs to {roles.names[owner]} and no other role can "
                f'connect to it. Let them in with GRANT CONNECT ON DATABASE "{copies.live}" TO ... and '
                "grants "
                "inside it; later pulls keep them."
            )
            return roles, owner, tuple(warnings)
        if live.connection_limit == INVALID:
            raise PromoteFailed(
                f"{work.leases.where} is the rest of a DROP DATABASE that did not end: drop it, and run the "
                "group again."
            )
        if not live.open:
            raise PromoteFailed(
                f"{work.leases.where} refuses connections, and Env Sync did not close it: somebody did. When "
                "it may be replaced, ALTER DATABASE ... ALLOW_CONNECTIONS true and run the step again."
            )
        required_role(inside, live, roles, work.leases.where)
        with server.session(copies.live) as there:
            wanted = read_privileges(there)
        warnings += carry_over(inside, now, wanted, roles, live.owner)
    warnings += give_settings(work.hold.session, incoming, live.settings, roles)
    return roles, live.owner, tuple(warnings)


def _first_owner(work: Promoting, roles: Roles) -> int:
    name = str(work.server.connection.extra.get("owner") or "")
    if not name:
        return roles.ours
    owner = roles.named(name)
    if owner is None or not roles.can_be(owner):
        raise PromoteFailed(
            f"Connection {work.server.connection.connection_id} says that new databases belong to {name}, "
            f"but {work.server} has no such role as which {roles.names[roles.ours]} may act. Make it and "
            f"GRANT it to {roles.names[roles.ours]}, or take `owner` out of the connection's extra."
        )
    return owner


def _name_first(work: Promoting, incoming: Database, stamp: Stamp, roles: Roles, owner: int) -> None:
    session, copies = work.hold.session, work.copies

    def rename() -> None:
        work.leases.opened_by_rename(session)
        session.execute(_rename(copies.incoming, copies.live))
        if owner != incoming.owner:
            session.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                    sql.Identifier(copies.live), sql.Identifier(roles.names[owner])
                )
            )
        now = session.value("SELECT pg_catalog.clock_timestamp()")
        promoted = Promoted(at=now, unavailable=0.0, first=True)
        write_comment(session, copies.live, Comment(person="", stamp=stamp, promoted=promoted))

    _when_nobody_is_there(work, rename)


def _still_there(work: Promoting, before: Database) -> Database:
    live = read_database(work.hold.session, work.copies.live)
    if live is None or live.oid != before.oid or live.owner != before.owner or not live.open:
        raise PromoteFailed(
            f"{work.leases.where} was replaced, closed or given another owner by somebody else while the "
            "swap was prepared. Live is as they left it; run the step again."
        )
    return live


def _wait_for_those_that_stay(work: Promoting) -> None:
    """While live is still open: wait for what would keep it from being renamed and cannot be ended by us."""
    deadline = time.monotonic() + work.wait.total_seconds()
    while True:
        staying = _blockers(work, only_staying=True)
        if not staying:
            return
        if time.monotonic() > deadline:
            raise PromoteFailed(
                f"{work.leases.where} could not be closed within {work.wait.total_seconds():.0f} seconds, "
                f"for this role may not end {', '.join(staying)}. Live was not closed and is as it was. End "
                "them, or grant pg_signal_backend to the sync's role, and run the step again."
            )
        work.hold.session.execute("SELECT pg_catalog.pg_sleep(%s)", [0.2])


def _swap(
    work: Promoting, live: Database, incoming: Database, stamp: Stamp, roles: Roles, owner: int
) -> float:
    """Close live, end its sessions, rename; gives the seconds for which it was closed.

    Whatever is raised, live is open afterwards: as it was, or, where only the answer to the commit was
    lost, as the new one.
    """
    session, leases, copies = work.hold.session, work.leases, work.copies
    try:
        closed = leases.close_live(session)
        comment = read_comment(session, copies.live)

        def rename() -> None:
            leases.opened_by_rename(session)
            session.execute(_rename(copies.live, copies.previous))
            session.execute(_rename(copies.incoming, copies.live))
            give_place(session, live, incoming, roles, owner)
            now: dt.datetime = session.value("SELECT pg_catalog.clock_timestamp()")
            promoted = Promoted(at=now, unavailable=(now - closed).total_seconds(), first=False)
            person = comment.person if comment else ""
            write_comment(session, copies.live, Comment(person=person, stamp=stamp, promoted=promoted))

        _when_nobody_is_there(work, rename)
        with session.uninterrupted():
            after: dt.datetime = session.value("SELECT pg_catalog.clock_timestamp()")
    except BaseException:
        _reopen(work)
        raise
    return (after - closed).total_seconds()


def _when_nobody_is_there(work: Promoting, rename: Callable[[], None]) -> None:
    """Run `rename` in one transaction, as often as it takes until nobody is in live or incoming.

    Raises PromoteFailed once `work.wait` is over.
    """
    session = work.hold.session
    deadline = time.monotonic() + work.wait.total_seconds()
    while True:
        _empty(work, deadline)
        try:
            with session.transaction():
                session.execute("SET LOCAL lock_timeout = '2s'")
                rename()
        except (errors.ObjectInUse, errors.LockNotAvailable, errors.DeadlockDetected):
            # Somebody was let in just before it was closed.
            if time.monotonic() > deadline:
                _give_up(work)
        else:
            return


def _empty(work: Promoting, deadline: float) -> None:
    """End all sessions in live and incoming, and wait until they are gone."""
    session = work.hold.session
    while True:
        _end_sessions(work)
        if not _blockers(work, only_staying=False):
            return
        if time.monotonic() > deadline:
            _give_up(work)
        session.execute("SELECT pg_catalog.pg_sleep(%s)", [PAUSE])


def _end_sessions(work: Promoting) -> None:
    session = work.hold.session
    for (pid,) in session.execute(
        "SELECT pid FROM pg_catalog.pg_stat_activity WHERE datname = ANY(%s) AND usesysid IS NOT NULL",
        [[work.copies.live, work.copies.incoming]],
    ):
        try:
            session.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])
        except errors.InsufficientPrivilege:
            work.log.debug("Server process %d may not be ended by this role.", pid)


def _give_up(work: Promoting) -> None:
    who = ", ".join(_blockers(work, only_staying=False)) or "sessions that came and went"
    raise PromoteFailed(
        f"{work.leases.where} could not be swapped within {work.wait.total_seconds():.0f} seconds, for it "
        f"was held by {who}. Live was reopened and is as it was. End them and run the step again."
    )


def _blockers(work: Promoting, *, only_staying: bool) -> list[str]:
    return blockers(work.hold.session, [work.copies.live, work.copies.incoming], only_staying=only_staying)


def blockers(session: Session, databases: Sequence[str], *, only_staying: bool) -> list[str]:
    """Who keeps databases from being renamed; `only_staying`: of those, whom we may not end."""
    found = [
        f"server process {pid} of {user} in {database} ({application or 'no application name'})"
        for pid, user, database, application, endable in session.execute(
            # Without a user they are the server's own, and end by themselves when a rename wants them to.
            "SELECT a.pid, a.usename, a.datname, a.application_name, "
            "me.rolsuper OR (NOT r.rolsuper AND (pg_catalog.pg_has_role(r.oid, 'USAGE') "
            "OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'))) "
            "FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid "
            "CROSS JOIN pg_catalog.pg_roles me WHERE me.rolname = current_user "
            "AND a.datname = ANY(%s) ORDER BY a.pid",
            [list(databases)],
        )
        if not (only_staying and endable)
    ]
    found += [
        f"prepared transaction {gid} of {owner} in {database}"
        for gid, owner, database in session.execute(
            "SELECT gid, owner, database FROM pg_catalog.pg_prepared_xacts WHERE database = ANY(%s)",
            [list(databases)],
        )
    ]
    return found


def _reopen(work: Promoting) -> None:
    """Reopen live after an error, on a session of its own where the one that was used cannot be."""
    session, leases = work.hold.session, work.leases
    session.abandon()
    try:
        if session.usable:
            with session.uninterrupted():
                reopened = leases.reopen_live(session)
        else:
            with work.server.session(work.server.lease_database) as other, other.uninterrupted():
                reopened = leases.reopen_alone(other)
    except psycopg.Error as error:
        work.log.error(
            "%s is closed and could not be reopened: %s. The next step that takes the lease reopens it; by "
            "hand: ALTER DATABASE ... ALLOW_CONNECTIONS true.",
            leases.where,
            describe_database_error(error),
        )
    except EnvSyncError as problem:
        work.log.error(
            "%s is closed and could not be reopened: %s The next step that takes the lease reopens it; by "
            "hand: "
            "ALTER DATABASE ... ALLOW_CONNECTIONS true.",
            leases.where,
            problem,
        )
    else:
        if reopened:
            work.log.warning("%s was closed for the swap, and is open again as it was.", leases.where)


def _finish(work: Promoting, promotion: Promotion) -> Promotion:
    """Drop previous where it is not to be kept; what fails there is a warning, for the swap is done."""
    if work.keep_previous or not promotion.previous_kept:
        return promotion
    name = work.copies.previous
    try:
        with plain_errors(f"Dropping {name} on {work.server}"):
            drop_database(work.hold.session, name)
    except EnvSyncError as problem:
        warnings = (*promotion.warnings, f"{name} is still there: {problem}")
        return Promotion(
            unavailable=promotion.unavailable, first=promotion.first, previous_kept=True, warnings=warnings
        )
    return Promotion(
        unavailable=promotion.unavailable,
        first=promotion.first,
        previous_kept=False,
        warnings=promotion.warnings,
    )


def _rename(database: str, to: str) -> sql.Composed:
    return sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(database), sql.Identifier(to))


def _named(transformations: Sequence[Transformation]) -> str:
    return ", ".join(f"{one.name} ({one.sha256[:12]})" for one in transformations) or "none"
