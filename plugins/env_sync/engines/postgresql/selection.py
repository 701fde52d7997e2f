"""What of an archive is restored into a target, and what is left out and why."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from attrs import frozen

from env_sync.core.errors import RestoreFailed
from env_sync.engines.postgresql.archive import Archive, Entry
from env_sync.engines.postgresql.deferred_statements import SCHEMA, refuse_brought
from env_sync.engines.postgresql.identifiers import IDENTIFIER, unquoted

SHOWN = 20
"""How many names a warning lists."""


@frozen(kw_only=True)
class Target:
    """What the server and the role that restores have."""

    superuser: bool
    roles: frozenset[str]
    extensions: frozenset[str]
    """Those that CREATE EXTENSION could make."""


@frozen(kw_only=True)
class Selection:
    """Which entries pg_restore restores, in their order, and what is left to do and to say."""

    dump_ids: tuple[int, ...]
    statements: tuple[str, ...]
    """SQL to run when pg_restore is done: policies without the roles that the target lacks."""
    revokes: tuple[str, ...]
    """SQL that takes from everybody what the server grants to everybody, and the dumped server did not."""
    warnings: tuple[str, ...]


# What is carried over from live, or belongs to the server, and is nothing to warn of.
_SILENT = frozenset(
    {
        *("ACL", "DEFAULT ACL", "SECURITY LABEL", "DATABASE", "DATABASE PROPERTIES"),
        # They quote the most common values, and would do so beside a sanitised table.
        "STATISTICS DATA",
        # What belongs to something that is left out, and named, itself.
        *("SUBSCRIPTION TABLE", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"),
        # Settings of the archive, which pg_restore takes whether they are listed or not.
        *("ENCODING", "STDSTRINGS", "SEARCHPATH"),
    }
)
_POINTS_BACK = {
    "SUBSCRIPTION": "subscriptions",
    "PUBLICATION": "publications",
    "FOREIGN DATA WRAPPER": "foreign data wrappers",
    "SERVER": "foreign servers",
    "USER MAPPING": "user mappings",
    "FOREIGN TABLE": "foreign tables",
}
_POLICY = re.compile(
    rf"(?P<before>CREATE POLICY {IDENTIFIER} ON {IDENTIFIER}(?:\.{IDENTIFIER})?"
    rf"(?: AS \w+)?(?: FOR \w+)? TO )(?P<roles>{IDENTIFIER}(?:, {IDENTIFIER})*)(?P<after>.*)",
    re.DOTALL,
)
_REVOKE = re.compile(r"^REVOKE ALL ON (?:FUNCTION|PROCEDURE|TYPE) .+ FROM PUBLIC;$", re.MULTILINE)


def select_entries(archive: Archive, target: Target) -> Selection:
    """Choose what is restored.

    Raises RestoreFailed where the target lacks an extension, or where a schema is in the way of what waits.

    Left out are: what points back at the environment that was dumped (subscriptions, publications, foreign
    servers and all that depends on them), what only a superuser may make where the role is none (event
    triggers), policies for roles that the target lacks, and, without a warning, grants (but not what is
    taken from everybody) and security labels, settings of the database, and comments on what the role does
    not own.
    """
    if any(entry.type == "SCHEMA" and entry.name == SCHEMA for entry in archive.entries):
        raise refuse_brought(archive.database)
    out: dict[int, str] = {}
    statements: list[str] = []
    roles_missing: list[str] = []
    for entry in archive.entries:
        if _goes_without_saying(entry):
            out[entry.dump_id] = ""
        elif entry.type in _POINTS_BACK:
            out[entry.dump_id] = f"{_POINTS_BACK[entry.type]}, which point back at where the data is from"
        elif entry.type == "EXTENSION" and entry.name.endswith("_fdw"):
            out[entry.dump_id] = "extensions for foreign servers, as those are left out"
        elif entry.type == "EVENT TRIGGER" and not target.superuser:
            out[entry.dump_id] = "event triggers, which only a superuser may make"
        elif entry.type == "POLICY":
            statement = _policy(entry, target.roles)
            if statement is None:
                continue
            out[entry.dump_id] = ""
            roles_missing.append(entry.name)
            if statement:
                statements.append(statement)
    _leave_out_dependents(archive.entries, out)
    selected = tuple(entry for entry in archive.entries if entry.dump_id not in out)
    _check_extensions(selected, target, archive)
    warnings = _warnings(archive.entries, out)
    if roles_missing:
        warnings.append(
            "Policies name roles that this server lacks; they were made without those, or left out where "
            f"they name no other, and row security stays on: {_shown(roles_missing)}"
        )
    return Selection(
        dump_ids=tuple(entry.dump_id for entry in selected),
        statements=tuple(statements),
        revokes=tuple(_revokes(archive.entries, {entry.dump_id for entry in selected})),
        warnings=tuple(warnings),
    )


def _revokes(entries: Iterable[Entry], selected: Collection[int]) -> Iterator[str]:
    """Grants stay out, but a function (or a type) that not everybody might use is not to be open to all."""
    for entry in entries:
        # What an extension or the server itself made has no entry of its own, and is not ours.
        if entry.type == "ACL" and any(number in selected for number in entry.dependencies):
            yield from _REVOKE.findall(entry.definition)


def one_at_a_time(entries: Sequence[Entry]) -> frozenset[int]:
    """The entries that are restored one after another, at the end: their dump ids.

    An index on which its table is clustered, or by which it is replicated, first locks the table as every
    index does and then asks for more: two such indexes of one table, built side by side, wait for each other.
    """
    found = {
        entry.dump_id for entry in entries if entry.type == "INDEX" and "\nALTER TABLE " in entry.definition
    }
    grew = bool(found)
    while grew:
        depending = {entry.dump_id for entry in entries if found.intersection(entry.dependencies)} - found
        found |= depending
        grew = bool(depending)
    return frozenset(found)


def _goes_without_saying(entry: Entry) -> bool:
    if entry.type in _SILENT:
        return True
    if entry.type == "COMMENT":
        # Only the owner of an extension, of the schema public or of the database may comment on it.
        return entry.name.startswith(("EXTENSION ", "DATABASE ")) or entry.name == "SCHEMA public"
    # Every database has it, and only a superuser may make or change it.
    return entry.type in ("EXTENSION", "PROCEDURAL LANGUAGE") and entry.name == "plpgsql"


def _leave_out_dependents(entries: Iterable[Entry], out: dict[int, str]) -> None:
    """Leave out also whatever depends, over any number of steps, on what points back."""
    rest = [entry for entry in entries if entry.dump_id not in out and entry.dependencies]
    roots = {dump_id for dump_id, reason in out.items() if reason}
    found = True
    while found:
        depending = [entry for entry in rest if roots.intersection(entry.dependencies)]
        found = bool(depending)
        for entry in depending:
            roots.add(entry.dump_id)
            data = entry.type.endswith(" DATA") or entry.type in ("COMMENT", "SEQUENCE SET")
            out[entry.dump_id] = "" if data else "what depends on something else that was left out"
        rest = [entry for entry in rest if entry.dump_id not in roots]


def _policy(entry: Entry, roles: Collection[str]) -> str | None:
    """The statement for a policy without the roles that are missing; None if none is, "" if all are.

    To leave one out could give more access only where it is restrictive and applies to a role that
    is there; then it is made. To leave out one that applies to nobody here changes nothing.
    """
    match = _POLICY.fullmatch(entry.definition)
    if match is None:
        return None
    named = re.findall(IDENTIFIER, match["roles"])
    there = [name for name in named if unquoted(name) in roles or name.upper() == "PUBLIC"]
    if len(there) == len(named):
        return None
    return f"{match['before']}{', '.join(there)}{match['after']}" if there else ""


def _check_extensions(selected: Iterable[Entry], target: Target, archive: Archive) -> None:
    missing = sorted(
        entry.name for entry in selected if entry.type == "EXTENSION" and entry.name not in target.extensions
    )
    if missing:
        raise RestoreFailed(
            f"The dump of {archive.database} needs extensions that the server lacks: {', '.join(missing)}. "
            "Install them on the server (Debian: postgresql-contrib, or a package of their own; RDS: see its "
            "list of supported extensions), then run the step again. Nothing was restored."
        )


def _warnings(entries: Iterable[Entry], out: dict[int, str]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for entry in entries:
        if reason := out.get(entry.dump_id):
            by_reason.setdefault(reason, []).append(str(entry) if "depends" in reason else _name(entry))
    return [f"Left out {reason}: {_shown(names)}" for reason, names in by_reason.items()]


def _name(entry: Entry) -> str:
    return f"{entry.schema}.{entry.name}" if entry.schema else entry.name


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
