"""How a directory that is synced may be called."""

from __future__ import annotations

from collections.abc import Iterator

from env_sync.domain.database_name import Refusal, Use, kept_for_copies

HIDDEN = ".env_sync"
"""Where Env Sync keeps what is its own, beside the directories."""
LONGEST = 255
"""Bytes of a name; NAME_MAX of Linux."""


def refusals(database: str, use: Use) -> Iterator[Refusal]:
    """Why a directory cannot be called so, whatever it is used for: its copies are elsewhere."""
    alone = (
        f"A directory cannot be called {database!r}: `database` is its name alone, and `root` in the "
        "connection's extra says where it is."
    )
    where = "`root` in the extra of its connection says where it is"
    if "/" in database:
        yield Refusal(right=f"a name with `/` cannot be part of the dump's key; {where}", error=alone)
    elif not database or database in (".", "..") or not database.isprintable():
        yield Refusal(right=f"write the directory's name alone; {where}", error=alone)
    rename = f"A directory cannot be called {database!r}. Rename it."
    if database == HIDDEN:
        yield Refusal(right="Env Sync keeps what is its own there; rename the directory", error=rename)
    if (length := len(database.encode())) > LONGEST:
        yield Refusal(size=f"{length} bytes", right=f"a name may have at most {LONGEST} bytes", error=rename)
    yield from kept_for_copies(database)
