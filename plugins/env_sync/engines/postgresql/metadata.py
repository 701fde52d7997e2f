"""Stamps: what a copy says about itself, kept in the comment on its database.

A rename takes the comment along, a restore never brings one (pg_restore leaves comments on databases out
unless it makes the database), and only the database's owner can write it. A person's own comment stays: it
comes first, the stamp is the last line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from psycopg import sql

from env_sync.core.serialization import from_plain, to_plain
from env_sync.engines.base import history
from env_sync.engines.base.contract import Stamp
from env_sync.engines.base.history import Promoted, Returned
from env_sync.engines.base.proof import unreadable
from env_sync.engines.postgresql.session import Session

MARK = "env_sync: "


@frozen(kw_only=True)
class WasLive(history.WasLive):
    """The same with the database's own `oid`, which a copy of it, or of its comment, does not have."""

    oid: int


@frozen(kw_only=True)
class Closed:
    """How a copy was when it was opened for us alone: by this it is seen whether others were let in since."""

    row: str
    """Which version its row in pg_database was; "" where that cannot tell."""
    memberships: int
    """How often memberships of roles had been changed on the server."""
    taken_away: int | None = None
    """How often one had been taken away or altered; None where an earlier version wrote this."""
    members: int | None = None
    """How many roles were members of the owner by whatever path, without superusers; None as well."""
    database: int | None = None
    """Its OID; None as well."""


@frozen(kw_only=True)
class Comment:
    """The comment on a database, taken apart; `person` is what somebody else wrote, "" for nothing."""

    person: str
    stamp: Stamp | None
    promoted: Promoted | None = None
    returned: Returned | None = None
    was_live: WasLive | None = None
    closed: Closed | None = None

    def text(self) -> str:
        """The comment as one text."""
        lines = [self.person] if self.person else []
        ours = to_plain(self.stamp) if self.stamp else {}
        ours |= {name: to_plain(added) for name in ADDED if (added := getattr(self, name)) is not None}
        if ours:
            lines.append(MARK + json.dumps(ours))
        return "\n".join(lines)


ADDED: Mapping[str, type[Any]] = {
    "promoted": Promoted,
    "returned": Returned,
    "was_live": WasLive,
    "closed": Closed,
}
"""What may stand beside a stamp, by the name of its field."""


def take_apart(text: str | None) -> Comment:
    """The parts of a comment; a stamp that cannot be read is none."""
    try:
        return understood(text)
    except ValueError:
        return Comment(person=_parts(text)[0], stamp=None)


def understood(text: str | None) -> Comment:
    """The same; raises ValueError where there is a stamp that cannot be read."""
    person, marked = _parts(text)
    if marked is None:
        return Comment(person=person, stamp=None)
    plain: object = json.loads(marked)
    if not isinstance(plain, dict):
        raise ValueError("A stamp is an object.")
    added = {name: from_plain(kind, plain[name]) for name, kind in ADDED.items() if name in plain}
    # A database that was live before the first pull has no stamp, yet it is known that it was live.
    stamp = None if plain.keys() <= ADDED.keys() else from_plain(Stamp, plain)
    return Comment(person=person, stamp=stamp, **added)


def _parts(text: str | None) -> tuple[str, str | None]:
    """What a person wrote, and what stands behind the last mark; None where there is no mark."""
    lines = (text or "").split("\n")
    marked = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    person = "\n".join(line for line in lines if not line.startswith(MARK))
    return person, marked[-1] if marked else None


def read_comment(session: Session, database: str) -> Comment | None:
    """The comment on a database; None where there is no such database. Asked from any database."""
    rows = _comments(session, database)
    return take_apart(rows[0][0]) if rows else None


def read_or_refuse(session: Session, database: str, where: str) -> Comment | None:
    """The same; raises StampUnreadable, naming `where` it is, for a stamp that cannot be read."""
    rows = _comments(session, database)
    try:
        return understood(rows[0][0]) if rows else None
    except ValueError:
        name = database.replace('"', '""')
        raise unreadable(
            where,
            f'take the line that begins with "{MARK.strip()}" out of its comment, or all of it: '
            f'COMMENT ON DATABASE "{name}" IS NULL',
        ) from None


def _comments(session: Session, database: str) -> list[tuple[Any, ...]]:
    return session.execute(
        "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database "
        "WHERE datname = %s",
        [database],
    )


def write_comment(session: Session, database: str, comment: Comment) -> None:
    """Replace the comment on a database."""
    session.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(comment.text()))
    )


def write_stamp(session: Session, database: str, stamp: Stamp) -> None:
    """Replace the stamp of a database, and keep a person's comment and how it was closed."""
    before = read_comment(session, database) or Comment(person="", stamp=None)
    write_comment(session, database, Comment(person=before.person, stamp=stamp, closed=before.closed))
