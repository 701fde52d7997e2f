"""A connection that cannot be read is called that, with its field, and never tells what stands in it."""

import json
from typing import Any

import pytest
from airflow.sdk import BaseHook, Connection

from env_sync.airflow.connections import monitor_login, server_connection, source_connection, store_connection
from env_sync.core.addresses import HIDDEN, address_of, host_of
from env_sync.core.errors import ConnectionMalformed
from env_sync.core.secret import Secret
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.postgresql.client import client_environment, connect, connection_error
from env_sync.store.dumps import S3Store
from tests.unit.values import a_sync

SERVER = "AIRFLOW_CONN_ENV_SYNC_INTEGRATION_SIGNON_POSTGRES"
STORE = "AIRFLOW_CONN_ENV_SYNC_INTEGRATION_S3"
P = "hunter2secret"
OURS = {"environment": "integration"}


def text(extra: object = OURS, **fields: object) -> str:
    known = {"conn_type": "postgres", "host": "h", "login": "u", "password": P}
    return json.dumps({**known, "extra": extra, **fields})


@pytest.mark.parametrize(
    ("said", "field"),
    [
        (f'{{"conn_type": "postgres", "password": "{P}", ', "all of it"),
        (f'["{P}"]', "all of it"),
        (P, "all of it"),
        (json.dumps({"conn_type": "postgres", P: "x"}), "all of it"),
        (text(port=f"54{P}"), "port"),
        (text(port=99_999_999), "port"),
        (text(port=-1), "port"),
        (text(host=5), "host"),
        (text(login=[P]), "login"),
        (text(password=[P]), "password"),
        (text(extra=f'{{"environment": "integration", "x": "{P}'), "extra"),
        (text(extra=f'["{P}"]'), "extra"),
        (text(extra=[P]), "extra"),
        (text(extra=f'"{P}"'), "extra"),
        (text(extra=P), "extra"),
        (text(host=f"https://u:{P}@h"), "host"),
        (text(host=f"u:{P}@h"), "host"),
        (text(host=f"h?password={P}"), "host"),
        (text(host=f"h {P}"), "host"),
        (text(host=f"h\x00{P}"), "host"),
        (f"postgresql://user:{P}/x@host:5432/db?environment=integration", "password"),
        (f"postgresql://user:4711/{P}@host:5432/db?environment=integration", "password"),
        (f"postgresql://user:4711#{P}@host:5432/db?environment=integration", "password"),
        (f"postgresql://user:4711?{P}@host:5432/db?environment=integration", "password"),
        (f"postgresql://user:[{P}@host:5432/db?environment=integration", "host"),
        (f"postgresql://user:p@host:{P}/db?environment=integration", "port"),
        (f"postgresql://user:p@host:123456{len(P)}/db?environment=integration", "port"),
    ],
)
def test_a_malformed_connection_is_called_that(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, said: str, field: str
) -> None:
    monkeypatch.setenv(SERVER, said)
    with pytest.raises(ConnectionMalformed) as malformed:
        server_connection(a_sync())
    told = str(malformed.value)
    assert "Connection env_sync_integration_signon_postgres " in told
    assert f"is malformed, {field}: " in told
    assert not malformed.value.passing
    for part in (P, "4711", "123456"):
        assert part not in f"{told}{malformed.value!r}{caplog.text}"
    assert malformed.value.__cause__ is None
    assert malformed.value.__suppress_context__ or malformed.value.__context__ is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"extra": f'{{"environment": "{P}'}, "extra"),
        ({"extra": f'["{P}"]'}, "extra"),
        ({"port": 99_999_999}, "port"),
        ({"host": f"https://u:{P}@h"}, "host"),
    ],
)
def test_so_is_one_in_airflows_own_database(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], field: str
) -> None:
    known = {"host": "h", "login": "u", "password": P, "extra": json.dumps(OURS)}

    def get(connection_id: str) -> Connection:
        return Connection(conn_id=connection_id, conn_type="postgres", **{**known, **fields})

    monkeypatch.setattr(BaseHook, "get_connection", get)
    with pytest.raises(ConnectionMalformed, match=rf"is malformed, {field}: ") as malformed:
        server_connection(a_sync())
    assert P not in str(malformed.value)


