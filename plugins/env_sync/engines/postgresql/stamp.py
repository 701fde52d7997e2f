"""Stamps: what a copy says about itself, kept in the comment on its database.

A rename takes the comment along, a restore never brings one (pg_restore leaves comments on databases out
unless it makes the database), and only the database's owner can write it. A person's own comment stays: it
comes first, the stamp is the last line.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from psycopg import sql

from env_sync.engines.contract import Stamp
from env_sync.engines.postgresql.session import Session
from env_sync.plain import from_plain, to_plain

MARK = "env_sync: "


@frozen(kw_only=True)
class Promoted:
    """What promote adds to the stamp of what it made live; `unavailable` in seconds, `at` in UTC."""

    at: dt.datetime
    unavailable: float
    first: bool


@frozen(kw_only=True)
class Comment:
    """The comment on a database, taken apart; `person` is what somebody else wrote, "" for nothing."""

    person: str
    stamp: Stamp | None
    promoted: Promoted | None = None

    def text(self) -> str:
        """The comment as one text."""
        lines = [self.person] if self.person else []
        if self.stamp:
            added = {"promoted": to_plain(self.promoted)} if self.promoted else {}
            lines.append(MARK + json.dumps({**to_plain(self.stamp), **added}))
        return "\n".join(lines)


def take_apart(text: str | None) -> Comment:
    """The parts of a comment; a stamp that cannot be read is none."""
    lines = (text or "").split("\n")
    marked = [line for line in lines if line.startswith(MARK)]
    person = "\n".join(line for line in lines if not line.startswith(MARK))
    if not marked:
        return Comment(person=person, stamp=None)
    try:
        plain: Mapping[str, Any] = json.loads(marked[-1].removeprefix(MARK))
        stamp = from_plain(Stamp, plain)
        promoted = from_plain(Promoted, plain["promoted"]) if "promoted" in plain else None
    except (ValueError, TypeError):
        return Comment(person=person, stamp=None)
    return Comment(person=person, stamp=stamp, promoted=promoted)


def read_comment(session: Session, database: str) -> Comment | None:
    """The comment on a database; None where there is no such database. Asked from any database."""
    rows = session.execute(
        "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database "
        "WHERE datname = %s",
        [database],
    )
    return take_apart(rows[0][0]) if rows else None


def write_comment(session: Session, database: str, comment: Comment) -> None:
    """Replace the comment on a database."""
    session.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(comment.text()))
    )


def write_stamp(session: Session, database: str, stamp: Stamp) -> None:
    """Replace the stamp of a database, and keep a person's comment."""
    before = read_comment(session, database)
    write_comment(session, database, Comment(person=before.person if before else "", stamp=stamp))
