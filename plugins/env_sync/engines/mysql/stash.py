"""Previous goes aside before a swap that replaces it, and is put back where that was not done.

An undo has it empty: live's tables pass through it, in the one RENAME.

So no failed swap costs it, and the swap itself has no more to move. The stamp goes first and comes back last:
previous lacks its stamp as long as it lacks tables, and nobody makes it live.
"""

from __future__ import annotations

from env_sync.engines.mysql.copy_ownership import was_previous
from env_sync.engines.mysql.incoming import drop_copy
from env_sync.engines.mysql.metadata import has_table
from env_sync.engines.mysql.names import Copies
from env_sync.engines.mysql.renaming import move, stamp_first, stamp_last, tables_of
from env_sync.engines.mysql.session import Session, exists
from env_sync.engines.mysql.swap import make_like


def put_aside(session: Session, copies: Copies) -> None:
    """Make an empty previous; what it held goes to `replaced`. Raises MySQLError."""
    if not exists(session, copies.previous):
        make_like(session, copies.previous, copies.live)
        return
    make_like(session, copies.replaced, copies.previous)
    tables = tables_of(session, copies.previous)
    move(session, copies.previous, copies.replaced, stamp_first(tables))


def put_back(session: Session, copies: Copies) -> str:
    """Settle what a step left in `replaced`; gives what was done, or "". Raises MySQLError.

    Where previous has a stamp the swap was done, and it is dropped; else it is previous again. What does not
    say that it was live, and is not empty, was never previous: it is left alone.
    """
    if not exists(session, copies.replaced) or not was_previous(session, copies.replaced):
        return ""
    tables = tables_of(session, copies.replaced)
    if has_table(session, copies.previous):
        drop_copy(session, copies.replaced)
        return f"dropped {copies.replaced}, which was {copies.previous} before the swap" if tables else ""
    if tables and not exists(session, copies.previous):
        make_like(session, copies.previous, copies.replaced)
    move(session, copies.replaced, copies.previous, stamp_last(tables))
    drop_copy(session, copies.replaced)
    return f"{copies.previous} is again what it was before a swap that was not done" if tables else ""
