"""Undo: previous is live again, and what is live becomes previous, in one transaction."""

from __future__ import annotations

import datetime as dt

from attrs import evolve, frozen
from psycopg import sql

from env_sync.core.errors import NoPrevious, NoSuchDatabase, PreviousRefused
from env_sync.engines.base import undo
from env_sync.engines.base.contract import Stamp
from env_sync.engines.base.history import Promoted, Returned
from env_sync.engines.base.promotion import Swapped
from env_sync.engines.base.undo import check_previous
from env_sync.engines.postgresql.access.roles import read_roles
from env_sync.engines.postgresql.database import INVALID, Database, read_database
from env_sync.engines.postgresql.metadata import Comment, WasLive, read_comment, write_comment
from env_sync.engines.postgresql.promotion import (
    Promoting,
    check_replaceable,
    no_longer_live,
    required_role,
    still_there,
)
from env_sync.engines.postgresql.swap import rename_database, swap, wait_for_those_that_stay

BETWEEN = "__swapping"
"""What is live is called so while the two change names; nobody sees it, outside the transaction."""


@frozen(kw_only=True)
class Previous:
    """The database that is to be live again, and what it says about itself."""

    database: Database
    comment: Comment

    @property
    def stamp(self) -> Stamp | None:
        """What the pull wrote that filled it."""
        return self.comment.stamp

    @property
    def promoted(self) -> Promoted | None:
        """How it was promoted."""
        return self.comment.promoted

    @property
    def returned(self) -> Returned | None:
        """By which undo it was live again."""
        return self.comment.returned

    @property
    def was_live(self) -> WasLive | None:
        """That it was live."""
        return self.comment.was_live


@frozen(kw_only=True)
class Ready:
    """What is to change places: live as it was when it was looked at, and previous."""

    live: Database
    previous: Previous


@frozen(kw_only=True)
class Undoing(undo.Undoing[Comment, Previous, Ready]):
    """All that an undo works with. Every method may raise psycopg.Error."""

    promoting: Promoting

    @property
    def previous_named(self) -> str:
        """Previous, and where it is."""
        return f"{self.promoting.copies.previous} on {self.promoting.server}"

    def read_live(self) -> Comment | None:
        """What live says about itself; None where there is none."""
        return self.promoting.read_live()

    def write_returned(self, said: Comment, returned: Returned) -> None:
        """Let live, which says this, say that this undo made it live."""
        write_comment(self.promoting.hold.session, self.database, evolve(said, returned=returned))

    def has_previous(self) -> bool:
        """Whether there is a database of that name."""
        return self.promoting.has_previous()

    def read_previous(self) -> Previous | None:
        """Previous; None where there is none. Raises NoPrevious where it was dropped half."""
        return self._read(self.promoting.copies.previous)

    def is_another(self, previous: Previous) -> bool:
        """Whether it is another database than the one that was live."""
        was = previous.was_live
        return was is not None and was.oid != previous.database.oid

    def prepare(self, previous: Previous) -> Ready:
        """See that both can be renamed, and wait for those in live whom we may not end.

        Raises NoSuchDatabase, PromoteFailed, AccessRefused.
        """
        work, session, copies = self.promoting, self.promoting.hold.session, self.promoting.copies
        live = read_database(session, copies.live)
        if live is None:
            raise NoSuchDatabase(
                f"There is no database {work.leases.where}, so {copies.previous} cannot change places with "
                f'it. To make it live by hand, as its owner: ALTER DATABASE "{copies.previous}" RENAME TO '
                f'"{copies.live}"; ALTER DATABASE "{copies.live}" ALLOW_CONNECTIONS true.'
            )
        check_replaceable(live, work.leases.where)
        roles = read_roles(session)
        required_role(session, live, roles, work.leases.where)
        required_role(session, previous.database, roles, self.previous_named)
        wait_for_those_that_stay(work.swap_with(copies.previous))
        return Ready(live=live, previous=previous)

    def swap(self, ready: Ready) -> Swapped:
        """Rename them in one transaction. Raises PromoteFailed, PreviousRefused."""
        work = self.promoting
        unavailable = self._swap(still_there(work, ready.live), ready.previous.database)
        work.log.info(
            "%s is what %s was; it was unavailable for %.3f s.",
            work.leases.where,
            work.copies.previous,
            unavailable,
        )
        return Swapped(unavailable=unavailable)

    def _read(self, name: str) -> Previous | None:
        """Previous, now called `name`. Raises NoPrevious where it was dropped half."""
        session = self.promoting.hold.session
        database, comment = read_database(session, name), read_comment(session, name)
        if database is None or comment is None:
            return None
        if database.connection_limit == INVALID:
            raise NoPrevious(
                f"{self.previous_named} is the rest of a DROP DATABASE that did not end. Live is untouched; "
                "drop that, and pull an older dump by its timestamp."
            )
        return Previous(database=database, comment=comment)

    def _swap(self, live: Database, previous: Database) -> float:
        work, session, copies = self.promoting, self.promoting.hold.session, self.promoting.copies
        between = copies.live + BETWEEN

        def rename(closed: dt.datetime) -> None:
            before = read_comment(session, copies.live) or Comment(person="", stamp=None)
            session.execute(rename_database(copies.live, between))
            session.execute(rename_database(copies.previous, copies.live))
            session.execute(rename_database(between, copies.previous))
            # Looked at again now that nobody else can rename it.
            again = self._read(copies.live)
            if again is not None:
                check_previous(self, again)
            if again is None or again.database.oid != previous.oid:
                raise PreviousRefused(
                    f"{self.previous_named} was replaced by somebody else meanwhile. Live is as it was; run "
                    "the step again."
                )
            session.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(copies.live))
            )
            now: dt.datetime = session.value("SELECT pg_catalog.clock_timestamp()")
            returned = Returned(holder=self.holder, at=now, unavailable=(now - closed).total_seconds())
            write_comment(session, copies.live, evolve(again.comment, returned=returned, was_live=None))
            write_comment(session, copies.previous, no_longer_live(work, before, live, now))

        return swap(work.swap_with(copies.previous), rename)
