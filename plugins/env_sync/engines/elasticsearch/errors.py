"""What the client and the server say when something fails, without any value of a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elastic_transport import (
    ConnectionError as NoConnection,
)
from elastic_transport import ConnectionTimeout, TlsError, TransportError
from elasticsearch import ApiError

from env_sync.core.errors import (
    AccessRefused,
    EnvSyncError,
    NoRoom,
    NoSuchRepository,
    RequestRefused,
    ServerUnreachable,
    WriteBlocked,
)

PASSING = frozenset({429, 502, 503, 504})
"""Statuses that say nothing about what was asked for."""
QUIET = frozenset(
    [
        "action_request_validation_exception",
        "aliases_not_found_exception",
        "cluster_block_exception",
        "concurrent_snapshot_execution_exception",
        "index_closed_exception",
        "index_not_found_exception",
        "invalid_alias_name_exception",
        "invalid_index_name_exception",
        "invalid_snapshot_name_exception",
        "repository_exception",
        "repository_missing_exception",
        "repository_verification_exception",
        "resource_already_exists_exception",
        "resource_not_found_exception",
        "security_exception",
        "snapshot_exception",
        "snapshot_missing_exception",
        "snapshot_restore_exception",
        "validation_exception",
    ]
)
"""Kinds of errors whose text speaks of indices, snapshots and accounts; others may quote a document."""


def describe_api_error(status: int, body: object) -> str:
    """An error of the server in words: its kind, its status, and its text where that quotes no document."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return f"HTTP status {status}"
    kind, reason = str(error.get("type")), str(error.get("reason") or "")
    said = f": {reason}" if kind in QUIET and reason else "; its text is withheld, for it may quote documents"
    return f"{kind} ({status}){said}"


def kind_of(body: object) -> str:
    """The kind of an error, e.g. `index_not_found_exception`; "" where the answer has none."""
    error = body.get("error") if isinstance(body, Mapping) else None
    return str(error.get("type")) if isinstance(error, Mapping) else ""


def translated(error: Exception, what: str, connection_id: str) -> EnvSyncError:
    """An error of the client as one of ours; `what` says what was asked of which cluster."""
    if isinstance(error, ApiError):
        return _of_status(error.meta.status, error.body, what, connection_id)
    if isinstance(error, TlsError):
        return AccessRefused(
            f"{what}: its certificate cannot be verified. Look at `scheme` and `ca_certs` in the extra of "
            f"connection {connection_id}."
        )
    if isinstance(error, ConnectionTimeout):
        return ServerUnreachable(f"{what}: no answer in time. Look whether the cluster is overloaded.")
    if isinstance(error, NoConnection):
        return ServerUnreachable(
            f"{what}: it cannot be reached. Look at the host and port of connection {connection_id}, and "
            "whether the cluster is up."
        )
    if isinstance(error, TransportError):
        return ServerUnreachable(
            f"{what}: the answer is no answer of Elasticsearch ({type(error).__name__})."
        )
    return EnvSyncError(f"{what} failed: {type(error).__name__}")


def _of_status(status: int, body: Any, what: str, connection_id: str) -> EnvSyncError:
    said = describe_api_error(status, body)
    kind = kind_of(body)
    if status in (401, 403) and kind != "cluster_block_exception":
        return AccessRefused(
            f"{what}: access was refused ({said}). Look at the login and the password of connection "
            f"{connection_id}, and at the privileges of its role (docs/elasticsearch.md)."
        )
    if kind == "cluster_block_exception":
        if "flood" in said or "disk usage" in said or "read-only-allow-delete" in said:
            return NoRoom(
                f"{what}: a disk of the cluster is above its flood-stage watermark, so that indices are "
                f"read-only ({said}). Make room on its disks, then run the group again."
            )
        return WriteBlocked(
            f"{what}: the cluster or the index is read-only ({said}). Remove the block, then run the group "
            "again."
        )
    if kind == "repository_missing_exception":
        return NoSuchRepository(
            f"{what}: the snapshot repository is not registered there ({said}). Register it under just that "
            "name, read-only on every cluster but one."
        )
    if status in PASSING:
        return ServerUnreachable(f"{what}: {said}. The cluster is busy or starting.")
    return RequestRefused(f"{what}: {said}.", status=status, kind=kind)
