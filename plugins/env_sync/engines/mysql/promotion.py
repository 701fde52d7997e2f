"""Promoting: incoming becomes live, live becomes previous."""

from __future__ import annotations

import datetime as dt
import uuid

from attrs import evolve, frozen

from env_sync.core.errors import EnvSyncError, PromoteFailed
from env_sync.engines.base import promotion
from env_sync.engines.base.contract import Stamp
from env_sync.engines.base.promotion import Swapped, warning_of
from env_sync.engines.base.proof import nothing_to_promote
from env_sync.engines.mysql.access.indirect_readers import check_watchers
from env_sync.engines.mysql.access.readers import check_closed
from env_sync.engines.mysql.copy_ownership import is_empty
from env_sync.engines.mysql.incoming import drop_copy
from env_sync.engines.mysql.lease import HeldLease, LeaseManager
from env_sync.engines.mysql.metadata import Told, read_objects, read_told
from env_sync.engines.mysql.names import Copies
from env_sync.engines.mysql.objects import Object
from env_sync.engines.mysql.renaming import both_tables
from env_sync.engines.mysql.replaceable import check_replaceable
from env_sync.engines.mysql.session import Server, clock, drop_database, exists, plain_errors
from env_sync.engines.mysql.stash import put_aside, put_back
from env_sync.engines.mysql.swap import Plan, begin, finish, make_like, objects_of, rename


@frozen(kw_only=True)
class Prepared(promotion.Prepared):
    """What live has beside its tables."""

    old: tuple[Object, ...] = ()


@frozen(kw_only=True)
class Promoting(promotion.Promoting[str, Prepared]):
    """All that a promotion works with. Every method may raise MySQLError."""

    server: Server
    hold: HeldLease
    leases: LeaseManager
    copies: Copies
    guards: bool
    wait: dt.timedelta

    @property
    def live_named(self) -> str:
        """Live, and where it is."""
        return self.leases.where

    @property
    def incoming_named(self) -> str:
        """Incoming, and where it is."""
        return f"{self.copies.incoming} on {self.server}"

    def read_incoming(self) -> str | None:
        """Its name; None where it is empty: a step killed right after the swap may have left that."""
        return None if is_empty(self.hold.session, self.copies.incoming) else self.copies.incoming

    def read_live(self) -> Told:
        """What live says about itself; nothing where it is not there."""
        session, live = self.hold.session, self.copies.live
        return read_told(session, live) if exists(session, live) else Told()

    def read_proof(self) -> Stamp | None:
        """The stamp of incoming. Raises ProofMissing where there is none."""
        if not exists(self.hold.session, self.copies.incoming):
            raise nothing_to_promote(f"database {self.incoming_named}")
        return read_told(self.hold.session, self.copies.incoming).stamp

    def prepare(self, incoming: str | None, stamp: Stamp) -> Prepared:
        """See that nobody reads incoming, and that live can be replaced. Raises PromoteFailed."""
        session, copies = self.hold.session, self.copies
        check_closed(session, copies.incoming, PromoteFailed)
        if self.guards:
            check_watchers(session, self.server, copies.incoming, PromoteFailed)
        check_replaceable(session, self.server, copies, PromoteFailed)
        return Prepared(stamp=stamp, first=not exists(session, copies.live))

    def make_way(self, prepared: Prepared) -> Prepared:
        """Let previous be empty; what it held stands aside. See `stash`."""
        session, copies = self.hold.session, self.copies
        old = objects_of(self.server, copies.live)
        put_back(session, copies)
        put_aside(session, copies)
        return evolve(prepared, old=old)

    def swap(self, prepared: Prepared) -> Swapped:
        """Swap the tables, make what cannot move, and drop incoming, which is empty then. See `swap`."""
        session, copies = self.hold.session, self.copies
        if prepared.first:
            put_back(session, copies)
        plan = self.plan(copies.incoming, prepared.old, first=prepared.first)
        begin(session, plan)
        if prepared.first:
            make_like(session, copies.live, copies.incoming)
        swapped = self.carry_out(plan)
        drop_database(session, copies.incoming)
        if not prepared.first:
            return swapped
        warning = (
            f"{copies.live} is new on {self.server}: only accounts whose grants name it can read it. "
            f"Let others in with GRANT ... ON `{copies.live}`.* TO ...; later pulls keep that."
        )
        return Swapped(unavailable=0.0, warnings=(*swapped.warnings, warning))

    def has_previous(self) -> bool:
        """Whether there is a database of that name."""
        return exists(self.hold.session, self.copies.previous)

    def drop_rest_of_incoming(self) -> None:
        """Drop incoming, which the swap emptied."""
        drop_database(self.hold.session, self.copies.incoming)

    def drop_replaced(self, *, first: bool) -> tuple[str, ...]:
        """Drop what previous was before the swap; gives a warning where that fails."""
        return self._dropped(self.copies.replaced)

    def drop_previous(self) -> tuple[str, ...]:
        """Drop previous; gives a warning where that fails."""
        return self._dropped(self.copies.previous)

    def plan(self, other: str, old: tuple[Object, ...], *, first: bool = False, undo: bool = False) -> Plan:
        """The swap of live, which has `old` beside its tables, with the copy that is to be live."""
        session, copies = self.hold.session, self.copies
        return Plan(
            holder=self.holder,
            environment=self.environment,
            live=copies.live,
            other=other,
            previous=copies.previous,
            token=uuid.uuid4().hex,
            first=first,
            began=clock(session),
            undo=undo,
            old=old,
            new=read_objects(session, other),
            tables=both_tables(session, copies.live, other),
        )

    def carry_out(self, plan: Plan) -> Swapped:
        """Do what was planned, and begun. Raises PromoteFailed."""
        session = self.hold.session
        seconds = rename(session, self.server, plan, self.wait, self.hold.check)
        with session.uninterrupted():
            swapped = finish(session, self.server, plan, seconds)
        self.log.info("The tables of %s were swapped within %.3f s.", self.leases.where, seconds)
        for warning in swapped.warnings:
            self.log.warning("%s", warning)
        return swapped

    def _dropped(self, name: str) -> tuple[str, ...]:
        try:
            with plain_errors(f"Dropping {name} on {self.server}"):
                drop_copy(self.hold.session, name)
        except EnvSyncError as problem:
            return warning_of(name, problem)
        return ()
