"""The names of databases in grants, which may have wildcards."""

from __future__ import annotations

import re

from env_sync.engines.mysql.session import Session


def covers(pattern: str, database: str, *, wildcards: bool = True) -> bool:
    r"""Whether a grant's name covers a database: `_` is any character, `%` any text, unless after a `\`.

    Without `wildcards` they are letters like others: so MySQL takes them where it has partial revokes.
    """
    parts = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "\\" and position < len(pattern):
            parts.append(re.escape(pattern[position]))
            position += 1
        else:
            wild = {"_": ".", "%": ".*"}.get(character) if wildcards else None
            parts.append(wild or re.escape(character))
    # Servers differ in whether case counts: what might cover it does.
    return re.fullmatch("".join(parts), database, re.IGNORECASE | re.DOTALL) is not None


def as_pattern(database: str) -> str:
    """The name by which a grant names this database alone, where the server has wildcards."""
    return re.sub(r"([_%\\])", r"\\\1", database)


def has_wildcards(session: Session) -> bool:
    """Whether names of databases in grants have wildcards on this server."""
    if not session.version.mysql_from(8, 0):
        return True
    # It came with 8.0.16.
    revokes = "SHOW GLOBAL VARIABLES WHERE Variable_name = 'partial_revokes' AND Value = 'ON'"
    return not session.execute(revokes)
