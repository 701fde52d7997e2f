"""S3 clients that are made once: making one takes a while, and each step would make its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import pytest
from airflow.sdk import Connection
from attrs import evolve, field, frozen

from env_sync.store import dumps as s3_store
from env_sync.store.retrying import Requests, Tuning

Make = Callable[[Connection | str, Tuning, logging.Logger], Requests]


@frozen
class KeptClients:
    """The clients of all tests of this process, by connection."""

    _make: Make
    _kept: dict[object, Requests] = field(factory=dict)

    def requests(self, connection: Connection | str, tuning: Tuning, log: logging.Logger) -> Requests:
        """What the store asks for."""
        if isinstance(connection, str):
            told = os.environ.get(f"AIRFLOW_CONN_{connection.upper()}")
        else:
            told = f"{connection.conn_id} {connection.get_uri()}"
        if told is None:
            return self._make(connection, tuning, log)
        key = (told, tuning)
        if key not in self._kept:
            self._kept[key] = self._make(connection, tuning, log)
        return evolve(self._kept[key], log=log)

    def forget_connections(self) -> None:
        """Close the connections; a client makes new ones."""
        for one in self._kept.values():
            one.client.close()


@pytest.fixture(scope="session")
def clients_of_session() -> KeptClients:
    """For `kept_clients`."""
    clients = KeptClients(s3_store._requests)
    # A process that was forked must not talk over its parent's connections.
    os.register_at_fork(after_in_child=clients.forget_connections)
    return clients


@pytest.fixture
def kept_clients(clients_of_session: KeptClients, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets stores use clients that are there already."""
    monkeypatch.setattr(s3_store, "_requests", clients_of_session.requests)
