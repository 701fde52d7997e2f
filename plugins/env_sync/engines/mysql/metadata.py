"""Stamps: what a copy says about itself, in a table of its own, which a RENAME takes along with the rest.

The table never goes into a dump, and a restore leaves out one that a dump brings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from env_sync.core.errors import ProofMissing
from env_sync.core.serialization import from_plain, to_plain
from env_sync.engines.base import history
from env_sync.engines.base.contract import Stamp
from env_sync.engines.base.history import Promoted, Returned
from env_sync.engines.base.proof import unreadable
from env_sync.engines.mysql.identifiers import qualified
from env_sync.engines.mysql.objects import Object
from env_sync.engines.mysql.session import Session

TABLE = "env_sync_stamp"
_TOLD, _TOKEN, _DUMPED, _OBJECTS = "told", "token", "dumped", "objects"


@frozen(kw_only=True)
class WasLive(history.WasLive):
    """The same with a `token` that the lease database has as well, where no copy of this table brings it."""

    token: str


@frozen(kw_only=True)
class Told:
    """What a copy says about itself; `stamp` is None for what was live before the first pull."""

    stamp: Stamp | None = None
    promoted: Promoted | None = None
    returned: Returned | None = None
    was_live: WasLive | None = None


_PARTS: Mapping[str, type[Any]] = {
    "stamp": Stamp,
    "promoted": Promoted,
    "returned": Returned,
    "was_live": WasLive,
}


def told_text(told: Told) -> str:
    """What a copy says, as one text."""
    return json.dumps({name: to_plain(part) for name in _PARTS if (part := getattr(told, name)) is not None})


def read_text(text: str) -> Told:
    """What that text says; one that cannot be read says nothing."""
    try:
        return understood(text)
    except ValueError:
        return Told()


def understood(text: str) -> Told:
    """The same; raises ValueError where it cannot be read."""
    plain: object = json.loads(text)
    if not isinstance(plain, dict):
        raise ValueError("What a copy says is an object.")
    return Told(**{name: from_plain(kind, plain[name]) for name, kind in _PARTS.items() if name in plain})


def make_table(session: Session, database: str) -> None:
    """Make the table in a copy, where there is none."""
    session.execute(
        f"CREATE TABLE IF NOT EXISTS {qualified(database, TABLE)} (name VARCHAR(32) CHARACTER SET ascii "
        "NOT NULL PRIMARY KEY, value LONGTEXT CHARACTER SET utf8mb4 NOT NULL) ENGINE=InnoDB "
        "COMMENT='Env Sync: what this copy is and where it came from'"
    )


def has_table(session: Session, database: str) -> bool:
    """Whether a copy has the table: whether it says anything about itself."""
    return bool(
        session.execute(
            "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s "
            "AND TABLE_TYPE = 'BASE TABLE'",
            [database, TABLE],
        )
    )


def read_told(session: Session, database: str) -> Told:
    """What a copy says about itself; nothing where it is not there."""
    text = _read(session, database, _TOLD)
    return read_text(text) if text is not None else Told()


def read_or_refuse(session: Session, database: str, where: str) -> Told:
    """The same; raises StampUnreadable, naming `where` it is, for what cannot be read."""
    text = _read(session, database, _TOLD)
    try:
        return understood(text) if text is not None else Told()
    except ValueError:
        raise unreadable(where, f"DROP TABLE {qualified(database, TABLE)}") from None


def write_told(session: Session, database: str, told: Told) -> None:
    """Replace what a copy says about itself."""
    _write(session, database, _TOLD, told_text(told))


def write_stamp(session: Session, database: str, stamp: Stamp) -> None:
    """Replace it by this stamp alone."""
    write_told(session, database, Told(stamp=stamp))


def read_token(session: Session, database: str) -> str | None:
    """The token of the promotion that moves, or moved, this copy."""
    return _read(session, database, _TOKEN)


def write_token(session: Session, database: str, token: str) -> None:
    """Put the token of a promotion on the copy that is to be live."""
    _write(session, database, _TOKEN, token)


def read_dumped(session: Session, database: str) -> tuple[Object, ...]:
    """The views, triggers, routines and events of the dump that this copy was restored from.

    Raises ProofMissing, as `read_objects` does, where something else than Env Sync wrote there.
    """
    return _objects(session, database, _DUMPED)


def write_dumped(session: Session, database: str, objects: Iterable[Object]) -> None:
    """Keep them."""
    _write(session, database, _DUMPED, json.dumps([to_plain(each) for each in objects]))


def read_objects(session: Session, database: str) -> tuple[Object, ...]:
    """The views, triggers, routines and events of this copy that are not in it, for they cannot move."""
    return _objects(session, database, _OBJECTS)


def write_objects(session: Session, database: str, objects: Iterable[Object]) -> None:
    """Keep them."""
    _write(session, database, _OBJECTS, json.dumps([to_plain(each) for each in objects]))


def forget(session: Session, database: str) -> None:
    """Take out what only a copy that is not live needs."""
    session.execute(f"DELETE FROM {_table(database)} WHERE name IN (%s, %s, %s)", [_TOKEN, _DUMPED, _OBJECTS])


def _objects(session: Session, database: str, name: str) -> tuple[Object, ...]:
    text = _read(session, database, name)
    try:
        return tuple(from_plain(Object, each) for each in json.loads(text)) if text else ()
    except (ValueError, TypeError):
        raise ProofMissing(
            f"What {database} on {session.where} keeps of its views, triggers, routines and events cannot be "
            "read: another version of Env Sync wrote it, or something else did. It is not made live. Run the "
            "group again from restore; live is untouched."
        ) from None


def _read(session: Session, database: str, name: str) -> str | None:
    if not has_table(session, database):
        return None
    value = session.value(f"SELECT value FROM {_table(database)} WHERE name = %s", [name])
    return None if value is None else str(value)


def _write(session: Session, database: str, name: str, value: str) -> None:
    session.execute(
        f"INSERT INTO {_table(database)} (name, value) VALUES (%s, %s) "
        "ON DUPLICATE KEY UPDATE value = VALUES(value)",
        [name, value],
    )


def _table(database: str) -> str:
    """The table, for a statement with values: in that a percent sign of a name would stand for one."""
    return qualified(database, TABLE).replace("%", "%%")
