"""Whose a database under the name of a copy is: only what we made is dropped, renamed or worked on.

A comment can be written by whoever owns a database, so what it says counts only on one that we own. Previous
keeps the owner that it had as live; its mark names the database itself, by its OID, and as what it was live.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from env_sync.core.errors import NameRefused, ProofMissing
from env_sync.engines.postgresql.metadata import Comment, take_apart
from env_sync.engines.postgresql.names import Copies
from env_sync.engines.postgresql.session import Server, Session


@frozen(kw_only=True)
class Owned:
    """A database, and what our role is to it."""

    oid: int
    owner: str
    """Quoted."""
    ours: bool
    """Whether our role itself owns it."""
    as_owner: bool
    """Whether our role may act as its owner."""
    open: bool
    comment: Comment

    @property
    def is_our_copy(self) -> bool:
        """Whether we made it as incoming or outgoing.

        Until it has its stamp it refuses all connections; so does what is left of a making that was cut off.
        """
        return self.ours and (self.comment.stamp is not None or not self.open)

    def was_live_as(self, database: str) -> bool:
        """Whether a swap made it previous of this database."""
        was = self.comment.was_live
        return self.as_owner and was is not None and (was.oid, was.database) == (self.oid, database)


def look_up(session: Session, name: str) -> Owned | None:
    """The database of this name; None where there is none. Asked from any database."""
    rows = session.execute(
        "SELECT d.oid::bigint, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(d.datdba)), "
        "pg_catalog.pg_get_userbyid(d.datdba) = current_user, pg_catalog.pg_has_role(d.datdba, 'USAGE'), "
        "d.datallowconn, pg_catalog.shobj_description(d.oid, 'pg_database') "
        "FROM pg_catalog.pg_database d WHERE d.datname = %s",
        [name],
    )
    if not rows:
        return None
    oid, owner, ours, as_owner, is_open, comment = rows[0]
    return Owned(
        oid=oid, owner=owner, ours=ours, as_owner=as_owner, open=is_open, comment=take_apart(comment)
    )


def is_our_copy(session: Session, name: str) -> bool:
    """Whether there is a database of this name that we made as incoming or outgoing."""
    found = look_up(session, name)
    return found is not None and found.is_our_copy


def is_our_previous(session: Session, copies: Copies, name: str) -> bool:
    """Whether there is a database of this name, previous or replaced, that a swap left."""
    found = look_up(session, name)
    return found is not None and found.was_live_as(copies.live)


def check_names(session: Session, server: Server, copies: Copies, names: Sequence[str]) -> None:
    """Raises NameRefused where a database that we did not make has one of these names of copies."""
    for name in names:
        found = look_up(session, name)
        if found is None:
            continue
        if name in (copies.incoming, copies.outgoing):
            made, says = found.is_our_copy, "Env Sync did not make"
        else:
            made, says = found.was_live_as(copies.live), "does not say that it was ever live here"
        if not made:
            raise NameRefused(
                f"There is a database {name} on {server} that {says}. It belongs to {found.owner} and may be "
                f"somebody else's, and a sync of {copies.live} would drop it. Rename it, or drop it. Live is "
                "untouched."
            )


def check_made_by_us(found: Owned, where: str, again: str) -> None:
    """Raises ProofMissing where incoming is another role's: what that says of itself counts for nothing."""
    if not found.ours:
        raise ProofMissing(
            f"{where} belongs to {found.owner}, so it is not the one that the restore made. {again}"
        )
