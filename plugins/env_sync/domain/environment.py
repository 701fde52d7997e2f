"""What was read of one environment: its settings, its syncs, its problems."""

from __future__ import annotations

from attrs import frozen

from env_sync.domain.problem import Problem
from env_sync.domain.settings import Settings
from env_sync.domain.sync import BucketSync, Sync


@frozen(kw_only=True)
class Environment:
    """One environment as configured; `syncs` hold every good one, absent ones included."""

    name: str
    settings: Settings
    syncs: tuple[Sync, ...]
    bucket_syncs: tuple[BucketSync, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()
    """What is worth a look, and takes nothing away."""
