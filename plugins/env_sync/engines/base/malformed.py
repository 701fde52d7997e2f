"""The error for a connection that cannot be what it is meant to be: in which field, without the value."""

from __future__ import annotations

from env_sync.core.errors import ConnectionMalformed


def malformed(connection: str, field: str, what: str) -> ConnectionMalformed:
    """The error; `what` says what is wrong with the field, and quotes nothing of it."""
    return ConnectionMalformed(
        f"Connection {connection} is malformed, {field}: {what}. Its value is not shown. Nothing was touched."
    )


def wrong_setting(connection_id: str, field: str, values: tuple[str, ...]) -> ConnectionMalformed:
    """The error for a setting in the extra that has none of these values."""
    return malformed(connection_id, f"{field} in the extra", f"it is none of {', '.join(values)}")
