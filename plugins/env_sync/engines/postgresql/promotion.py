"""Promoting: incoming becomes live, live becomes previous, in one transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from attrs import evolve, frozen
from psycopg import sql

from env_sync.core.errors import AccessRefused, EnvSyncError, PromoteFailed, ProofMissing
from env_sync.engines.base import promotion
from env_sync.engines.base.contract import Stamp
from env_sync.engines.base.history import Promoted
from env_sync.engines.base.promotion import Swapped, warning_of
from env_sync.engines.base.proof import AGAIN, nothing_to_promote
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
class Prepared(promotion.Prepared):
    """What is swapped, and what the new live is given."""

    incoming: Database
    live: Database | None
    """None where there is none."""
    roles: Roles
    owner: int
    """The OID of the role to which the new live belongs."""
    previous: Database | None = None
    """What the swap replaces; None where there is none that could be made live again."""


@frozen(kw_only=True)
class Promoting(promotion.Promoting[Database, Prepared]):
    """All that a promotion works with. Every method may raise psycopg.Error."""

    server: Server
    hold: HeldLease
    leases: LeaseManager
    copies: Copies
    wait: dt.timedelta
    closed: Closed | None = None
    """How incoming was when it was opened for us alone, where an earlier step kept that."""

    @property
    def live_named(self) -> str:
        """Live, and where it is."""
        return self.leases.where

    @property
    def incoming_named(self) -> str:
        """Incoming, and where it is."""
        return f"{self.copies.incoming} on {self.server}"

    def read_incoming(self) -> Database | None:
        """The database; None where there is none."""
        return read_database(self.hold.session, self.copies.incoming)

    def read_live(self) -> Comment | None:
        """What live says about itself; None where there is none."""
        return read_comment(self.hold.session, self.copies.live)

    def read_proof(self) -> Stamp | None:
        """The stamp of incoming. Raises ProofMissing where there is none, or another role's."""
        found = look_up(self.hold.session, self.copies.incoming)
        if found is None:
            raise nothing_to_promote(f"database {self.incoming_named}")
        check_made_by_us(found, self.incoming_named, AGAIN)
        return found.comment.stamp

    def prepare(self, incoming: Database | None, stamp: Stamp) -> Prepared:
        """Give the objects in incoming their owners and grants; it stays closed.

        Raises ProofMissing, PromoteFailed, AccessRefused.
        """
        session, copies = self.hold.session, self.copies
        if incoming is None:
            raise ProofMissing(f"There is no database {copies.incoming}: run the group again from restore.")
        check_not_replicated(session, self.server, copies)
        live = read_database(session, copies.live)
        roles, owner, warnings = _prepare(self, incoming, live)
        return Prepared(
            stamp=stamp,
            first=live is None,
            warnings=warnings,
            incoming=incoming,
            live=live,
            roles=roles,
            owner=owner,
        )

    def make_way(self, prepared: Prepared) -> Prepared:
        """Drop what an earlier swap replaced, and wait for those in live whom we may not end.

        Raises NameRefused where previous is not ours, AccessRefused, PromoteFailed.
        """
        previous = _previous(self, prepared.roles)
        wait_for_those_that_stay(self.swap_with(self.copies.incoming, self.copies.previous))
        return evolve(prepared, previous=previous)

    def check_same(self, prepared: Prepared, *, last: bool) -> Prepared:
        """See that nobody else was let into incoming, and read live again, which the new one is like.

        Only right before the swap. Raises PromoteFailed.
        """
        if not last:
            return prepared
        session, incoming = self.hold.session, self.copies.incoming
        found = check_closed(session, self.server, incoming, PromoteFailed, kept=self.closed).warnings
        live = None if prepared.live is None else still_there(self, prepared.live)
        return evolve(prepared, live=live, warnings=prepared.warnings + found)

    def swap(self, prepared: Prepared) -> Swapped:
        """Rename them in one transaction. See `swap`."""
        if prepared.live is None:
            _name_first(self, prepared)
            return Swapped(unavailable=0.0)
        unavailable = _swap(self, prepared, prepared.live)
        self.log.info("%s was unavailable for %.3f s.", self.leases.where, unavailable)
        return Swapped(unavailable=unavailable)

    def has_previous(self) -> bool:
        """Whether there is a database of that name."""
        return read_database(self.hold.session, self.copies.previous) is not None

    def drop_replaced(self, *, first: bool) -> tuple[str, ...]:
        """Drop what the swap replaced; gives a warning where that fails."""
        if first:
            return ()
        return self._dropped(self.copies.replaced, lambda: drop_replaced(self.hold.session, self.copies))

    def drop_previous(self) -> tuple[str, ...]:
        """Drop previous; gives a warning where that fails."""
        previous = self.copies.previous
        return self._dropped(previous, lambda: drop_database(self.hold.session, previous))

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

    def _dropped(self, name: str, drop: Callable[[], object]) -> tuple[str, ...]:
        try:
            with plain_errors(f"Dropping {name} on {self.server}"):
                drop()
        except EnvSyncError as problem:
            return warning_of(name, problem)
        return ()


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


def _name_first(work: Promoting, prepared: Prepared) -> None:
    session, copies, owner = work.hold.session, work.copies, prepared.owner

    def rename() -> None:
        work.leases.opened_by_rename(session)
        session.execute(rename_database(copies.incoming, copies.live))
        if owner != prepared.incoming.owner:
            session.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                    sql.Identifier(copies.live), sql.Identifier(prepared.roles.names[owner])
                )
            )
        now = session.value("SELECT pg_catalog.clock_timestamp()")
        promoted = Promoted(at=now, unavailable=0.0, first=True)
        write_comment(session, copies.live, Comment(person="", stamp=prepared.stamp, promoted=promoted))

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


def _swap(work: Promoting, prepared: Prepared, live: Database) -> float:
    """Make incoming live, and live previous; gives the seconds for which it was closed. See `swap`."""
    session, copies = work.hold.session, work.copies

    def rename(closed: dt.datetime) -> None:
        before = read_comment(session, copies.live) or Comment(person="", stamp=None)
        if prepared.previous is not None:
            session.execute(rename_database(copies.previous, copies.replaced))
        session.execute(rename_database(copies.live, copies.previous))
        session.execute(rename_database(copies.incoming, copies.live))
        give_place(session, live, prepared.incoming, prepared.roles, prepared.owner)
        now: dt.datetime = session.value("SELECT pg_catalog.clock_timestamp()")
        promoted = Promoted(at=now, unavailable=(now - closed).total_seconds(), first=False)
        comment = Comment(person=before.person, stamp=prepared.stamp, promoted=promoted)
        write_comment(session, copies.live, comment)
        write_comment(session, copies.previous, no_longer_live(work, before, live, now))

    return swap(work.swap_with(copies.incoming, copies.previous), rename)


def no_longer_live(work: Promoting, comment: Comment, live: Database, until: dt.datetime) -> Comment:
    """What the comment on live becomes when it is made previous: by this it is known again, for undo."""
    was_live = WasLive(database=live.name, oid=live.oid, environment=work.environment, until=until)
    return evolve(comment, returned=None, was_live=was_live)
