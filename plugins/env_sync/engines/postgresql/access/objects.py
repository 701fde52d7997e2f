"""Owners, grants and default privileges: incoming is given those of live, object by object of the same name.

Both sides are read whole, compared here, and only what differs is written, in one transaction: doing it again
after a kill does no harm, and 2,000 tables take a handful of round trips.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import evolve, frozen
from psycopg import sql

from env_sync.engines.postgresql.access.grants import OWNER, Right, Rights, owned_by, rights, statements
from env_sync.engines.postgresql.access.roles import PUBLIC, Roles
from env_sync.engines.postgresql.session import Session

BATCH = 500
"""Statements that are sent at once."""
MOST_LARGE_OBJECTS = 10_000

OBJECTS = """
WITH members AS (
    SELECT classid, objid FROM pg_catalog.pg_depend
    WHERE deptype = 'e' AND refclassid = 'pg_catalog.pg_extension'::regclass
), owned_sequences AS (
    SELECT objid FROM pg_catalog.pg_depend WHERE classid = 'pg_catalog.pg_class'::regclass
    AND refclassid = 'pg_catalog.pg_class'::regclass AND refobjsubid > 0 AND deptype IN ('a', 'i')
), objects AS (
    SELECT 'pg_catalog.pg_class'::regclass AS class, oid, relnamespace AS namespace, relowner AS owner,
        relacl AS acl, CASE WHEN relkind = 'S' THEN 's' ELSE 'r' END AS letter,
        CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
            WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind,
        relkind = 'S' AND oid IN (SELECT objid FROM owned_sequences) AS follows
    FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, oid, pronamespace, proowner, proacl, 'f', 'ROUTINE', false
    FROM pg_catalog.pg_proc
  UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, t.oid, t.typnamespace, t.typowner, t.typacl, 'T', 'TYPE', false
    FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
    WHERE (t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
        OR (t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid))
        -- From 17 on it goes with its range, and is refused by itself.
        OR (t.typtype = 'm' AND pg_catalog.current_setting('server_version_num')::int < 170000))
  UNION ALL
    SELECT 'pg_catalog.pg_namespace'::regclass, oid, oid, nspowner, nspacl, 'n', 'SCHEMA', false
    FROM pg_catalog.pg_namespace
  UNION ALL
    SELECT 'pg_catalog.pg_language'::regclass, oid, 0, lanowner, lanacl, 'l', 'LANGUAGE', false
    FROM pg_catalog.pg_language WHERE oid >= 16384
  UNION ALL
    SELECT 'pg_catalog.pg_collation'::regclass, oid, collnamespace, collowner, NULL, NULL, 'COLLATION', false
    FROM pg_catalog.pg_collation
  UNION ALL
    SELECT 'pg_catalog.pg_conversion'::regclass, oid, connamespace, conowner, NULL, NULL, 'CONVERSION', false
    FROM pg_catalog.pg_conversion
  UNION ALL
    SELECT 'pg_catalog.pg_operator'::regclass, oid, oprnamespace, oprowner, NULL, NULL, 'OPERATOR', false
    FROM pg_catalog.pg_operator
  UNION ALL
    SELECT 'pg_catalog.pg_opclass'::regclass, oid, opcnamespace, opcowner, NULL, NULL, 'OPERATOR CLASS', false
    FROM pg_catalog.pg_opclass
  UNION ALL
    SELECT 'pg_catalog.pg_opfamily'::regclass, oid, opfnamespace, opfowner, NULL, NULL, 'OPERATOR FAMILY',
        false
    FROM pg_catalog.pg_opfamily
  UNION ALL
    SELECT 'pg_catalog.pg_statistic_ext'::regclass, oid, stxnamespace, stxowner, NULL, NULL, 'STATISTICS',
        false
    FROM pg_catalog.pg_statistic_ext
  UNION ALL
    SELECT 'pg_catalog.pg_ts_config'::regclass, oid, cfgnamespace, cfgowner, NULL, NULL,
        'TEXT SEARCH CONFIGURATION', false
    FROM pg_catalog.pg_ts_config
  UNION ALL
    SELECT 'pg_catalog.pg_ts_dict'::regclass, oid, dictnamespace, dictowner, NULL, NULL,
        'TEXT SEARCH DICTIONARY', false
    FROM pg_catalog.pg_ts_dict
  UNION ALL
    SELECT 'pg_catalog.pg_largeobject'::regclass, oid, 0, lomowner, lomacl, 'L', 'LARGE OBJECT', false
    FROM pg_catalog.pg_largeobject_metadata
    WHERE (SELECT count(*) FROM (SELECT FROM pg_catalog.pg_largeobject_metadata LIMIT %(large)s) l)
        < %(large)s
)
SELECT o.kind, i.identity, n.nspname, o.owner::bigint, o.letter, o.follows,
    CASE WHEN o.letter IS NOT NULL THEN (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
            a.grantee::bigint, a.privilege_type, a.is_grantable)), '[]')
        FROM pg_catalog.aclexplode(coalesce(o.acl, pg_catalog.acldefault(o.letter::"char", o.owner))) a) END,
    CASE WHEN o.letter = 'r' THEN (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
            c.attname, a.grantee::bigint, a.privilege_type, a.is_grantable))
        FROM pg_catalog.pg_attribute c, LATERAL pg_catalog.aclexplode(c.attacl) a
        WHERE c.attrelid = o.oid AND c.attacl IS NOT NULL AND NOT c.attisdropped) END
