from __future__ import annotations

import pytest

from env_sync.core.errors import AccessRefused
from env_sync.core.secret import Secret
from env_sync.engines.base.contract import ServerConnection
from env_sync.engines.postgresql import client

CONNECTION = ServerConnection(
    connection_id="env_sync_integration_db_admin",
    environment="integration",
    host="db",
    port=6432,
    login="env_sync",
    password=Secret("secret"),
    extra={},
)


@pytest.mark.parametrize(
    "said",
    [
        "unsupported startup parameter: options",
        "unsupported startup parameter in options: role",
        "Feature not supported: RDS Proxy currently doesn't support command-line options.",
    ],
)
def test_a_pooler_that_refuses_settings_is_called_one(said: str) -> None:
    line = f'connection to server at "db", port 6432 failed: FATAL:  {said}'
    error = client.tool_connection_error(f"pg_dump: error: {line}", CONNECTION, "app")
    assert type(error) is AccessRefused
    assert "as poolers do. Give host and port of the server itself" in str(error)
    assert "connection env_sync_integration_db_admin" in str(error)


def test_a_space_or_a_backslash_ends_no_setting() -> None:
    options = client.startup_options("-c work_mem=64MB")
    assert r"-c default_transaction_isolation=read\ committed " in options
    assert options.endswith(" -c work_mem=64MB")
    assert options.startswith("-c role=none -c ")
