"""Who owns live: never the sync's own role, for what belongs to a role may be run with its rights."""

from __future__ import annotations

from env_sync.core.errors import AccessRefused, PromoteFailed
from env_sync.engines.postgresql.access.roles import Roles
from env_sync.engines.postgresql.database import Database
from env_sync.engines.postgresql.session import Server, Session

SHOWN = 5
"""How many objects an error names."""
# Nothing runs as the owner of an extension, a publication or an entry of default privileges.
_OURS = """
SELECT pg_catalog.pg_describe_object(s.classid, s.objid, 0), count(*) OVER ()
FROM pg_catalog.pg_shdepend s
WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
AND s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = %s::oid AND s.deptype = 'o'
AND s.classid NOT IN ('pg_catalog.pg_extension'::regclass, 'pg_catalog.pg_publication'::regclass,
    'pg_catalog.pg_default_acl'::regclass)
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = s.classid AND d.objid = s.objid
    AND d.deptype = 'e')
ORDER BY 1 LIMIT %s
"""


def owner_of_live(server: Server, database: str, live: Database | None, roles: Roles) -> int:
    """Who is to own live, and what in it has no other owner: live's owner, else the connection's `owner`.

    Raises AccessRefused where that is nobody but ourselves, or a role as which ours may not act.
    """
    if (against := against_owner(server, database, live, roles)) is not None:
        raise AccessRefused(" ".join(against))
    if live is not None and (live.owner != roles.ours or roles.superuser):
        return live.owner
    return roles.named(_named(server)) or roles.ours


def against_owner(
    server: Server, database: str, live: Database | None, roles: Roles
) -> tuple[str, str] | None:
    """Why nobody is known who is to own live, and what to do; None where somebody is."""
    if live is not None and (live.owner != roles.ours or roles.superuser):
        return None
    connection, ours, name = server.connection, roles.names[roles.ours], _named(server)
    why = f"There is no database {database} yet" if live is None else f"Database {database} is {ours}'s own"
    rule = f"{why} on {server}, and what comes down must not be, for functions run with their owner's rights."
    if not name:
        return rule, (
            f"Make a role for the application, GRANT it to {ours}, and name it as `owner` in the extra of "
            f"connection {connection.connection_id}; or make the database by hand, with its owner."
        )
    owner = roles.named(name)
    if owner is not None and owner in roles.mighty and owner != roles.ours:
        said = f"Connection {connection.connection_id} names {name} as `owner`, which is an administrator."
        return f"{rule} {said}", "Name the application's own role."
    if owner is None or owner == roles.ours or not roles.can_be(owner):
        said = (
            f"Connection {connection.connection_id} says that new databases belong to {name}, but {server} "
        )
        return f"{rule} {said}has no such other role as which {ours} may act.", (
            f"Make it and GRANT {name} TO {ours}, or name another in `owner` of the connection's extra."
        )
    return None


def _named(server: Server) -> str:
    return str(server.connection.extra.get("owner") or "")


def check_nothing_is_ours(session: Session, roles: Roles) -> None:
    """Raises PromoteFailed where something in the session's database would be ours once it is live."""
    if roles.superuser:
        # What belonged to a superuser in live keeps its owner; that there is one is told elsewhere.
        return
    found = session.execute(_OURS, [roles.ours, SHOWN])
    if found:
        more = found[0][1] - len(found)
        named = ", ".join(str(what) for what, _ in found) + (f" and {more} more" if more > 0 else "")
        raise PromoteFailed(
            f"In live these would belong to {roles.names[roles.ours]}: {named}. Leave them out of the dump, "
            "or give them another owner in a transformation. Live is untouched."
        )
