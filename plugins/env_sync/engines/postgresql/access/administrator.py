"""Whether the sync's own role is an administrator: what comes down and runs as it could then do anything."""

from __future__ import annotations

from env_sync.core.errors import AccessRefused
from env_sync.engines.base.accepted_readers import SUPERUSER, accepts
from env_sync.engines.postgresql.session import Server, Session

ADMINISTRATORS = (
    "rds_superuser",
    "cloudsqlsuperuser",
    "alloydbsuperuser",
    "azure_pg_admin",
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_execute_server_program",
)
"""Roles whose members run the server, or reach its files and programs."""
MIGHTY = """
(r.rolsuper OR r.rolcreaterole OR r.rolname = ANY (%s) OR EXISTS (
    SELECT FROM pg_catalog.pg_roles m WHERE (m.rolsuper OR m.rolcreaterole OR m.rolname = ANY (%s))
    AND pg_catalog.pg_has_role(r.oid, m.oid, 'MEMBER')))
"""
"""Whether a role r is an administrator, or can become one; takes ADMINISTRATORS twice."""
_OURS = """
SELECT CASE WHEN r.rolsuper THEN 'SUPERUSER' WHEN r.rolcreaterole THEN 'CREATEROLE' ELSE '' END,
    ARRAY(SELECT pg_catalog.quote_ident(m.rolname) FROM pg_catalog.pg_roles m
        WHERE m.oid <> r.oid AND NOT r.rolsuper AND (m.rolsuper OR m.rolcreaterole OR m.rolname = ANY (%s))
        AND pg_catalog.pg_has_role(r.oid, m.oid, 'MEMBER') ORDER BY 1)
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
"""


def check_power(session: Session, server: Server) -> tuple[str, ...]:
    """The warning where our role is an administrator and the connection accepts that.

    Raises AccessRefused where it does not, psycopg.Error.
    """
    attribute, member_of = session.execute(_OURS, [list(ADMINISTRATORS)])[0]
    by = [attribute] if attribute else []
    by += [f"member of {role}" for role in member_of]
    if not by:
        return ()
    connection = server.connection
    told = (
        f"Role {connection.login} is an administrator of {server} ({', '.join(by)}), so whatever comes down "
        "and runs as it could do anything there"
    )
    if accepts(connection, SUPERUSER):
        return (f"{told}; {SUPERUSER} of connection {connection.connection_id} accepts that.",)
    raise AccessRefused(
        f"{told}. Give Env Sync a role of its own, as deploy/role.sql makes it; where that cannot be, add "
        f'"{SUPERUSER}": true to the extra of connection {connection.connection_id}. Live is untouched.'
    )
