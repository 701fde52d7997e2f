"""Statements that are run side by side, over several sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
from attrs import frozen

from env_sync.core.errors import Cancelled, EnvSyncError
from env_sync.core.redact import describe_database_error, names_in
from env_sync.engines.postgresql.session import Server, plain_error, plain_errors

MEMORY = "256MB"
"""What a session may use to build an index."""
SETTINGS = f"SET synchronous_commit = off; SET maintenance_work_mem = '{MEMORY}'"
"""Of these sessions: what they do is on the disk once the stamp is, which is written after it."""


@frozen
class Failed:
    """A statement that failed, "" where it was its session; and why, without any value of a row."""

    statement: str
    why: str


def run_side_by_side(
    server: Server,
    database: str,
    statements: Sequence[str],
    jobs: int,
    *,
    go_on: bool,
    on_done: Callable[[int], None] = lambda done: None,
    enough: Callable[[], bool] = lambda: False,
) -> list[Failed]:
    """Run each statement by itself, in their order, over at most `jobs` sessions; gives what failed.

    Unless `go_on`, nothing more is begun once one has failed, and what a session dies of is raised: see
    `Server.open` and `plain_error`. `on_done` is told how many are done; once `enough` says so, no more is
    begun. Raises Cancelled.
    """
    waiting = list(reversed(statements))
    failed: list[Failed] = []
    done: list[str] = []

    def work() -> None:
        with server.session(database) as session:
            with plain_errors(f"Database {database} on {server}"):
                session.execute(SETTINGS)
            while (go_on or not failed) and not enough():
                server.cancellation.check()
                try:
                    statement = waiting.pop()
                except IndexError:
                    return
                try:
                    session.execute(statement)
                except psycopg.Error as error:
                    if not session.usable:
                        raise plain_error(error, f"Database {database} on {server}", EnvSyncError) from None
                    why = describe_database_error(error, names_in(statement), strict=True)
                    failed.append(Failed(statement, why))
                done.append(statement)
                on_done(len(done))

    with ThreadPoolExecutor(max_workers=max(1, min(jobs, len(waiting)))) as pool:
        futures = [pool.submit(work) for _ in range(min(jobs, len(waiting)))]
    for future in futures:
        try:
            future.result()
        except Cancelled:
            raise
        except EnvSyncError as problem:
            if not go_on:
                raise
            failed.append(Failed("", str(problem)))
    return failed
