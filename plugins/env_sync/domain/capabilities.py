"""What each engine can do, as data: read when a plan is made, without importing the engine."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from env_sync.domain.sync import Action


@frozen(kw_only=True)
class Capabilities:
    """What one engine offers; a sync that asks for more is a problem of the configuration."""

    actions: frozenset[Action]
    storagebackends: frozenset[str]
    transformation: bool
    """Runs a transformation on incoming."""
    postprocess: bool
    """Runs a postprocess on incoming, as far as its rule is for the engine."""
    pre_dump_transformation: bool
    """Runs a transformation before a dump, on a copy or in place."""
    excluded_tables: bool
    previous: bool
    """Keeps what live was as previous, and can make it live again."""


_SQL = Capabilities(
    actions=frozenset({Action.PUSH, Action.PULL}),
    storagebackends=frozenset({"s3"}),
    transformation=True,
    postprocess=True,
    pre_dump_transformation=True,
    excluded_tables=True,
    previous=True,
)
_MONGO = Capabilities(
    actions=frozenset({Action.PUSH, Action.PULL}),
    storagebackends=frozenset({"s3"}),
    transformation=True,
    postprocess=True,
    pre_dump_transformation=False,
    excluded_tables=True,
    previous=False,
)

CAPABILITIES: Mapping[str, Capabilities] = {
    "postgresql": _SQL,
    "mysql": _SQL,
    "mongo": _MONGO,
    "documentdb": _MONGO,
    "elasticsearch": Capabilities(
        actions=frozenset({Action.PUSH, Action.PULL, Action.COPY}),
        storagebackends=frozenset({"elasticsearch"}),
        transformation=True,
        postprocess=False,
        pre_dump_transformation=False,
        excluded_tables=False,
        previous=False,
    ),
    "files": Capabilities(
        actions=frozenset({Action.PUSH, Action.PULL}),
        storagebackends=frozenset({"s3"}),
        transformation=False,
        postprocess=False,
        pre_dump_transformation=False,
        excluded_tables=True,
        previous=True,
    ),
}
