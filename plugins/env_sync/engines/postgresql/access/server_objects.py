"""Grants on what the server or an extension brings along: those are not carried over, so they are told of."""

from __future__ import annotations

from env_sync.engines.postgresql.session import Session

SHOWN = 10
"""How many names the warning lists."""

# What the server and extensions grant themselves is noted in pg_init_privs. Schema public is carried over.
_CHANGED = """
WITH members AS (
    SELECT classid, objid FROM pg_catalog.pg_depend
    WHERE deptype = 'e' AND refclassid = 'pg_catalog.pg_extension'::regclass
), objects AS (
    SELECT 'pg_catalog.pg_class'::regclass AS class, oid, relowner AS owner, relacl AS acl,
        CASE relkind WHEN 'S' THEN 's' ELSE 'r' END AS letter
    FROM pg_catalog.pg_class WHERE relacl IS NOT NULL
  UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, oid, proowner, proacl, 'f' FROM pg_catalog.pg_proc
    WHERE proacl IS NOT NULL
  UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, oid, typowner, typacl, 'T' FROM pg_catalog.pg_type
    WHERE typacl IS NOT NULL
  UNION ALL
    SELECT 'pg_catalog.pg_namespace'::regclass, oid, nspowner, nspacl, 'n' FROM pg_catalog.pg_namespace
    WHERE nspacl IS NOT NULL AND nspname <> 'public'
  UNION ALL
    SELECT 'pg_catalog.pg_language'::regclass, oid, lanowner, lanacl, 'l' FROM pg_catalog.pg_language
    WHERE lanacl IS NOT NULL
), changed AS (
    SELECT o.class, o.oid, o.owner, o.acl FROM objects o
    LEFT JOIN pg_catalog.pg_init_privs p ON p.classoid = o.class AND p.objoid = o.oid AND p.objsubid = 0
    CROSS JOIN LATERAL (
        SELECT coalesce(p.initprivs, pg_catalog.acldefault(o.letter::"char", o.owner)) AS acl
    ) before
    WHERE NOT (o.acl @> before.acl AND before.acl @> o.acl)
    AND (o.oid < 16384 OR EXISTS (SELECT FROM members m WHERE m.classid = o.class AND m.objid = o.oid))
)
SELECT i.type || ' ' || i.identity, ARRAY(
    SELECT CASE WHEN a.grantee = c.owner THEN 'owner' ELSE a.grantee::text END || ' ' || a.privilege_type
        || ' ' || a.is_grantable FROM pg_catalog.aclexplode(c.acl) a ORDER BY 1)
FROM changed c CROSS JOIN LATERAL pg_catalog.pg_identify_object(c.class, c.oid, 0) i ORDER BY 1
"""


def lost_server_grants(live: Session, incoming: Session) -> str | None:
    """A warning of what somebody granted or revoked in live and incoming does not have; None for nothing.

    Grants on single columns are not looked at. Raises psycopg.Error.
    """
    there = incoming.execute(_CHANGED)
    lost = [row[0] for row in live.execute(_CHANGED) if row not in there]
    if not lost:
        return None
    more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
    return (
        "Grants and revokes on what the server or an extension brings along are not carried over from live: "
        f"{', '.join(lost[:SHOWN])}{more}. Make them again: by hand, or each night by a transformation."
    )
