"""How connections are looked up: handed in, for steps know of no Airflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from env_sync.domain.sync import Sync
from env_sync.engines.base.contract import ServerConnection

if TYPE_CHECKING:
    from airflow.sdk import Connection


@frozen(kw_only=True)
class Connections:
    """Gives connections, each after it has said of which environment it is.

    Each raises ConnectionMissing, ConnectionMalformed, WrongEnvironment, and AirflowUnreachable.
    """

    server: Callable[[Sync], ServerConnection]
    """Of the server that holds a sync's database."""
    source: Callable[[Sync], ServerConnection | None]
    """Of the cluster that a copy comes from; None for a sync that is no copy."""
    store: Callable[[str], Connection]
    """Of the buckets of the environment of this name, as the store takes it."""
