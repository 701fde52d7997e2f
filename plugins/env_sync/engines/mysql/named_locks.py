"""Named locks (GET_LOCK), which any account of a server may take: only those of our own account count."""

from __future__ import annotations

import time

from attrs import frozen

from env_sync.engines.base.strange_locks import LockTry
from env_sync.engines.mysql.session import Session


@frozen(kw_only=True)
class LockHolder:
    """The session that holds a lock. `user` is "" where the server does not tell this account."""

    session: int
    user: str
    ours: bool

    def __str__(self) -> str:
        return f"{self.user or 'another account'} (session {self.session})"


def holder_of(session: Session, key: str) -> LockHolder | None:
    """Who holds a lock; None where nobody does. Raises MySQLError."""
    while (number := session.value("SELECT IS_USED_LOCK(%s)", [key])) is not None:
        rows = session.execute(
            "SELECT USER, USER = SUBSTRING_INDEX(USER(), '@', 1) FROM information_schema.PROCESSLIST "
            "WHERE ID = %s",
            [number],
        )
        if rows:
            return LockHolder(session=int(number), user=str(rows[0][0]), ours=bool(rows[0][1]))
        # Of our own sessions it tells each; this one is another's, unless it ended in between.
        if session.value("SELECT IS_USED_LOCK(%s)", [key]) == number:
            return LockHolder(session=int(number), user="", ours=False)
    return None


def take_lock(session: Session, key: str, wait: float) -> LockTry:
    """Take a lock, waiting so many seconds for another process of ours, and for no stranger."""
    deadline = time.monotonic() + wait
    while True:
        seconds = max(0, min(1, round(deadline - time.monotonic())))
        if session.value("SELECT GET_LOCK(%s, %s)", [key, seconds]):
            return LockTry(taken=True)
        holder = holder_of(session, key)
        tried = LockTry(taken=False, instead=(holder,) if holder else ())
        if tried.strange or time.monotonic() >= deadline:
            return tried