FROM objects o
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = o.namespace
CROSS JOIN LATERAL pg_catalog.pg_identify_object(o.class, o.oid, 0) i
-- The server's own objects have low oids; so may large objects have, whose oids anybody can choose.
WHERE (o.oid >= 16384 OR n.nspname = 'public' OR o.kind = 'LARGE OBJECT')
AND coalesce(n.nspname, '') !~ '^pg_' AND coalesce(n.nspname, '') <> 'information_schema'
AND NOT EXISTS (SELECT FROM members m WHERE m.classid = o.class AND m.objid = o.oid)
ORDER BY o.kind, i.identity
"""

DEFAULTS = """
SELECT d.defaclrole::bigint, coalesce(n.nspname, ''), d.defaclobjtype::text,
    (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
        a.grantee::bigint, a.privilege_type, a.is_grantable)),
        '[]') FROM pg_catalog.aclexplode(d.defaclacl) a),
    CASE WHEN n.oid IS NULL THEN (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
        a.grantee::bigint, a.privilege_type, a.is_grantable)), '[]') FROM pg_catalog.aclexplode(
        pg_catalog.acldefault(
            CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END, d.defaclrole)) a)
    END
FROM pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
ORDER BY 1, 2, 3
"""

OF_DEFAULTS = {
    "r": "TABLES",
    "S": "SEQUENCES",
    "f": "ROUTINES",
    "T": "TYPES",
    "n": "SCHEMAS",
    "L": "LARGE OBJECTS",
}
"""What ALTER DEFAULT PRIVILEGES calls each letter of pg_default_acl."""
LETTER_OF_DEFAULTS = {"r": "r", "s": "S", "f": "f", "T": "T", "n": "n", "L": "L"}
"""The letter of pg_default_acl for each letter of acldefault()."""
FOR_EVERYBODY = ("f", "T")
"""The letters of what the server lets everybody use, unless that is revoked."""
ON = {"VIEW": "TABLE", "MATERIALIZED VIEW": "TABLE", "FOREIGN TABLE": "TABLE"}
"""What GRANT calls a kind, where that differs from ALTER."""


@frozen(kw_only=True)
class Object:
    """An object with an owner; `letter` is its kind as acldefault() calls it, "" where nothing is granted."""

    kind: str
    identity: str
    """As SQL names it, quoted by the server; of one kind the same in every database."""
    schema: str
    """The schema that it is in; that of a schema is itself."""
    owner: int
    letter: str
    follows: bool
    """Whether its owner is that of the table to which it belongs."""
    rights: Rights

    @property
    def key(self) -> tuple[str, str]:
        """The same for the object of the same name in the other database."""
        return (self.letter or self.kind, self.identity)


@frozen(kw_only=True)
class Default:
    """An entry of default privileges. `schema` is "" for all; `base` is what it replaces, for all schemas."""

    role: int
    schema: str
    letter: str
    rights: Rights
    base: Rights


@frozen(kw_only=True)
class Privileges:
    """Owners, grants and default privileges in one database."""

    objects: Mapping[tuple[str, str], Object]
    defaults: Sequence[Default]


def read_privileges(session: Session) -> Privileges:
    """Those in the session's database. Objects of the server and of extensions are left out."""
    objects = {}
    for kind, identity, schema, owner, letter, follows, granted, columns in session.execute(
        OBJECTS, {"large": MOST_LARGE_OBJECTS + 1}
    ):
        found = rights(granted or [], owner)
        for column, *entry in columns or []:
            found |= rights([entry], owner, column)
        one = Object(
            kind=kind,
            identity=identity,
            schema=schema or "",
            owner=owner,
            letter=letter or "",
            follows=follows,
            rights=found,
        )
        objects[one.key] = one
    defaults = [
        Default(
            role=role, schema=schema, letter=letter, rights=rights(given, role), base=rights(base or [], role)
        )
        for role, schema, letter, given, base in session.execute(DEFAULTS)
    ]
    return Privileges(objects=objects, defaults=defaults)


