"""Airflow connections of Env Sync: which ids are looked for, and whose environment they say they are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from airflow.sdk import Connection

from env_sync.airflow.lookup import find_connection
from env_sync.airflow.malformed_connections import check_endpoint, check_host
from env_sync.core.errors import ConnectionMissing, WrongEnvironment
from env_sync.core.secret import Login, Secret
from env_sync.domain.sync import Action, Sync
from env_sync.engines.base.contract import ServerConnection
from env_sync.pipeline.connections import Connections


def server_connection_ids(sync: Sync) -> tuple[str, ...]:
    """The ids that are looked for, in order, for the server that holds a sync's database."""
    host = f"env_sync_{sync.environment}_{sync.server}"
    return tuple(_id(name) for name in (f"{host}_{sync.database}", host))


def source_connection_ids(sync: Sync) -> tuple[str, ...]:
    """The same for the cluster that a copy comes from."""
    return (_id(f"env_sync_{sync.environment}_{sync.source_hostname}"),)


def store_connection_id(environment: str) -> str:
    """The id of the connection for an environment's buckets."""
    return _id(f"env_sync_{environment}_s3")


def server_connection(sync: Sync) -> ServerConnection:
    """The connection for a sync's database server, after it has said that it is this environment's.

    Raises ConnectionMissing with the ids to add, ConnectionMalformed, WrongEnvironment with what to add to
    its extra, and AirflowUnreachable.
    """
    connection = _first(server_connection_ids(sync), what=f"the database server of {sync.name}")
    _check_environment(connection, sync.environment, purpose=f"{sync.action} {sync.name}")
    return _server(connection, sync.environment)


def source_connection(sync: Sync) -> ServerConnection | None:
    """The connection for the cluster that a copy comes from, which may be of any environment but must say so.

    None for a sync that is no copy. Raises the same errors.
    """
    if sync.action is not Action.COPY:
        return None
    connection = _first(source_connection_ids(sync), what=f"the source of {sync.name}")
    extra: object = connection.extra_dejson
    said = extra.get("environment") if isinstance(extra, dict) else None
    if not isinstance(said, str) or not said:
        raise WrongEnvironment(
            f"Connection {connection.conn_id} does not say to which environment the cluster belongs: add "
            '{"environment": "<its environment>"} to its extra. Nothing was touched.'
        )
    return _server(connection, said)


def _server(connection: Connection, environment: str) -> ServerConnection:
    check_host(connection)
    return ServerConnection(
        connection_id=connection.conn_id,
        environment=environment,
        host=connection.host or "",
        port=connection.port,
        login=connection.login or "",
        password=Secret(connection.password or ""),
        extra=connection.extra_dejson,
    )


def store_connection(environment: str) -> Connection:
    """The connection for an environment's buckets, after the same check. Raises the same errors."""
    connection = _first((store_connection_id(environment),), what=f"the buckets of {environment}")
    check_endpoint(connection)
    _check_environment(connection, environment, purpose="transfer dumps")
    return connection


CONNECTIONS = Connections(server=server_connection, source=source_connection, store=store_connection)
"""Airflow's, for steps."""


def monitor_login(connection_id: str) -> Login:
    """The login of a monitor. Raises ConnectionMissing, AirflowUnreachable."""
    connection = find_connection(connection_id)
    if connection is None:
        raise ConnectionMissing(
            f"Airflow has no connection {connection_id}, which a monitor names: add it under Admin, "
            "Connections, with the monitor's login and password."
        )
    return Login(connection.login or "", Secret(connection.password or ""))


def _first(ids: Sequence[str], what: str) -> Connection:
    for connection_id in ids:
        if (found := find_connection(connection_id)) is not None:
            return found
    raise ConnectionMissing(
        f"Airflow has no connection for {what}: add {' or '.join(ids)} under Admin, Connections, "
        'with {"environment": "<its environment>"} in its extra. Nothing was touched.'
    )


def _check_environment(connection: Connection, environment: str, purpose: str) -> None:
    # Whoever wrote the extra by hand may have written a list or a word; Airflow takes that.
    extra: object = connection.extra_dejson
    said = extra.get("environment") if isinstance(extra, dict) else None
    if said == environment:
        return
    says = f"says that it belongs to {said}" if said else "does not say to which environment it belongs"
    raise WrongEnvironment(
        f"Connection {connection.conn_id} {says}, so it is not used to {purpose} in {environment}. If it is "
        f'{environment}\'s, add {{"environment": "{environment}"}} to its extra. Nothing was touched.'
    )


def _id(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)
