"""The end of a group: what a killed step left is put right."""

from __future__ import annotations

import psycopg
from attrs import frozen

from env_sync.core.redact import describe_database_error
from env_sync.engines.base import clean_up
from env_sync.engines.postgresql.copy_ownership import look_up
from env_sync.engines.postgresql.incoming import drop_database
from env_sync.engines.postgresql.lease import HeldLease
from env_sync.engines.postgresql.metadata import Comment
from env_sync.engines.postgresql.names import Copies
from env_sync.engines.postgresql.session import Server
from env_sync.engines.postgresql.stash import drop_replaced


def end_earlier_sessions(
    server: Server, hold: HeldLease, database: str, copies: Copies | None
) -> tuple[str, ...]:
    """End what earlier processes of this group still run in the copies; gives a note for each.

    Only while the lease's session lock is held: then no process of this group is rightly at work there.
    """
    notes = []
    databases = [copies.live, copies.incoming, copies.outgoing] if copies else [database]
    for pid, there in hold.session.execute(
        "SELECT pid, datname FROM pg_catalog.pg_stat_activity "
        "WHERE application_name = %s AND usename = current_user AND datname = ANY(%s) "
        "AND pid <> pg_catalog.pg_backend_pid()",
        [server.application_name, databases],
    ):
        try:
            hold.session.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])
        except psycopg.errors.InsufficientPrivilege as error:
            notes.append(
                f"server process {pid} in {there} could not be ended: {describe_database_error(error)}"
            )
        else:
            notes.append(f"ended server process {pid} of an earlier step in {there}")
    return tuple(notes)


@frozen(kw_only=True)
class Cleaning(clean_up.Cleaning):
    """All that a clean-up works with; live was reopened with the lease. Methods may raise psycopg.Error."""

    server: Server
    hold: HeldLease
    database: str
    copies: Copies | None
    """None for a database that can only be dumped."""

    def begin(self) -> tuple[str, ...]:
        """End what still runs in the copies."""
        return end_earlier_sessions(self.server, self.hold, self.database, self.copies)

    def read_copy(self, copy: str) -> Comment | None:
        """What a copy says about itself; None where there is none, or somebody else's."""
        found = look_up(self.hold.session, copy)
        return found.comment if found is not None and found.is_our_copy else None

    def drop(self, copy: str) -> bool:
        """Drop it; whether there was one."""
        return drop_database(self.hold.session, copy)

    def settle(self) -> str:
        """Drop what a swap replaced; says so, or "" where there is none."""
        copies = self.copies
        if copies is None or not drop_replaced(self.hold.session, copies):
            return ""
        return f"dropped {copies.replaced}, which was {copies.previous} before the swap"
