"""Promoting: incoming becomes live, live becomes previous, in one transaction."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Iterator, Sequence

from attrs import evolve, frozen
from psycopg import sql

from env_sync.core.errors import AccessRefused, EnvSyncError, PromoteFailed, ProofMissing
from env_sync.domain.manifest import Transformation
from env_sync.engines.base.contract import Holder, Promotion, Stamp
from env_sync.engines.base.history import Promoted
from env_sync.engines.base.proof import AGAIN, check_stamp
from env_sync.engines.postgresql.access.objects import carry_over, read_privileges
from env_sync.engines.postgresql.access.owners import check_nothing_is_ours, owner_of_live
from env_sync.engines.postgresql.access.readers import check_closed
from env_sync.engines.postgresql.access.roles import Roles, read_roles
from env_sync.engines.postgresql.access.server_objects import lost_server_grants
from env_sync.engines.postgresql.copy_ownership import check_made_by_us, look_up
from env_sync.engines.postgresql.database import INVALID, Database, give_place, give_settings, read_database
from env_sync.engines.postgresql.incoming import drop_database
from env_sync.engines.postgresql.lease import HeldLease, LeaseManager
from env_sync.engines.postgresql.metadata import Closed, Comment, WasLive, read_comment, write_comment
from env_sync.engines.postgresql.names import Copies
from env_sync.engines.postgresql.replication import check_not_replicated, publications
from env_sync.engines.postgresql.session import Server, Session, plain_errors
from env_sync.engines.postgresql.stash import check_replaceable_previous, drop_replaced
from env_sync.engines.postgresql.statistics import let_autovacuum_go
from env_sync.engines.postgresql.swap import (
    Swap,
    rename_database,
    swap,
    wait_for_those_that_stay,
    when_nobody_is_there,
)


@frozen(kw_only=True)
class Promoting:
    """All that a promotion works with."""

    server: Server
    hold: HeldLease
    leases: LeaseManager
    copies: Copies
    holder: Holder
    environment: str
    keep_previous: bool
    wait: dt.timedelta
    log: logging.Logger
    closed: Closed | None = None
    """How incoming was when it was opened for us alone, where an earlier step kept that."""

    def swap_with(self, *others: str) -> Swap:
        """What swapping live works with, where these are renamed as well."""
        return Swap(
            server=self.server,
            hold=self.hold,
            leases=self.leases,
            databases=(self.copies.live, *others),
            wait=self.wait,
            log=self.log,
        )


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
    check_not_replicated(session, work.server, copies)
    live = read_database(session, copies.live)
    roles, owner, warnings = _prepare(work, incoming, live)
    if live is None:
        last_look()
        warnings += _check_closed(work)
        _name_first(work, incoming, stamp, roles, owner)
        return Promotion(unavailable=0.0, first=True, previous_kept=False, warnings=warnings)
    # A pull that was paused meanwhile need not wait for anybody.
    last_look()
    previous = _previous(work, roles)
    wait_for_those_that_stay(work.swap_with(copies.incoming, copies.previous))
    last_look()
    warnings += _check_closed(work)
    # Read again: preparing takes a while, and this is what the new live is given.
    live = still_there(work, live)
    unavailable = _swap(work, live, incoming, previous, stamp, roles, owner)
    work.log.info("%s was unavailable for %.3f s.", work.leases.where, unavailable)
    return _finish(
        work, Promotion(unavailable=unavailable, first=False, previous_kept=True, warnings=warnings)
    )


def _check_closed(work: Promoting) -> tuple[str, ...]:
    """The last look at who else could read incoming; gives warnings."""
    session, incoming = work.hold.session, work.copies.incoming
    return check_closed(session, work.server, incoming, PromoteFailed, kept=work.closed).warnings


def check_proof(work: Promoting, transformations: Sequence[Transformation]) -> Stamp:
    """The proof that incoming carries. Raises ProofMissing, saying what does not fit."""
    found = look_up(work.hold.session, work.copies.incoming)
    where = f"{work.copies.incoming} on {work.server}"
    if found is None:
        raise ProofMissing(f"There is no database {where}, so nothing to promote. {AGAIN}")
    check_made_by_us(found, where, AGAIN)
    return check_stamp(
        found.comment.stamp,
        where,
        holder=work.holder,
        environment=work.environment,
        transformations=transformations,
    )


def check_replaceable(live: Database, where: str) -> None:
    """Raises PromoteFailed where live is broken, or was closed by somebody else."""
    if live.connection_limit == INVALID:
        raise PromoteFailed(
            f"{where} is the rest of a DROP DATABASE that did not end: drop it, and run the group again."
        )
    if not live.open:
        raise PromoteFailed(
            f"{where} refuses connections, and Env Sync did not close it: somebody did. When it may be "
            "replaced, ALTER DATABASE ... ALLOW_CONNECTIONS true and run the step again."
        )


def required_role(session: Session, live: Database, roles: Roles, where: str) -> None:
    """Raises AccessRefused where this role could not rename live: it must be able to act as its owner."""
    if roles.can_be(live.owner):
        return
    ours, owner = roles.names[roles.ours], roles.names.get(live.owner, str(live.owner))
    advice = (
        "give the database to the application's own role (ALTER DATABASE ... OWNER TO ...) and GRANT that "
        f"role to {ours}"
        if live.owner in roles.mighty
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
        owner = owner_of_live(server, copies.live, live, roles)
        if live is None:
            warnings += carry_over(inside, now, None, roles, owner)
            warnings.append(
                f"{copies.live} is new on {server}: it belongs to {roles.names[owner]} and no other role can "
                f'connect to it. Let them in with GRANT CONNECT ON DATABASE "{copies.live}" TO ... and '
                "grants "
                "inside it; later pulls keep them."
            )
            check_nothing_is_ours(inside, roles)
            return roles, owner, tuple(warnings)
        check_replaceable(live, work.leases.where)
        required_role(inside, live, roles, work.leases.where)
        with server.session(copies.live) as there:
            wanted = read_privileges(there)
            lost = lost_server_grants(there, inside)
            published = set(publications(there)).difference(publications(inside))
        if published:
            warnings.append(
                f"Publications of live are not in what replaces it: {', '.join(sorted(published))}. Make "
                "them again: by hand, or each night by a transformation."
            )
        if lost is not None:
            warnings.append(lost)
        warnings += carry_over(inside, now, wanted, roles, owner)
        check_nothing_is_ours(inside, roles)
    warnings += give_settings(work.hold.session, incoming, live.settings, roles)
    return roles, owner, tuple(warnings)


def _name_first(work: Promoting, incoming: Database, stamp: Stamp, roles: Roles, owner: int) -> None:
    session, copies = work.hold.session, work.copies

    def rename() -> None:
        work.leases.opened_by_rename(session)
        session.execute(rename_database(copies.incoming, copies.live))
        if owner != incoming.owner:
            session.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                    sql.Identifier(copies.live), sql.Identifier(roles.names[owner])
                )
            )
        now = session.value("SELECT pg_catalog.clock_timestamp()")
        promoted = Promoted(at=now, unavailable=0.0, first=True)
        write_comment(session, copies.live, Comment(person="", stamp=stamp, promoted=promoted))

    when_nobody_is_there(work.swap_with(copies.incoming), rename)


def still_there(work: Promoting, before: Database) -> Database:
    """Live as it is now, right before it is closed. Raises PromoteFailed where it is another one by now."""
    live = read_database(work.hold.session, work.copies.live)
    if live is None or live.oid != before.oid or live.owner != before.owner or not live.open:
        raise PromoteFailed(
            f"{work.leases.where} was replaced, closed or given another owner by somebody else while the "
            "swap was prepared. Live is as they left it; run the step again."
        )
    return live


def _previous(work: Promoting, roles: Roles) -> Database | None:
    """Previous, which the swap is to replace; None where there is none that could be made live again."""
    session, copies = work.hold.session, work.copies
    drop_replaced(session, copies)
    previous = check_replaceable_previous(session, work.server, copies)
    if previous is None:
        return None
    required_role(session, previous, roles, f"{copies.previous} on {work.server}")
    if previous.connection_limit == INVALID:
        drop_database(session, copies.previous)
        return None
    return previous


def _swap(
    work: Promoting,
    live: Database,
    incoming: Database,
    previous: Database | None,
    stamp: Stamp,
    roles: Roles,
    owner: int,
) -> float:
    """Make incoming live, and live previous; gives the seconds for which it was closed. See `swap`."""
    session, copies = work.hold.session, work.copies

    def rename(closed: dt.datetime) -> None:
        before = read_comment(session, copies.live) or Comment(person="", stamp=None)
        if previous is not None:
            session.execute(rename_database(copies.previous, copies.replaced))
        session.execute(rename_database(copies.live, copies.previous))
        session.execute(rename_database(copies.incoming, copies.live))
        give_place(session, live, incoming, roles, owner)
        now: dt.datetime = session.value("SELECT pg_catalog.clock_timestamp()")
        promoted = Promoted(at=now, unavailable=(now - closed).total_seconds(), first=False)
        write_comment(session, copies.live, Comment(person=before.person, stamp=stamp, promoted=promoted))
        write_comment(session, copies.previous, no_longer_live(work, before, live, now))

    return swap(work.swap_with(copies.incoming, copies.previous), rename)


def no_longer_live(work: Promoting, comment: Comment, live: Database, until: dt.datetime) -> Comment:
    """What the comment on live becomes when it is made previous: by this it is known again, for undo."""
    was_live = WasLive(database=live.name, oid=live.oid, environment=work.environment, until=until)
    return evolve(comment, returned=None, was_live=was_live)


def _finish(work: Promoting, promotion: Promotion) -> Promotion:
    """Drop what the swap replaced, and previous where it is not to be kept.

    What fails there is a warning, for the swap is done.
    """
    session, copies = work.hold.session, work.copies
    warnings = list(promotion.warnings)
    with _warning(work, copies.replaced, warnings):
        drop_replaced(session, copies)
    kept = promotion.previous_kept
    if kept and not work.keep_previous:
        with _warning(work, copies.previous, warnings):
            drop_database(session, copies.previous)
            kept = False
    return evolve(promotion, previous_kept=kept, warnings=tuple(warnings))


@contextlib.contextmanager
def _warning(work: Promoting, name: str, warnings: list[str]) -> Iterator[None]:
    try:
        with plain_errors(f"Dropping {name} on {work.server}"):
            yield
    except EnvSyncError as problem:
        warnings.append(f"{name} is still there: {problem}")
