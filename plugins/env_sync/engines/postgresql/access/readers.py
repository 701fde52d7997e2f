"""Who else could read a copy before it is sanitised: now, by giving himself the right, or for a while."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from env_sync.core.errors import EnvSyncError, NoSuchDatabase
from env_sync.domain.finding import Finding, note, problem
from env_sync.engines.base.accepted_readers import MEMBERSHIPS, accepts
from env_sync.engines.base.readers import Reader, Readers, accepted_by, advice, listed
from env_sync.engines.postgresql.access.administrator import ADMINISTRATORS
from env_sync.engines.postgresql.access.roles import DROPPED, becoming
from env_sync.engines.postgresql.metadata import Closed, take_apart
from env_sync.engines.postgresql.session import Server, Session

# Sessions of a role that was dropped go on. Of the members many cannot log in, now.
# GRANT and REVOKE on a database, as whatever else changes its row, leave another version of the row; COMMENT,
# settings and VACUUM do not. An event trigger of logins does: only an administrator can have restored one.
# Of memberships only the statistics tell, of all roles together.
_DATABASE = f"""
SELECT d.datdba::bigint, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(d.datdba)),
    EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(d.datacl,
        pg_catalog.acldefault('d', d.datdba))) a WHERE a.grantee = 0),
    ARRAY(SELECT pg_catalog.quote_ident(r.rolname) FROM pg_catalog.pg_roles r
        WHERE r.rolcanlogin AND NOT r.rolsuper AND r.oid <> d.datdba
        AND pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT') ORDER BY r.rolname),
    ARRAY(SELECT DISTINCT coalesce(pg_catalog.quote_ident(r.rolname), '{DROPPED}')
        FROM pg_catalog.pg_stat_activity s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.usesysid
        WHERE s.datid = d.oid AND s.usesysid <> d.datdba AND r.rolsuper IS NOT TRUE ORDER BY 1),
    CASE pg_catalog.to_jsonb(d) ->> 'dathasloginevt' WHEN 'true' THEN '' ELSE d.xmin::text END,
    pg_catalog.pg_stat_get_tuples_inserted(m.oid),
    pg_catalog.pg_stat_get_tuples_updated(m.oid) + pg_catalog.pg_stat_get_tuples_deleted(m.oid),
    (SELECT count(*) FROM pg_catalog.pg_roles r WHERE r.oid <> d.datdba AND NOT r.rolsuper
        AND pg_catalog.pg_has_role(r.oid, d.datdba, 'MEMBER')),
    d.oid::bigint, pg_catalog.shobj_description(d.oid, 'pg_database')
FROM pg_catalog.pg_database d, pg_catalog.pg_class m
WHERE d.datname = %s AND m.oid = 'pg_catalog.pg_auth_members'::pg_catalog.regclass
"""
# Members by whatever path, whether or not they inherit anything. Since 16 CREATEROLE alone makes nobody a
# member of a role of somebody else.
_ROLES = """
SELECT pg_catalog.quote_ident(r.rolname),
    pg_catalog.pg_has_role(r.oid, o.oid, 'USAGE') OR pg_catalog.pg_has_role(r.oid, o.oid, %(become)s),
    ARRAY(
        SELECT 'REPLICATION' WHERE r.rolreplication
        UNION ALL SELECT CASE WHEN k.oid = r.oid THEN 'CREATEROLE'
            WHEN k.oid = o.oid AND pg_catalog.pg_has_role(r.oid, o.oid, 'MEMBER WITH ADMIN OPTION')
            THEN 'ADMIN OPTION on ' || pg_catalog.quote_ident(k.rolname)
            ELSE 'membership in ' || pg_catalog.quote_ident(k.rolname) END
        FROM pg_catalog.pg_roles k WHERE pg_catalog.pg_has_role(r.oid, k.oid, 'MEMBER')
        AND (k.oid = o.oid OR k.rolsuper OR k.rolname = ANY (%(mighty)s) OR k.rolcreaterole AND %(makes)s)
        ORDER BY 1)
FROM pg_catalog.pg_roles r, pg_catalog.pg_roles o
WHERE o.oid = %(role)s AND r.oid <> o.oid AND r.rolcanlogin AND NOT r.rolsuper ORDER BY 1
"""

_NOTHING_TELLS = (
    "Database {} does not say how it was when it was opened for us alone, so nobody can tell whether "
    "somebody was let in for a while: a version of Env Sync that did not keep that worked on it, or a step "
    "was marked by hand."
)
_FIND_OUT = "Find out who it was, and run the group again. Live is untouched."


@frozen(kw_only=True)
class Look:
    """What a look at a copy found that stops nothing."""

    closed: Closed
    warnings: tuple[str, ...]


@frozen(kw_only=True)
class Others:
    """Roles that log in and have something to do with ours, quoted; without superusers."""

    members: tuple[str, ...]
    """Those that have its rights, or can take them."""
    readers: Readers
    """Those that could give themselves its rights, or read what the server holds."""


def others(session: Session, server: Server, role: int) -> Others:
    """Who has something to do with the role that owns the copies."""
    rows = session.execute(
        _ROLES,
        {
            "role": role,
            "become": becoming(session),
            "mighty": list(ADMINISTRATORS),
            "makes": session.version < 16,
        },
    )
    return Others(
        members=tuple(name for name, member, _ in rows if member),
        readers=Readers(
            found=tuple(
                Reader(name=name, by=", ".join(by)) for name, member, by in rows if by and not member
            ),
            accepted=accepted_by(server.connection),
        ),
    )


def check_closed(
    session: Session,
    server: Server,
    database: str,
    error: type[EnvSyncError],
    *,
    kept: Closed | None = None,
    new: bool = False,
) -> Look:
    """See that nobody but our role and superusers can read a copy, and warn of who could let himself in.

    `kept` is how it was when it was opened, where that is known otherwise than by what it says itself: who
    was let in as our role can have changed that. `new`: it is being opened now. Raises `error` where another
    role could connect to it, is in it, or may have been let in since it was opened.
    """
    rows = session.execute(_DATABASE, [database])
    if not rows:
        raise NoSuchDatabase(f"Database {database} on {server} is gone: somebody dropped it.")
    oid, owner, public, connecting, inside, row, given, taken_away, members, itself, comment = rows[0]
    found = others(session, server, oid)
    said = [f"{role} (it is a member of {owner})" for role in found.members]
    said += [f"{role} (by a grant)" for role in connecting if role not in found.members]
    said += [f"{role} (it is connected now)" for role in inside if role not in (*found.members, *connecting)]
    if public:
        said.append("everybody (a grant to PUBLIC)")
    if said:
        raise error(
            f"Database {database} holds data that nobody else may read, but could be connected to by "
            f"{', '.join(said)}. Take those memberships of role {owner} and those grants away (REVOKE "
            f"{owner} FROM ..., or a role of its own for Env Sync), end the sessions of those who are in it, "
            "and run the group again. Live is untouched."
        )
    now = Closed(
        row=row, memberships=given + taken_away, taken_away=taken_away, members=members, database=itself
    )
    warnings = _warnings(found.readers, server)
    if not new:
        where = f"{database} on {server}"
        opened = _opened(take_apart(comment).closed, kept, now, where, error)
        if opened is None:
            warnings += (_NOTHING_TELLS.format(where),)
        elif changed := _changed_memberships(
            opened, now, where, owner, come_and_go=accepts(server.connection, MEMBERSHIPS)
        ):
            warnings += (changed,)
    return Look(closed=now, warnings=warnings)


def _opened(
    said: Closed | None, kept: Closed | None, now: Closed, where: str, error: type[EnvSyncError]
) -> Closed | None:
    """How a copy was when it was opened; None where nothing tells, neither itself nor an earlier step.

    Raises `error` where nobody may believe it.
    """
    if said is None and kept is None:
        return None
    if said is None:
        raise error(
            f"Database {where} no longer says how it was when it was opened for us alone: somebody may have "
            f"been let in for a while, and have taken that away. {_FIND_OUT}"
        )
    opened = kept or said
    # An older version keeps these two alone.
    if (said.row, said.memberships) != (opened.row, opened.memberships) or any(
        each.database not in (None, now.database) for each in (said, opened)
    ):
        raise error(
            f"Database {where} is not the one that was opened for us alone, or what it says of that was "
            f"changed: somebody may have been let in for a while. {_FIND_OUT}"
        )
    if now.row and now.row != opened.row:
        raise error(
            f"The rights on database {where}, or its properties, were changed since it was opened for us "
            f"alone: somebody may have been let in for a while. {_FIND_OUT}"
        )
    return opened


def _changed_memberships(
    opened: Closed, now: Closed, where: str, owner: str, *, come_and_go: bool
) -> str | None:
    """What to say where somebody may have been a member for a while.

    Who still is one, and can log in, is found by name: so one that was only given is no news. `come_and_go`:
    that memberships of other roles do is accepted.
    """
    if opened.members is not None and now.members != opened.members:
        return (
            f"Who is a member of {owner} on the server of {where} was changed since it was made. Whoever was "
            "one meanwhile could have read it: find out who was, and take the membership away."
        )
    if come_and_go:
        return None
    accepting = (
        f" Where memberships come and go each night, as those of logins that are made for an hour, write "
        f'"{MEMBERSHIPS}": true into the extra of the connection.'
    )
    if now.memberships < opened.memberships:
        return (
            f"The server of {where} lost its statistics (a crash, a failover) since it was made: nobody can "
            f"tell whether somebody was a member of {owner} meanwhile.{accepting}"
        )
    # An earlier version counted all that was done to memberships.
    if opened.taken_away is None:
        same = now.memberships == opened.memberships
    else:
        same = now.taken_away == opened.taken_away
    if same:
        return None
    return (
        f"Memberships of roles were taken away or altered on the server of {where} since it was made. "
        f"Whoever was a member of {owner} meanwhile could have read it: find out who was.{accepting}"
    )


def findings(session: Session, server: Server) -> Iterator[Finding]:
    """The same before the night: members are problems, who could let himself in is a note."""
    oid, ours = session.execute(
        "SELECT oid::bigint, pg_catalog.quote_ident(rolname) FROM pg_catalog.pg_roles "
        "WHERE rolname = current_user"
    )[0]
    found = others(session, server, oid)
    for member in found.members:
        yield problem(
            f"Role {member} is a member of {ours} on {server}: it could read what is not sanitised yet, "
            "so a pull refuses to start.",
            f"As an administrator: REVOKE {ours} FROM {member}; (or from the role between), or a role for "
            "Env Sync alone.",
        )
    for warning in _warnings(found.readers, server):
        yield note(warning)
    yield from found.readers.findings(server.connection)
    if accepts(server.connection, MEMBERSHIPS):
        yield note(
            f"{MEMBERSHIPS} of connection {server.connection.connection_id} accepts that memberships of "
            f"roles come and go on {server}: nothing tells who was a member of {ours} for a while."
        )


def _warnings(readers: Readers, server: Server) -> tuple[str, ...]:
    refused = readers.refused
    if not refused:
        return ()
    told = f"can read what is not sanitised yet on {server}, or give themselves the right to"
    return (f"These roles {told}: {listed(refused, len(refused))}. {advice(server.connection)}",)
