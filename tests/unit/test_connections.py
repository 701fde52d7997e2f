import json
from typing import Any

import pytest

from env_sync.airflow.connections import (
    server_connection,
    server_connection_ids,
    store_connection,
    store_connection_id,
)
from env_sync.core.errors import ConnectionMissing, WrongEnvironment
from tests.unit.values import a_sync

SYNC = a_sync(database="email-alert-api_production", database_hostname="email-alert-api-postgres")
OF_SERVER = "ENV_SYNC_INTEGRATION_EMAIL_ALERT_API_POSTGRES"
OF_DATABASE = f"{OF_SERVER}_EMAIL_ALERT_API_PRODUCTION"


def add(monkeypatch: pytest.MonkeyPatch, name: str, extra: Any, **fields: Any) -> None:
    text = extra if isinstance(extra, str) else json.dumps(extra)
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "postgres", "extra": text, **fields}))


def test_the_ids_that_are_looked_for() -> None:
    assert server_connection_ids(SYNC) == (
        "env_sync_integration_email_alert_api_postgres_email_alert_api_production",
        "env_sync_integration_email_alert_api_postgres",
    )
    assert server_connection_ids(a_sync(database_hostname=None)) == (
        "env_sync_integration_db_admin_signon",
        "env_sync_integration_db_admin",
    )
    assert server_connection_ids(a_sync(database="Ünïcode name", database_hostname="a.b"))[0] == (
        "env_sync_integration_a_b__n_code_name"
    )
    assert store_connection_id("eu-staging") == "env_sync_eu_staging_s3"


def test_the_database_comes_before_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, OF_SERVER, {"environment": "integration"}, host="server")
    assert server_connection(SYNC).host == "server"
    add(monkeypatch, OF_DATABASE, {"environment": "integration"}, host="own")
    assert server_connection(SYNC).host == "own"


def test_what_a_connection_gives_and_that_it_hides_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    add(
        monkeypatch,
        OF_SERVER,
        {"environment": "integration", "sslmode": "require"},
        host="server",
        port=5433,
        login="env_sync",
        password="hunter2",
    )
    found = server_connection(SYNC)
    assert (found.connection_id, found.environment) == (OF_SERVER.lower(), "integration")
    assert (found.host, found.port, found.login) == ("server", 5433, "env_sync")
    assert found.password.reveal() == "hunter2"
    assert found.extra == {"environment": "integration", "sslmode": "require"}
    assert "hunter2" not in f"{found} {found!r} {found.password}"


def test_none_at_all_says_which_to_add() -> None:
    with pytest.raises(ConnectionMissing) as missing:
        server_connection(SYNC)
    for name in server_connection_ids(SYNC):
        assert name in str(missing.value)
    with pytest.raises(ConnectionMissing, match="env_sync_integration_s3"):
        store_connection("integration")


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"environment": "production"},
        {"environment": "Integration"},
        {"environment": ["integration"]},
        {"environment": ""},
        {"environment": None},
        "",
    ],
)
def test_a_connection_that_does_not_say_this_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, extra: Any
) -> None:
    add(monkeypatch, OF_SERVER, extra)
    with pytest.raises(WrongEnvironment, match='"environment": "integration"'):
        server_connection(SYNC)
    add(monkeypatch, "ENV_SYNC_INTEGRATION_S3", extra)
    with pytest.raises(WrongEnvironment, match="Nothing was touched"):
        store_connection("integration")


def test_the_wrong_one_is_not_passed_over_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, OF_DATABASE, {"environment": "production"})
    add(monkeypatch, OF_SERVER, {"environment": "integration"})
    with pytest.raises(WrongEnvironment, match="says that it belongs to production"):
        server_connection(SYNC)


def test_the_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "ENV_SYNC_INTEGRATION_S3", {"environment": "integration", "endpoint_url": "http://s3"})
    found = store_connection("integration")
    assert found.conn_id == "env_sync_integration_s3"
    assert found.extra_dejson["endpoint_url"] == "http://s3"