def carry_over(
    session: Session, incoming: Privileges, live: Privileges | None, roles: Roles, owner: int
) -> tuple[str, ...]:
    """Give incoming, the session's database, what live has; gives warnings. Raises psycopg.Error.

    `owner` owns what live does not have, and what belongs there to a role that ours cannot act as. On a first
    pull (no `live`) it owns everything.
    """
    warnings: list[str] = []
    if live is not None:
        live, gone = _without_gone_columns(session, live)
        if gone:
            warnings.append(
                "Grants on columns that live has and the dump has not were not carried over: "
                f"{', '.join(gone)}. Grant on the columns that took their place."
            )
    plan = _Plan(incoming, live, roles, owner)
    with session.transaction():
        for batch in plan.batches():
            for part in _cut(batch):
                session.execute(sql.SQL(";\n").join(part))
    warnings += plan.warnings()
    if session.value("SELECT count(*) > %s FROM pg_catalog.pg_largeobject_metadata", [MOST_LARGE_OBJECTS]):
        _give_large_objects(session, roles, owner)
        warnings.append(
            f"There are more than {MOST_LARGE_OBJECTS} large objects: all of them now belong to "
            f"{roles.names[owner]}, and grants on those of live were not carried over."
        )
    return tuple(warnings)


def _give_large_objects(session: Session, roles: Roles, owner: int) -> None:
    """Give all that are ours to their new owner, some at a time: each takes a lock while it is done."""
    alter = sql.SQL("ALTER LARGE OBJECT {} OWNER TO {}")
    last = 0
    while oids := session.execute(
        "SELECT oid::bigint FROM pg_catalog.pg_largeobject_metadata WHERE lomowner = %s::oid "
        "AND oid > %s::oid ORDER BY oid LIMIT %s",
        [roles.ours, last, BATCH],
    ):
        new = sql.Identifier(roles.names[owner])
        session.execute(sql.SQL(";\n").join(alter.format(sql.Literal(oid), new) for (oid,) in oids))
        last = oids[-1][0]


def _without_gone_columns(session: Session, live: Privileges) -> tuple[Privileges, list[str]]:
    """Live's privileges without rights on columns that the session's database lacks, and those columns."""
    granted = {
        one.identity: {right.column for right in one.rights if right.column}
        for one in live.objects.values()
        if one.letter == "r" and any(right.column for right in one.rights)
    }
    there: dict[str, set[str]] = {}
    for identity, column in session.execute(
        # A relation that is not there at all has no columns, and nothing is granted on it.
        "SELECT i, a.attname FROM pg_catalog.unnest(%s::text[]) i JOIN pg_catalog.pg_attribute a "
        "ON a.attrelid = pg_catalog.to_regclass(i) AND NOT a.attisdropped",
        [list(granted)],
    ):
        there.setdefault(identity, set()).add(column)
    gone = {identity: granted[identity] - columns for identity, columns in there.items()}
    objects = {
        key: evolve(
            one,
            rights={
                right: grantable
                for right, grantable in one.rights.items()
                if right.column not in gone[one.identity]
            },
        )
        if one.letter == "r" and gone.get(one.identity)
        else one
        for key, one in live.objects.items()
    }
    names = [f"{identity} ({', '.join(sorted(columns))})" for identity, columns in gone.items() if columns]
    return evolve(live, objects=objects), sorted(names)


