"""What must hold between the statements of a transformation, whatever code of the data they ran.

A trigger or a function that came with the data can set where names are looked up, or as whom the session is
at work, for all that follows in the transaction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

from attrs import define

from env_sync.engines.postgresql.session import Session
from env_sync.engines.postgresql.transformation import TEMPORARY_LAST, tokens

ENDED = "ended the transaction that it runs in: take COMMIT, ROLLBACK and the like out of it"
"""What is said of a statement after which it is another transaction, or none."""
_MAY_SET: Mapping[str, re.Pattern[str]] = {
    "search_path": re.compile(r"search_path|set_config|\bset (?:(?:local|session) )?schema\b", re.IGNORECASE),
    "role": re.compile(r"set_config|\brole\b|\bauthorization\b", re.IGNORECASE),
    "session_replication_role": re.compile(r"set_config|session_replication_role", re.IGNORECASE),
}
"""What a statement may set that says so, by its text without comments."""
_GOES_BACK = frozenset({"RESET", "ROLLBACK", "ABORT"})
"""With one of these a statement begins that sets what was set before."""
_NEVER: Mapping[str, tuple[str, str]] = {
    "row_security": ("off", "turned row_security on, so that policies may have hidden rows from it"),
    # Else statements would not end where they are taken to end.
    "standard_conforming_strings": ("on", "turned standard_conforming_strings off, by which it is read"),
    "client_encoding": ("UTF8", "set another client_encoding than UTF8, in which it is read"),
    # Only an administrator may.
    "track_counts": ("on", "turned track_counts off, so that nothing tells what else it changes"),
}
"""What no statement may set: how it is, and what is said where it is not."""
_NAMES = (*_MAY_SET, *_NEVER)
_OF_THE_SERVER: Mapping[str, str] = {
    "pg_database": "a database",
    "pg_authid": "a role",
    "pg_auth_members": "a membership",
    "pg_db_role_setting": "a setting of a database or role",
    "pg_tablespace": "a tablespace",
    # The stamps of other copies, and what says that they were live, are comments.
    "pg_shdescription": "a comment on a database or role",
    "pg_shseclabel": "a security label",
    # Since 15.
    "pg_parameter_acl": "a right to a setting",
}
"""Catalogs of the whole server, and what a row of each is: a copy has none of its own."""
_COMMENTS = tuple(_OF_THE_SERVER).index("pg_shdescription")
# Asked where the transformation has names looked up, and so operators: each is the server's own.
_CHANGED = " OPERATOR(pg_catalog.+) ".join(
    f"pg_catalog.pg_stat_get_xact_tuples_{how}(pg_catalog.to_regclass('pg_catalog.{{0}}'))"
    for how in ("inserted", "updated", "deleted")
)
READ = "SELECT pg_catalog.txid_current(), " + ", ".join(
    (
        *(_CHANGED.format(catalog) for catalog in _OF_THE_SERVER),
        *(f"pg_catalog.current_setting('{name}')" for name in _NAMES),
    )
)
SET_PATH = "SELECT pg_catalog.set_config('search_path', %s, true)"
_HAS_TEMPORARY = re.compile(r'(?:^|,)\s*"?pg_temp"?\s*(?:,|$)')


@define
class Held:
    """How the session of transformations is: its transaction, and settings by their names."""

    transaction: int
    reached: tuple[str, ...]
    """What of the server the transaction changed, outside of the database."""
    settings: dict[str, str]

    @classmethod
    def of(cls, session: Session, comments: int = 0) -> Self:
        """As it is now; so many comments on databases are ours. Raises psycopg.Error."""
        [[transaction, *values]] = session.execute(READ)
        counts, settings = values[: len(_OF_THE_SERVER)], values[len(_OF_THE_SERVER) :]
        counts[_COMMENTS] -= comments
        return cls(
            transaction,
            tuple(what for what, count in zip(_OF_THE_SERVER.values(), counts, strict=True) if count),
            dict(zip(_NAMES, settings, strict=True)),
        )

    @property
    def told_of_reach(self) -> str:
        """What to say where the transaction changed what is outside of the database."""
        return (
            f"ran code that changed {' and '.join(self.reached)} of the server, outside of the copy, which "
            "is undone: see what it runs, for it may have come with the data"
        )

    def broken_by(self, session: Session, text: str) -> str | None:
        """What a statement with this text did that it may not have done; None where all is well.

        What it set as it says holds from now on. Raises psycopg.Error.
        """
        now = self.of(session)
        if now.transaction != self.transaction:
            return ENDED
        if now.reached:
            return now.told_of_reach
        for name, (value, what) in _NEVER.items():
            if now.settings[name] != value:
                return f"{what}: take that out of it"
        words = [token.text for token in tokens(text)]
        said = " ".join(words)
        for name, may_set in _MAY_SET.items():
            goes_back = words[:1] and words[0].upper() in _GOES_BACK
            if now.settings[name] != self.settings[name] and not goes_back and not may_set.search(said):
                return (
                    f"ran a function or trigger that set {name}, so that what follows might change something "
                    "else: disable that trigger, or leave that call out"
                )
        if now.settings["search_path"] != self.settings["search_path"]:
            now.settings["search_path"] = _temporary_last(session, now.settings["search_path"])
        self.settings = now.settings
        return None


def _temporary_last(session: Session, path: str) -> str:
    """Have temporary tables looked up last, as they are first where the path does not name them."""
    # Where no schema of the path is there, new tables would be temporary: those of pg_temp alone.
    if _HAS_TEMPORARY.search(path) or session.value("SELECT pg_catalog.current_schema()") is None:
        return path
    set_path: str = session.value(SET_PATH, [f"{path}, {TEMPORARY_LAST}"])
    return set_path
