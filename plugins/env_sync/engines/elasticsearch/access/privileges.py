"""What roles of a cluster allow, as far as it reaches the indices of Env Sync.

https://www.elastic.co/guide/en/elasticsearch/reference/8.19/security-privileges.html
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from env_sync.engines.elasticsearch.names import CONTENTS, STATE

Descriptor = Mapping[str, Any]
"""A role as the cluster describes it: `cluster`, `indices`, `run_as`, and more."""

HARMLESS = frozenset(
    {
        "none",
        "monitor",
        "maintenance",
        "create_index",
        "auto_configure",
        "manage_ilm",
        "manage_data_stream_lifecycle",
    }
)
"""Privileges on indices that show no document, no mapping and no name of a field, and give nobody a right."""
CHANGES_NOTHING = frozenset(
    {"none", "monitor", "maintenance", "read", "read_cross_cluster", "view_index_metadata"}
)
"""Privileges on indices with which none of them is made, changed or removed."""
ANYWHERE = frozenset(
    {
        "all",
        "manage",
        "manage_security",
        "manage_service_account",
        "manage_slm",
        "create_snapshot",
        "monitor_snapshot",
        "grant_api_key",
        # Whoever shows the certificate of another one, of which he needs no key, is that one.
        "delegate_pki",
        "manage_ccr",
        "cross_cluster_replication",
    }
)
"""Privileges on the cluster that reach every index, the snapshots of it, or the rights of others."""
OF_A_PUSH = frozenset({"create_snapshot", "cluster:admin/repository/get"})
"""What a push needs on the cluster, of that which reaches snapshots."""
EVERYTHING = ("*", "_all", "/.*/")
RAW = (
    "cluster:admin/snapshot",
    "cluster:admin/repository",
    "cluster:admin/xpack/security",
    "cluster:admin/slm",
)
"""How actions begin that do the same, where a role names actions in the place of privileges."""

LOOKS = re.compile(r"cluster:admin/xpack/security/[a-z_/]+/get")
"""Actions that only show who has which rights."""

_HEX, _ANY, _STAR = "<hex>", "?", "*"
_COPY = (*"env-sync-", *[_HEX] * 12, "-", _ANY, _STAR)
_QUANTIFIERS = "?*+{"


def reach_of(role: Descriptor) -> str | None:
    """By what a role reaches incoming or the snapshots, in words; None where it does not."""
    return next(_reaching(role), None)


def reach_beyond_push(role: Descriptor) -> str | None:
    """The same, but for what an account of Env Sync has that pushes."""
    cluster = [each for each in _texts(role.get("cluster")) if each.lower() not in OF_A_PUSH]
    return reach_of({**role, "cluster": cluster})


def writes_records(role: Descriptor) -> str | None:
    """By what a role could change the leases and records, in words; None where it could not.

    One on everything is not meant: who has it runs the cluster, and reads incoming as well.
    """
    for names, privileges in _indices(role):
        wide = [each for each in privileges if each not in CHANGES_NOTHING]
        for name in names if wide else ():
            if name not in EVERYTHING and any(_meets(name, tuple(record)) for record in (STATE, CONTENTS)):
                return f"{wide[0]} on {name}"
    return None


def is_administrator(name: str, role: Descriptor) -> bool:
    """Whether a role is the one with which a cluster is run, and that it brings along itself."""
    return name == "superuser" and bool((role.get("metadata") or {}).get("_reserved"))


def may_run_as(role: Descriptor, name: str) -> bool:
    """Whether a role lets its users act as a user of this name."""
    return any(_meets(str(pattern), tuple(name)) for pattern in role.get("run_as") or ())


def _reaching(role: Descriptor) -> Iterator[str]:
    for names, privileges in _indices(role):
        wide = [
            each for each in privileges if each not in HARMLESS and not each.startswith("indices:monitor/")
        ]
        reached = [name for name in names if _meets(name, _COPY)]
        if wide and reached:
            yield f"{wide[0]} on {reached[0]}"
    yield from _on_cluster(role, ANYWHERE)


def _on_cluster(role: Descriptor, wide: Iterable[str]) -> Iterator[str]:
    for each in _texts(role.get("cluster")):
        pattern = each.lower()
        if LOOKS.fullmatch(pattern):
            continue
        if pattern in wide or (":" in pattern and any(_begins(pattern, raw) for raw in RAW)):
            yield f"{each} on the cluster"


def _begins(pattern: str, prefix: str) -> bool:
    return _meets(pattern, (*prefix, _STAR))


def _indices(role: Descriptor) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    for each in role.get("indices") or role.get("index") or ():
        yield _texts(each.get("names")), [privilege.lower() for privilege in _texts(each.get("privileges"))]


def _texts(value: object) -> Sequence[str]:
    """A list of texts; a cluster takes a single one as well."""
    if isinstance(value, str):
        return (value,)
    return tuple(map(str, value)) if isinstance(value, Iterable) else ()


def _meets(pattern: str, wanted: Sequence[str]) -> bool:
    """Whether a pattern of a role is for any name of a form; of an expression only its beginning counts."""
    if pattern == "_all":
        pattern = _STAR
    if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
        return _globs_meet((*_plain_beginning(pattern[1:-1]), _STAR), wanted)
    escaped = iter(pattern)
    # A backslash takes its meaning from the character after it.
    return _globs_meet(tuple(f"={next(escaped, each)}" if each == "\\" else each for each in escaped), wanted)


def _plain_beginning(expression: str) -> str:
    """With what all that an expression is for begins; less where that is hard to tell."""
    if "|" in expression:
        return ""
    plain = re.match(r"[A-Za-z0-9_-]*", expression)
    begun = plain[0] if plain else ""
    return begun[:-1] if expression[len(begun) :].startswith(tuple(_QUANTIFIERS)) else begun


def _globs_meet(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether any text is of both forms: characters, `?` for any one, `*` for any number of any."""

    @functools.cache
    def meet(left: int, right: int) -> bool:
        first = one[left] if left < len(one) else ""
        second = other[right] if right < len(other) else ""
        if not first and not second:
            return True
        if first == _STAR:
            return meet(left + 1, right) or (bool(second) and meet(left, right + 1))
        if second == _STAR:
            return meet(left, right + 1) or (bool(first) and meet(left + 1, right))
        return bool(first) and bool(second) and _same(first, second) and meet(left + 1, right + 1)

    return meet(0, 0)


def _same(one: str, other: str) -> bool:
    if _ANY in (one, other):
        return True
    one, other = one.removeprefix("=") or "=", other.removeprefix("=") or "="
    if other == _HEX:
        return one in "0123456789abcdef"
    return one == other