class _Plan:
    """What is to be written, in its order."""

    def __init__(self, incoming: Privileges, live: Privileges | None, roles: Roles, owner: int) -> None:
        self._incoming = incoming
        self._live = live
        self._roles = roles
        self._owner = owner
        self._unusable: Counter[int] = Counter()
        self._fixed: list[str] = []
        self._defaults_left: set[int] = set()

    def batches(self) -> Iterator[list[sql.Composed]]:
        changeable = []
        for one in self._incoming.objects.values():
            owner, wanted = self._wanted(one)
            if self._roles.can_be(one.owner):
                changeable.append((one, owner, wanted))
            elif (one.owner, one.rights) != (owner, wanted):
                self._fixed.append(f"{one.kind.lower()} {one.identity}")
        inside = [entry for entry in changeable if entry[0].kind != "SCHEMA"]
        schemas = [entry for entry in changeable if entry[0].kind == "SCHEMA"]
        # A new owner must be able to create in the schema: that is lent for the while. Owners come before
        # grants, for the server makes the former owner's rights those of the new one.
        moving = [(one, owner) for one, owner, _ in inside if owner != one.owner and not one.follows]
        lent = sorted({(one.schema, owner) for one, owner in moving if one.schema})
        lendable = {one.schema: one for one, _, _ in schemas}
        loans = [
            (lendable[schema], owner)
            for schema, owner in lent
            if schema in lendable
            and not self._roles.superuser
            and Right(OWNER if lendable[schema].owner == owner else owner, "CREATE")
            not in lendable[schema].rights
        ]
        yield [_create(schema, self._roles, owner, lend=True) for schema, owner in loans]
        yield [_alter_owner(one, owner, self._roles) for one, owner in moving]
        yield [
            statement
            for one, owner, wanted in inside
            if one.letter
            for statement in statements(
                ON.get(one.kind, one.kind),
                sql.SQL(one.identity),
                self._after_move(one, owner),
                wanted,
                self._roles,
                owner,
            )
        ]
        yield list(self._default_statements())
        yield [_create(schema, self._roles, owner, lend=False) for schema, owner in loans]
        yield [_alter_owner(one, owner, self._roles) for one, owner, _ in schemas if owner != one.owner]
        yield [
            statement
            for one, owner, wanted in schemas
            for statement in statements(
                "SCHEMA", sql.SQL(one.identity), self._after_move(one, owner), wanted, self._roles, owner
            )
        ]

    def warnings(self) -> list[str]:
        ours = self._roles.names[self._roles.ours]
        found = [
            f"{count} objects belong in live to {self._roles.names.get(role, role)}, as which {ours} may "
            f"not act; they now belong to {self._roles.names[self._owner]}, with grants for the former "
            f"owner. To keep them: {self._roles.to_act_as(role)}"
            for role, count in sorted(self._unusable.items())
        ]
        if self._fixed:
            found.append(
                f"{len(self._fixed)} objects have other owners or grants than in live and {ours} may not "
                f"change them, the first: {self._fixed[0]}"
            )
        found += [
            f"The default privileges of role {self._roles.names.get(role, role)} were not carried over, for "
            f"{ours} may not act as it. To keep them: {self._roles.to_act_as(role)}"
            for role in sorted(self._defaults_left)
        ]
        return found

    def _wanted(self, one: Object) -> tuple[int, Rights]:
        """The owner and the rights that an object of incoming is to have."""
        there = self._live.objects.get(one.key) if self._live else None
        if there is None:
            if one.kind == "SCHEMA" and not self._roles.can_be(one.owner):
                return one.owner, one.rights
            kept = (one.kind, one.identity) == ("SCHEMA", "public") and not self._is_ours(one.owner)
            owner = one.owner if kept else self._owner
            return owner, self._new_rights(one, owner) if self._live else one.rights
        if self._is_ours(there.owner):
            # A pull before made it; nothing in live is to be the sync's own.
            return self._owner, owned_by(there.rights, there.owner, self._owner)
        if there.owner == one.owner or self._roles.can_be(there.owner):
            return there.owner, there.rights
        if one.follows:
            return self._owner, owned_by(there.rights, there.owner, self._owner)
        self._unusable[there.owner] += 1
        return self._owner, owned_by(there.rights, there.owner, self._owner)

    def _is_ours(self, owner: int) -> bool:
        return owner == self._roles.ours and not self._roles.superuser

    def _new_rights(self, one: Object, owner: int) -> Rights:
        """The rights of an object that live does not have: as if it had been made there by its new owner.

        Where live has no default privileges for that owner, those of all roles are taken together: the
        applications' rights to new tables are often kept with the role that migrates. What such a role has
        as the owner of its own objects, and what the server grants in any case, is no part of that.
        """
        letter = LETTER_OF_DEFAULTS.get(one.letter)
        if self._live is None or letter is None:
            return one.rights
        fitting = [
            default
            for default in self._live.defaults
            if default.letter == letter and default.schema in ("", one.schema)
        ]
        own = [default for default in fitting if default.role == owner]
        found: dict[Right, bool] = dict(one.rights)
        for default in own:
            if not default.schema:
                # One for all schemas replaces what the server would grant.
                found = {right: kept for right, kept in found.items() if right not in default.base}
            found |= default.rights
        if not own:
            for default in fitting:
                given = {
                    right: grantable
                    for right, grantable in default.rights.items()
                    if right.grantee != OWNER and right not in default.base
                }
                found |= owned_by(given, default.role, owner)
        # Not everybody may use it where it comes from (see selection.py): no default of live changes that.
        return {
            right: grantable
            for right, grantable in found.items()
            if right.grantee != PUBLIC or letter not in FOR_EVERYBODY or right in one.rights
        }

    def _after_move(self, one: Object, owner: int) -> Rights:
        """The rights in incoming once the object has its new owner."""
        if owner == one.owner:
            return one.rights
        # The server puts the new owner where the old one was, and what it had before is part of that.
        return {
            Right(OWNER, right.privilege, right.column) if right.grantee == owner else right: grantable
            and right.grantee != owner
            for right, grantable in one.rights.items()
        }

    def _default_statements(self) -> Iterator[sql.Composed]:
        if self._live is None:
            return
        have = {(d.role, d.schema, d.letter): d for d in self._incoming.defaults}
        schemas = {one.schema for one in self._incoming.objects.values() if one.kind == "SCHEMA"}
        for default in self._live.defaults:
            if default.role not in self._roles.usable:
                self._defaults_left.add(default.role)
                continue
            if default.letter not in OF_DEFAULTS or (default.schema and default.schema not in schemas):
                continue
            there = have.get((default.role, default.schema, default.letter))
            prefix = sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}").format(
                sql.Identifier(self._roles.names[default.role])
            )
            if default.schema:
                prefix += sql.SQL(" IN SCHEMA {}").format(sql.Identifier(default.schema))
            for statement in statements(
                OF_DEFAULTS[default.letter],
                sql.SQL(""),
                there.rights if there else default.base,
                default.rights,
                self._roles,
                default.role,
            ):
                yield prefix + sql.SQL(" ") + statement


def _alter_owner(one: Object, owner: int, roles: Roles) -> sql.Composed:
    return sql.SQL("ALTER {} {} OWNER TO {}").format(
        sql.SQL(one.kind), sql.SQL(one.identity), sql.Identifier(roles.names[owner])
    )


def _create(schema: Object, roles: Roles, owner: int, *, lend: bool) -> sql.Composed:
    verb, preposition = ("GRANT", "TO") if lend else ("REVOKE", "FROM")
    return sql.SQL("{} CREATE ON SCHEMA {} {} {}").format(
        sql.SQL(verb), sql.SQL(schema.identity), sql.SQL(preposition), sql.Identifier(roles.names[owner])
    )


def _cut(some: Iterable[sql.Composed]) -> Iterator[list[sql.Composed]]:
    waiting = list(some)
    for start in range(0, len(waiting), BATCH):
        yield waiting[start : start + BATCH]
