"""Logical replication from live and into it: it goes with the database, not with its name."""

from __future__ import annotations

from env_sync.core.errors import ContentRefused
from env_sync.engines.postgresql.names import Copies
from env_sync.engines.postgresql.session import Server, Session

_SUBSCRIPTIONS = (
    "SELECT pg_catalog.quote_ident(s.subname), d.datname FROM pg_catalog.pg_subscription s "
    "JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = ANY(%s) ORDER BY 1"
)
_SLOTS = (
    "SELECT pg_catalog.quote_literal(slot_name), database FROM pg_catalog.pg_replication_slots "
    "WHERE database = ANY(%s) AND NOT temporary ORDER BY 1"
)


def check_not_replicated(session: Session, server: Server, copies: Copies) -> None:
    """Raises ContentRefused where live, or a former live, has a subscription or a logical slot.

    The one would go on writing into what is previous, which could then not be dropped. The other would go
    there too, and its consumer hear of no change to the new live, while the server keeps all WAL for it.
    Raises psycopg.Error.
    """
    databases = [copies.live, copies.previous, copies.replaced]
    found = [
        f"subscription {name} of {database} (connected to that: ALTER SUBSCRIPTION {name} DISABLE; ALTER "
        f"SUBSCRIPTION {name} SET (slot_name = NONE); DROP SUBSCRIPTION {name})"
        for name, database in session.execute(_SUBSCRIPTIONS, [databases])
    ]
    found += [
        f"replication slot {name} of {database} (end its consumer; SELECT pg_drop_replication_slot({name}))"
        for name, database in session.execute(_SLOTS, [databases])
    ]
    if found:
        raise ContentRefused(
            f"Database {copies.live} on {server} cannot be replaced while it is replicated, which would go "
            f"on with what is previous then: {'; '.join(found)}. Drop that, as an administrator, or pull "
            "into another database. Live is untouched."
        )


def publications(session: Session) -> tuple[str, ...]:
    """The publications of the session's database, quoted. Raises psycopg.Error."""
    query = "SELECT pg_catalog.quote_ident(pubname) FROM pg_catalog.pg_publication ORDER BY 1"
    return tuple(name for (name,) in session.execute(query))
