"""Undo: previous is live again, and what is live becomes previous, in one transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from attrs import evolve
from psycopg import sql

from env_sync.core.errors import NoPrevious, NoSuchDatabase, PreviousRefused
from env_sync.engines.base.contract import Promotion, Stamp
from env_sync.engines.base.history import Returned, check_was_live, no_previous
from env_sync.engines.postgresql.access.roles import read_roles
from env_sync.engines.postgresql.database import INVALID, Database, read_database
from env_sync.engines.postgresql.metadata import Comment, read_comment, write_comment
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


def restore_previous(work: Promoting, last_look: Callable[[Stamp | None], None]) -> Promotion:
    """Swap live and previous. See `Engine.restore_previous`. Raises psycopg.Error for what nobody foresaw."""
    session, copies = work.hold.session, work.copies
    if (done := _done_before(work)) is not None:
        return done
    previous, comment = check_previous(work, copies.previous)
    live = read_database(session, copies.live)
    if live is None:
        raise NoSuchDatabase(
            f"There is no database {work.leases.where}, so {copies.previous} cannot change places with it. "
            f'To make it live by hand, as its owner: ALTER DATABASE "{copies.previous}" RENAME TO '
            f'"{copies.live}"; ALTER DATABASE "{copies.live}" ALLOW_CONNECTIONS true.'
        )
    check_replaceable(live, work.leases.where)
    roles = read_roles(session)
    required_role(session, live, roles, work.leases.where)
    required_role(session, previous, roles, f"{copies.previous} on {work.server}")
    wait_for_those_that_stay(work.swap_with(copies.previous))
    last_look(comment.stamp)
    unavailable = _swap(work, still_there(work, live), previous)
    work.log.info(
        "%s is what %s was; it was unavailable for %.3f s.", work.leases.where, copies.previous, unavailable
    )
    return Promotion(unavailable=unavailable, first=False, previous_kept=True, warnings=())


def check_previous(work: Promoting, name: str) -> tuple[Database, Comment]:
    """The database that is to be live again, now called `name`, after it has shown that it was live here.

    Raises NoPrevious where there is none, PreviousRefused where it does not show that.
    """
    session, where = work.hold.session, f"{work.copies.previous} on {work.server}"
    database, comment = read_database(session, name), read_comment(session, name)
    if database is None or comment is None:
        raise no_previous(where, keep_previous=work.keep_previous)
    if database.connection_limit == INVALID:
        raise NoPrevious(
            f"{where} is the rest of a DROP DATABASE that did not end. Live is untouched; drop that, and "
            "pull an older dump by its timestamp."
        )
    was = comment.was_live
    check_was_live(
        was,
        comment.stamp,
        where,
        database=work.copies.live,
        environment=work.environment,
        is_another=was is not None and was.oid != database.oid,
    )
    return database, comment


def _swap(work: Promoting, live: Database, previous: Database) -> float:
    session, copies = work.hold.session, work.copies
    between = copies.live + BETWEEN

    def rename(closed: dt.datetime) -> None:
        before = read_comment(session, copies.live) or Comment(person="", stamp=None)
        session.execute(rename_database(copies.live, between))
        session.execute(rename_database(copies.previous, copies.live))
        session.execute(rename_database(between, copies.previous))
        # Looked at again now that nobody else can rename it.
        again, comment = check_previous(work, copies.live)
        if again.oid != previous.oid:
            raise PreviousRefused(
                f"{copies.previous} on {work.server} was replaced by somebody else meanwhile. Live is as it "
                "was; run the step again."
            )
        session.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(copies.live))
        )
        now: dt.datetime = session.value("SELECT pg_catalog.clock_timestamp()")
        returned = Returned(holder=work.holder, at=now, unavailable=(now - closed).total_seconds())
        write_comment(session, copies.live, evolve(comment, returned=returned, was_live=None))
        write_comment(session, copies.previous, no_longer_live(work, before, live, now))

    return swap(work.swap_with(copies.previous), rename)


def _done_before(work: Promoting) -> Promotion | None:
    """What an earlier try or attempt of this run and group did: it must not be undone by a rerun."""
    session, copies = work.hold.session, work.copies
    comment = read_comment(session, copies.live)
    returned = comment.returned if comment else None
    if comment is None or returned is None:
        return None
    if not returned.holder.same_group_as(work.holder):
        return None
    work.log.info(
        "This run has made %s live before, at %s: nothing is done. To change them back, start another run.",
        copies.previous,
        f"{returned.at:%Y-%m-%d %H:%M:%SZ}",
    )
    if returned.holder != work.holder:
        mine = evolve(returned, holder=work.holder)
        write_comment(session, copies.live, evolve(comment, returned=mine))
    kept = read_database(session, copies.previous) is not None
    return Promotion(unavailable=returned.unavailable, first=False, previous_kept=kept, warnings=())
