"""What the driver and the server say when something fails, without any value of a document."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from bson.errors import BSONError
from pymongo import errors

from env_sync.core.errors import AccessRefused, EnvSyncError, ServerUnreachable
from env_sync.core.shown_names import shown_name

NAMES: Mapping[int, str] = {
    2: "BadValue",
    9: "FailedToParse",
    13: "Unauthorized",
    14: "TypeMismatch",
    18: "AuthenticationFailed",
    26: "NamespaceNotFound",
    28: "PathNotViable",
    40: "ConflictingUpdateOperators",
    48: "NamespaceExists",
    66: "ImmutableField",
    67: "CannotCreateIndex",
    121: "DocumentValidationFailure",
    10334: "BSONObjectTooLarge",
    11000: "DuplicateKey",
}
"""Names of the codes that matter here, where the server gives only the number."""
REFUSED = (13, 18, 8000)
AWAY = (11600, 11602, 91, 189, 10107, 13435, 13436)
"""Codes of a server that stops, or that is no primary any more."""
GONE = (
    errors.AutoReconnect,
    errors.ServerSelectionTimeoutError,
    errors.NetworkTimeout,
    errors.WaitQueueTimeoutError,
)
NO_SUCH = 26
ALREADY_THERE = 48


def describe(error: BaseException) -> str:
    """What happened by its code alone: the text of a server's error quotes documents."""
    if isinstance(error, errors.BulkWriteError):
        written = (error.details or {}).get("writeErrors") or [{}]
        return describe_reply(written[0])
    if isinstance(error, errors.OperationFailure):
        return describe_reply({"code": error.code, **(error.details or {})})
    return type(error).__name__


def describe_reply(reply: Mapping[str, Any]) -> str:
    """The same for an error in a reply: its name and code, and the fields of an index that was violated."""
    code = reply.get("code")
    said = reply.get("codeName")
    # The name comes from a list of the server's; whatever else stands there is not told.
    name = (
        said
        if isinstance(said, str) and re.fullmatch(r"[A-Za-z0-9]{1,60}", said)
        else NAMES.get(code or 0, "")
    )
    pattern = reply.get("keyPattern")
    keys = ", ".join(shown_name(str(key)) for key in pattern) if isinstance(pattern, Mapping) else ""
    fields = f" on index key {keys}" if keys else ""
    return f"{name or 'an error'}{f' ({code})' if code is not None else ''}{fields}"


def is_gone(error: BaseException) -> bool:
    """Whether the server went away, rather than refused."""
    return isinstance(error, GONE) or (isinstance(error, errors.OperationFailure) and error.code in AWAY)


@contextlib.contextmanager
def plain_errors(
    what: str, login: str, otherwise: type[EnvSyncError] = EnvSyncError, advice: str = ""
) -> Iterator[None]:
    """Raise the driver's errors as ours; `what` says what was being done, with the server's host and port."""
    try:
        yield
    except (errors.PyMongoError, BSONError) as error:
        said = describe(error)
        if is_gone(error):
            raise ServerUnreachable(
                f"{what}: the server does not answer, went away, or has no primary ({said}). Run the group "
                "again when it is back."
            ) from None
        if isinstance(error, errors.OperationFailure) and error.code in REFUSED:
            raise AccessRefused(
                f"{what}: the server refused {login or 'a client without a login'} ({said}). Look at the "
                "login, the password and `auth_source` of the connection, and at the user's roles "
                "(docs/mongodb.md)."
            ) from None
        if isinstance(error, errors.ConfigurationError):
            raise AccessRefused(
                f"{what}: the connection's settings cannot be used ({said}). Correct the connection's extra."
            ) from None
        raise otherwise(f"{what} failed: {said}.{f' {advice}' if advice else ''}") from None
