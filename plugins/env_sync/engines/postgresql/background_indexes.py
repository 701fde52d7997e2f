"""Indexes that are built in another session while a transformation runs, which leaves their tables alone.

A transformation is one session's work, so this costs it nothing on a server with a second core. Where it
reaches such a table all the same, by a cascade or through a parent, one of the two waits for the other's
lock; the session here holds none while it waits for one, so neither waits for ever.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from attrs import Factory, define, evolve
from psycopg import sql

from env_sync.core.cancellation import Cancellation
from env_sync.engines.postgresql.deferred_statements import Kept
from env_sync.engines.postgresql.parallel import Failed, run_side_by_side
from env_sync.engines.postgresql.session import Server


@define
class Built:
    """What was built when the block is over, and what failed."""

    indexes: tuple[Kept, ...] = ()
    failed: list[Failed] = Factory(list)


@contextlib.contextmanager
def building_meanwhile(server: Server, database: str, indexes: Sequence[Kept]) -> Iterator[Built]:
    """Build indexes, in their order, in a session beside the block, and have their tables vacuumed.

    The one at hand when the block ends is waited for, the others are left. Where the block raises, the
    session's statement is cancelled. Raises Cancelled, and what the session died of.
    """
    built = Built()
    if not indexes:
        yield built
        return
    over = threading.Event()
    ours = Cancellation()
    beside = evolve(server, cancellation=ours)
    done = 0

    def count(number: int) -> None:
        nonlocal done
        done = number

    def work() -> list[Failed]:
        statements = [each.sql for each in indexes]
        failed = run_side_by_side(
            beside, database, statements, 1, go_on=False, on_done=count, enough=over.is_set
        )
        if not failed:
            tables = dict.fromkeys(
                f"VACUUM {sql.Identifier(each.schema, each.table).as_string()}" for each in indexes
            )
            # The next VACUUM, of all tables, finds little to do in these; and says what fails.
            run_side_by_side(beside, database, tuple(tables), 1, go_on=True, enough=over.is_set)
        return failed

    with ThreadPoolExecutor(max_workers=1) as pool, server.cancellation.calling(ours.cancel):
        future = pool.submit(work)
        try:
            yield built
            over.set()
            built.failed += future.result()
        except BaseException:
            ours.cancel()
            raise
    built.indexes = tuple(indexes[: done - len(built.failed)])
