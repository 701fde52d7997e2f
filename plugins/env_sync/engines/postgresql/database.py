"""A database's own properties: owner, grants, settings, limit; read from live, given to its successor."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from attrs import frozen
from psycopg import errors, sql

from env_sync.engines.postgresql.access.grants import Rights, rights, statements
from env_sync.engines.postgresql.access.roles import Roles
from env_sync.engines.postgresql.session import Session

LISTS = (
    "search_path",
    "temp_tablespaces",
    "session_preload_libraries",
    "shared_preload_libraries",
    "local_preload_libraries",
    "unix_socket_directories",
)
"""Settings that are lists of names, each quoted by itself (GUC_LIST_QUOTE in the server)."""
NAME_IN_LIST = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",]*))\s*(?:,|$)')
INVALID = -2
"""The connection limit of a database that somebody began to drop."""


@frozen(kw_only=True)
class Setting:
    """One setting of a database; `role` is 0 where it is every role's."""

    role: int
    name: str
    value: str


@frozen(kw_only=True)
class Database:
    """A database as the server's own catalog describes it."""

    name: str
    oid: int
    owner: int
    open: bool
    connection_limit: int
    rights: Rights
    settings: tuple[Setting, ...]


def read_database(session: Session, name: str) -> Database | None:
    """The database of this name; None where there is none. Asked from any database."""
    rows = session.execute(
        "SELECT d.oid::bigint, d.datdba::bigint, d.datallowconn, d.datconnlimit, "
        "(SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.grantee::bigint, a.privilege_type, "
        "a.is_grantable)) FROM pg_catalog.aclexplode("
        "coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a), "
        "(SELECT pg_catalog.json_agg(pg_catalog.json_build_array(s.setrole::bigint, s.setconfig) "
        "ORDER BY s.setrole) FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = d.oid) "
        "FROM pg_catalog.pg_database d WHERE d.datname = %s",
        [name],
    )
    if not rows:
        return None
    oid, owner, is_open, limit, acl, settings = rows[0]
    found = []
    for role, entries in settings or []:
        for entry in entries:
            setting, _, value = entry.partition("=")
            found.append(Setting(role=role, name=setting, value=value))
    return Database(
        name=name,
        oid=oid,
        owner=owner,
        open=is_open,
        connection_limit=limit,
        rights=rights(acl or [], owner),
        settings=tuple(found),
    )


def give_settings(
    session: Session, incoming: Database, settings: Sequence[Setting], roles: Roles
) -> tuple[str, ...]:
    """Set for incoming what is set for live; gives warnings for what this role may not set."""
    warnings = []
    ours = roles.names[roles.ours]
    for setting in settings:
        if setting in incoming.settings:
            continue
        name = roles.names.get(setting.role, "")
        if setting.role and not name:
            continue
        whose = f"ALTER ROLE {name} IN DATABASE" if name else "ALTER DATABASE"
        if setting.role and not roles.superuser and not roles.can_be(setting.role):
            warnings.append(
                f"{whose} ... SET {setting.name} was not carried over, for {ours} may not act as {name}. To "
                f"keep it: {roles.to_act_as(setting.role)}; now set it again by hand."
            )
            continue
        try:
            with session.transaction():
                # A role may change its own settings; SET ROLE works for whom we are a member of.
                if setting.role and not roles.superuser:
                    session.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(name)))
                session.execute(_set(incoming.name, name, setting))
        except (errors.InsufficientPrivilege, errors.UndefinedObject, errors.InvalidParameterValue):
            warnings.append(
                f"{whose} ... SET {setting.name} was not carried over, for {ours} may not set it (or the "
                "server no longer knows it). Set it again by hand, as a superuser."
            )
    return tuple(warnings)


def give_place(session: Session, live: Database, successor: Database, roles: Roles, owner: int) -> None:
    """Give the database that is now called like live its owner, grants and limit.

    Runs within the transaction that swaps the names.
    """
    name = sql.Identifier(live.name)
    if owner != successor.owner:
        session.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(roles.names[owner]))
        )
    # Incoming was closed to all but its owner, which is where the new owner now stands.
    for statement in statements("DATABASE", name, successor.rights, live.rights, roles, owner):
        session.execute(statement)
    if live.connection_limit != successor.connection_limit:
        session.execute(
            sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, sql.Literal(live.connection_limit))
        )


def _set(database: str, role: str, setting: Setting) -> sql.Composed:
    who = (
        sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(role), sql.Identifier(database))
        if role
        else sql.SQL("ALTER DATABASE {}").format(sql.Identifier(database))
    )
    values = list(_names(setting.value)) if setting.name.lower() in LISTS else [setting.value]
    return sql.SQL("{} SET {} TO {}").format(
        who,
        sql.Identifier(*setting.name.split(".")),
        sql.SQL(", ").join(sql.Literal(value) for value in values or [""]),
    )


def _names(value: str) -> Iterator[str]:
    position = 0
    while position < len(value) and (found := NAME_IN_LIST.match(value, position)):
        quoted, plain = found.groups()
        yield quoted.replace('""', '"') if quoted is not None else plain.strip()
        if found.end() == position:
            return
        position = found.end()