@pytest.mark.parametrize(
    "said",
    [
        text(),
        text(port=5432),
        text(port="5432"),
        text(port=None, description="its server"),
        text(extra=json.dumps(OURS), schema="s"),
        text(host="/var/run/postgresql"),
        text(host="mongo-1,mongo-2:27018"),
        text(host="fe80::1"),
        f"postgresql://user:{P}%2Fx%40%23@host:5432/db?environment=integration",
        f"postgresql://user:{P}@x@host:5432/db?environment=integration",
        "postgresql://host/db?environment=integration&mail=a%40b",
        "postgresql://host:5432/?environment=integration",
    ],
)
def test_a_good_one_is_not(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(SERVER, said)
    assert server_connection(a_sync()).environment == "integration"


@pytest.mark.parametrize(
    ("url", "field"),
    [
        (f"https://key:{P}@s3.example", "endpoint_url"),
        (f"https://key:4711/{P}@s3.example", "endpoint_url"),
        (f"https://s3.example?token={P}", "endpoint_url"),
        (f"https://s3.example#{P}", "endpoint_url"),
        (f"s3.example/{P}", "endpoint_url"),
        (f"https://s3.example:{P}", "endpoint_url"),
        (f"https://[{P}", "endpoint_url"),
        ([P], "endpoint_url"),
    ],
)
@pytest.mark.parametrize("of_service", [False, True])
def test_an_endpoint_that_holds_more_than_an_address(
    monkeypatch: pytest.MonkeyPatch, url: object, field: str, of_service: bool
) -> None:
    extra: dict[str, Any] = {"service_config": {"s3": {field: url}}} if of_service else {field: url}
    monkeypatch.setenv(STORE, text({**OURS, **extra}, conn_type="aws"))
    with pytest.raises(ConnectionMalformed) as malformed:
        store_connection("integration")
    told = str(malformed.value)
    where = f"service_config.s3.{field}" if of_service else field
    assert f"env_sync_integration_s3 is malformed, {where} in the extra: " in told
    for part in (P, "4711", "key"):
        assert part not in told.replace("the access key", "")


@pytest.mark.parametrize("extra", [{"endpoint_url": f"x://{P} {P}"}, {"region_name": f"eu {P}"}])
def test_what_botocore_cannot_use_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, object]
) -> None:
    monkeypatch.setenv(STORE, text({**OURS, **extra}, conn_type="aws"))
    with pytest.raises(ConnectionMalformed) as malformed:
        S3Store("env_sync_integration_s3")
    assert "endpoint_url or region_name in its extra cannot be used" in str(malformed.value)
    assert P not in str(malformed.value)


def test_the_connection_of_a_monitor_and_of_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MONITOR", f"{{{P}")
    with pytest.raises(ConnectionMalformed, match="Connection monitor "):
        monitor_login("monitor")
    assert source_connection(a_sync()) is None


def server(**extra: object) -> ServerConnection:
    return ServerConnection(
        connection_id="c",
        environment="integration",
        host="h",
        port=None,
        login="u",
        password=Secret(P),
        extra=extra,
    )


def test_a_mode_of_ssl_that_libpq_would_quote() -> None:
    for wrong in (P, "require password=" + P, ["require"]):
        for use in (lambda given: connect(given, "d"), lambda given: client_environment(given, "d")):
            with pytest.raises(
                ConnectionMalformed, match=r"Connection c is malformed, sslmode in the extra"
            ) as no:
                use(server(sslmode=wrong))
            assert P not in str(no.value)
    assert client_environment(server(sslmode="verify-full"), "d")["PGSSLMODE"] == "verify-full"


@pytest.mark.parametrize(
    "said",
    [
        f'invalid connection option "{P}"',
        f"FATAL: password authentication failed: {P}",
        f'could not translate host name "postgresql://u:{P[:4]}x@h" to address',
    ],
)
def test_what_libpq_says_is_told_without_the_password(said: str) -> None:
    told = str(connection_error(said, server(), "d"))
    assert P not in told
    assert f"{P[:4]}x" not in told
    assert "***" in told


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://h.example:8443/path?q#f", "https://h.example:8443"),
        (f"https://u:{P}@h.example/path", "https://h.example"),
        (f"https://u:{P}@x@h.example/path", "https://h.example"),
        (f"https://u:4711/{P}@h.example/", HIDDEN),
        (f"https://u:4711?{P}@h.example/", HIDDEN),
        (f"https://u:4711#{P}@h.example/", HIDDEN),
        (f"https://h:{P}/", HIDDEN),
        (f"https://[{P}/", HIDDEN),
        ("https://h.example/users/@me", "https://h.example"),
        (P, HIDDEN),
        ("", HIDDEN),
    ],
)
def test_where_a_url_leads_is_told_and_nothing_else_of_it(url: str, address: str) -> None:
    assert address_of(url) == address
    assert host_of(url) == address.removeprefix("https://")
