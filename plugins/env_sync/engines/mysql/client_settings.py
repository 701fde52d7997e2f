"""What a transformation finds its session set to: the same for each, whatever the one before it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from env_sync.core.errors import TransformationFailed
from env_sync.engines.mysql.lexer import meaning
from env_sync.engines.mysql.session import Session

SETTINGS: Mapping[str, str] = {
    "sql_mode": "@@GLOBAL.sql_mode",
    "foreign_key_checks": "1",
    "unique_checks": "1",
    # Else an UPDATE without a key is refused, or a DELETE stops half-way.
    "sql_safe_updates": "0",
    "sql_select_limit": "DEFAULT",
    "autocommit": "1",
    "time_zone": "'+00:00'",
}
_READ = ("sql_mode", "foreign_key_checks", "unique_checks", "sql_safe_updates", "autocommit", "time_zone")
_READING = (*_READ, "character_set_client", "character_set_connection", "collation_connection")


@frozen(kw_only=True)
class Beginning:
    """As whom a session began, with which roles, and in which database."""

    account: str
    role: str
    database: str

    def __str__(self) -> str:
        role = f" with role {self.role}" if self.role not in ("", "NONE") else ""
        return f"{self.account}{role} in {self.database or 'no database'}"


def read_beginning(session: Session) -> Beginning:
    """As whom a session is at work now. Raises MySQLError."""
    has_roles = session.version.mariadb or session.version.mysql_from(8, 0)
    role = "COALESCE(CURRENT_ROLE(), 'NONE')" if has_roles else "'NONE'"
    # A server with lower_case_table_names says the database in lower case.
    [[account, roles, database]] = session.execute(f"SELECT CURRENT_USER(), {role}, COALESCE(DATABASE(), '')")
    return Beginning(account=str(account), role=str(roles), database=str(database))


def set_as_client(session: Session, began: Beginning, aftermath: str) -> None:
    """Set a session as a client would find it, and read that back.

    A proxy between may send statements of one session to several of the server. Raises TransformationFailed,
    which ends in `aftermath`, where the session is another than was asked for; MySQLError.
    """
    session.execute("SET NAMES utf8mb4")
    session.execute("SET SESSION " + ", ".join(f"{name} = {value}" for name, value in SETTINGS.items()))
    check_beginning(session, began, aftermath)
    wanted = ", ".join(f"@@SESSION.{name} = {SETTINGS[name]}" for name in _READ)
    [same] = session.execute(f"SELECT {wanted}, @@SESSION.character_set_client = 'utf8mb4'")
    other = [
        name for name, is_same in zip((*_READ, "character_set_client"), same, strict=True) if not is_same
    ]
    if other:
        raise TransformationFailed(
            f"A session on {session.where} is not what it was set to be ({', '.join(other)}): something "
            f"between here and the server does not keep a session together. {aftermath}; let the connection "
            "name the server itself."
        )


def check_beginning(session: Session, began: Beginning, aftermath: str) -> None:
    """Raises TransformationFailed where a session is at work as another, or elsewhere, than it began."""
    if (now := read_beginning(session)) != began:
        raise TransformationFailed(
            f"A session on {session.where} that began as {began} is {now}. {aftermath}; take what "
            "changes that out of the transformation, or let the connection name the server itself."
        )


def read_settings(session: Session) -> Mapping[str, str]:
    """What decides how the session's next statement is read and what it does. Raises MySQLError."""
    # The limit overrules the session's own.
    [row] = session.execute(f"SELECT {', '.join(f'@@SESSION.{name}' for name in _READING)} LIMIT 1")
    return {name: str(value) for name, value in zip(_READING, row, strict=True)}


def changed_settings(before: Mapping[str, str], now: Mapping[str, str], statement: str) -> Sequence[str]:
    """Those that are others than they were, and that this statement did not set: it is no SET of its own."""
    words = [one.text.upper() for one in meaning(statement.encode())[:2]]
    # SET STATEMENT ... FOR runs another, and sets nothing beyond that.
    if words[:1] == [b"SET"] and words != [b"SET", b"STATEMENT"]:
        return ()
    return [name for name, value in now.items() if value != before[name]]
