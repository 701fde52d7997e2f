"""Where the leases are: a database and a table that we made, and that nobody else can change.

What a lease says is believed, and whoever can change the table can have code run with our rights. So a
database or table of these names that another role made, or may change, is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from psycopg import sql

from env_sync.engines.postgresql.session import Server, Session

COLUMNS: Mapping[str, str] = {
    "database": "text NOT NULL",
    "run": "text NOT NULL",
    "group": "text NOT NULL",
    "attempt": "text NOT NULL",
    "step": "text NOT NULL",
    "host": "text NOT NULL",
    "pid": "integer NOT NULL",
    "taken_at": "timestamp with time zone NOT NULL",
    "renewed_at": "timestamp with time zone NOT NULL",
    "expires_at": "timestamp with time zone NOT NULL",
    "live_closed_at": "timestamp with time zone",
}
KEY = "database"

_DATABASE = """
SELECT d.datdba = r.oid, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(d.datdba)), d.datallowconn, ARRAY(
    SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'everybody'
        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END
    FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
    WHERE a.grantee <> d.datdba ORDER BY 1
)
FROM pg_catalog.pg_database d, pg_catalog.pg_roles r WHERE d.datname = %s AND r.rolname = current_user
"""
# Grants on a column count as well, and any constraint but the key's and NOT NULL.
_TABLE = """
SELECT c.relowner = r.oid, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)),
    c.relkind = 'r' AND c.relpersistence = 'p' AND c.reloftype = 0,
    ARRAY(SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'everybody'
        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END
        FROM (SELECT c.relacl AS acl UNION ALL SELECT a.attacl FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = c.oid) l, pg_catalog.aclexplode(l.acl) a
        WHERE a.grantee <> c.relowner ORDER BY 1),
    ARRAY(SELECT ARRAY[a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod)
        || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END]
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    EXISTS (SELECT FROM pg_catalog.pg_attrdef d WHERE d.adrelid = c.oid) OR EXISTS (
        SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attidentity <> ''),
    EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid),
    EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid),
    c.relrowsecurity OR c.relforcerowsecurity
        OR EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
    c.relispartition OR EXISTS (
        SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)),
    EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype NOT IN ('p', 'n')),
    ARRAY(SELECT CASE WHEN i.indisprimary AND i.indisvalid AND i.indexprs IS NULL AND i.indpred IS NULL
        AND i.indnkeyatts = 1 AND i.indnatts = 1 THEN (SELECT a.attname::text FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum = i.indkey[0]) END
        FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, pg_catalog.pg_roles r
WHERE n.nspname = 'public' AND c.relname = 'lease' AND r.rolname = current_user
"""


def refused(server: Server, why: str) -> str:
    """What is wrong with where the leases of a server are, and what to do."""
    name, login = server.lease_database, server.connection.login
    return (
        f"Database {name} on {server} says who may touch which database, and must be role {login}'s alone, "
        f"as Env Sync makes it. {why} Drop it, or rename it, while no sync runs on that server: the next one "
        "makes it anew. Where it is another role's of Env Sync, give that role all syncs of the server."
    )


def make_table() -> sql.Composed:
    """The statement that makes the table, unless somebody just did: a session may not see that at once."""
    columns = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(of)) for name, of in COLUMNS.items()]
    key = sql.SQL("PRIMARY KEY ({})").format(sql.Identifier(KEY))
    return sql.SQL("CREATE TABLE IF NOT EXISTS public.lease ({})").format(sql.SQL(", ").join([*columns, key]))


def against_database(session: Session, name: str) -> str | None:
    """Why the database of this name is not used; None where it is ours alone, or where there is none.

    Asked from any database.
    """
    rows = session.execute(_DATABASE, [name])
    if not rows:
        return None
    ours, owner, is_open, granted = rows[0]
    if not ours:
        return f"The database belongs to {owner}."
    # One that was not made to its end is closed, and has the rights that every new database has.
    return _granted("database", granted) if is_open and granted else None


def table_is_there(session: Session) -> bool:
    """Whether the session's database has a relation of the table's name."""
    return session.value("SELECT pg_catalog.to_regclass('public.lease')") is not None


def against_table(session: Session) -> str | None:
    """Why the table is not used, all of it; None where it is as we make it, or where there is none."""
    rows = session.execute(_TABLE)
    return " ".join(_differences(*rows[0])) or None if rows else None


def _granted(what: str, roles: list[str]) -> str:
    return f"Rights on the {what} are granted to {', '.join(roles)}."


def _differences(
    ours: bool,
    owner: str,
    plain: bool,
    granted: list[str],
    columns: list[list[str]],
    defaults: bool,
    triggers: bool,
    rules: bool,
    policies: bool,
    inherits: bool,
    constraints: bool,
    indexes: list[str | None],
) -> Iterator[str]:
    if not ours:
        yield f"Table lease in it belongs to {owner}."
    if not plain:
        yield "What is called lease in it is no plain table."
    if granted:
        yield _granted("table lease in it", granted)
    if dict(columns) != COLUMNS:
        yield "Table lease in it has other columns."
    for there, what in (
        (defaults, "defaults"),
        (triggers, "triggers"),
        (rules, "rules"),
        (policies, "row security"),
        (inherits, "a parent, or children"),
        (constraints, "constraints"),
        (indexes != [KEY], "other indexes than its key"),
    ):
        if there:
            yield f"Table lease in it has {what}."
