"""What an engine can do, as data: read when a plan is made, without importing the engine."""

from __future__ import annotations

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
    indices: bool = False
    """Its database is a cluster, of whose indices a sync names some; else a push may leave out tables."""
