"""Advisory locks, and who holds them: whoever may connect to a database may take any lock there."""

from __future__ import annotations

from attrs import frozen
from psycopg import errors, sql

from env_sync.engines.base.strange_locks import LockTry
from env_sync.engines.postgresql.access.roles import DROPPED
from env_sync.engines.postgresql.session import Session

# A session that is ending loses its place in pg_stat_activity before its locks; it is nobody's.
_HOLDERS = f"""
SELECT l.pid, coalesce(a.usename, '{DROPPED}'), a.application_name, coalesce(a.usename = current_user, false)
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
AND (l.classid::bigint << 32 | l.objid::bigint) = %s AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
AND (l.pid IS NULL OR a.usesysid IS NOT NULL)
"""


@frozen(kw_only=True)
class LockHolder:
    """Whose session holds a lock; `pid` is None for a transaction that was prepared to be committed."""

    pid: int | None
    user: str
    program: str
    ours: bool

    def __str__(self) -> str:
        if self.pid is None:
            return "a prepared transaction"
        return f"server process {self.pid} of {self.user}" + (f", {self.program}" if self.program else "")


def holders(session: Session, key: int) -> tuple[LockHolder, ...]:
    """Whose other sessions hold a lock in the session's database."""
    return tuple(
        LockHolder(pid=pid, user=user or "a role that is gone", program=program or "", ours=ours)
        for pid, user, program, ours in session.execute(_HOLDERS, [key])
    )


def lock_within(session: Session, key: int, seconds: int) -> bool:
    """Take a lock for the session, and wait for it for so long; False where another still has it."""
    session.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(f"{seconds}s")))
    try:
        session.execute("SELECT pg_catalog.pg_advisory_lock(%s)", [key])
    except errors.LockNotAvailable:
        return False
    finally:
        if session.usable:
            with session.uninterrupted():
                session.execute("SET lock_timeout = 0")
    return True


def take_lock(session: Session, key: int, seconds: int) -> LockTry:
    """Take a lock where others may connect as well, and wait for it for so long."""
    taken = lock_within(session, key, seconds)
    return LockTry(taken=taken, instead=() if taken else holders(session, key))
