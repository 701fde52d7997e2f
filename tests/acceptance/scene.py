"""The scene of the acceptance tests: production pushes, integration pulls by hand, nightly by the clock."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from attrs import frozen

from sandbox.airflow import Airflow
from sandbox.airflow_api import AirflowApi
from sandbox.monitor import Monitor
from sandbox.postgresql import PostgreSQLServer
from sandbox.s3 import MotoS3

BUCKET = "govuk-production-database-backups"
DATABASES = ("shop", "library", "museum", "archive", "gallery")
APPLICATION = "application"
PASSWORD = "only-for-tests-1"
PEOPLE = 500

TRANSFORMATIONS: Mapping[str, str] = {
    "anonymise.sql": "UPDATE people SET email = 'person-' || id || '@example.com';",
    "fails.sql": "UPDATE people SET email = 'x'; ALTER TABLE people ADD UNIQUE (email);",
    "lingers.sql": "UPDATE people SET email = 'person-' || id || '@example.com'; SELECT pg_sleep(70);",
    "slow.sql": "UPDATE people SET email = 'person-' || id || '@example.com'; SELECT pg_sleep(120);",
}


def _sync(name: str, **fields: object) -> str:
    lines = [f"  {name}:"] + [f"    {field}: {json.dumps(value)}" for field, value in fields.items()]
    return "\n".join(lines)


def _pull(name: str, database: str, transformation: str, **fields: object) -> str:
    values: dict[str, object] = {
        "hour": 1,
        "minute": 0,
        "action": "pull",
        "dbms": "postgresql",
        "storagebackend": "s3",
        "database": database,
        "database_hostname": "databases",
        "url": BUCKET,
        "path": "databases",
        "transformation_sql_filename": transformation,
    }
    return _sync(name, **{**values, **fields})


def _push(name: str, database: str) -> str:
    return _sync(
        name,
        hour=23,
        minute=0,
        action="push",
        dbms="postgresql",
        storagebackend="s3",
        database=database,
        database_hostname="databases",
        url=BUCKET,
        path="databases",
    )


MONITOR_CONNECTION = "icinga_api"
MONITOR_USER = "env-sync"


def monitored(*urls: str) -> str:
    """The setting that has the monitors at these addresses told of everything."""
    fields = f"kind: icinga, connection: {MONITOR_CONNECTION}, host: databases"
    return "\n".join(
        ["govuk_env_sync::monitors:", *(f"  - {{{fields}, url: {json.dumps(url)}}}" for url in urls)]
    )


INTEGRATION = "\n".join(
    [
        "govuk_env_sync::retries: 0",
        "govuk_env_sync::tasks:",
        _pull("pull_shop", "shop", "anonymise.sql"),
        _pull("pull_library_badly", "library", "fails.sql"),
        _pull("pull_museum_slowly", "museum", "slow.sql"),
        _pull("pull_archive", "archive", "anonymise.sql", ensure="disabled"),
        _pull("pull_gallery", "gallery", "anonymise.sql"),
    ]
)

PRODUCTION = "\n".join(
    [
        # One more than fit in would wait a minute before it looks again.
        f"govuk_env_sync::pool_size: {len(DATABASES)}",
        "govuk_env_sync::tasks:",
        *(_push(f"push_{database}", database) for database in DATABASES),
    ]
)


def nightly(opens: dt.datetime, replay: str) -> str:
    """An environment whose window opens at a moment (UTC), with a sync due at once, later, and too late.

    The dumps that are there when it opens are older: one more sync waits for tonight's. `replay`
    is the address of who is told when data is replaced.
    """

    def at(minutes: int) -> dict[str, object]:
        moment = opens + dt.timedelta(minutes=minutes)
        return {"hour": moment.hour, "minute": moment.minute}

    closes = opens + dt.timedelta(hours=6)
    return "\n".join(
        [
            f'govuk_env_sync::window: "{opens:%H:%M}-{closes:%H:%M}"',
            "govuk_env_sync::retries: 2",
            f"govuk_env_sync::before_replacing: {replay}/pause",
            f"govuk_env_sync::after_replacing: {replay}/go-on",
            "govuk_env_sync::tasks:",
            _pull("pull_shop", "shop", "anonymise.sql", database_hostname="nightly", **at(0)),
            # For this one no dump of tonight will be there in time.
            _pull(
                "pull_shop_again",
                "shop",
                "anonymise.sql",
                database_hostname="nightly",
                wait_for_dump="1m",
                wait_for_dump_then="fail",
                **at(1),
            ),
            _pull("pull_library", "library", "anonymise.sql", database_hostname="nightly", **at(30)),
            _pull("pull_archive", "archive", "lingers.sql", database_hostname="nightly", **at(0)),
            # It can only start when that one is done, which takes longer than its deadline.
            _pull(
                "pull_museum",
                "museum",
                "anonymise.sql",
                database_hostname="nightly",
                start_deadline="1m",
                after="pull_archive",
                **at(0),
            ),
            _pull(
                "pull_gallery",
                "gallery",
                "anonymise.sql",
                database_hostname="nightly",
                wait_for_dump="1h",
                **at(0),
            ),
            _sync("pull_nowhere", hour=25, minute=0, action="pull"),
        ]
    )


@frozen
class Scene:
    """The servers, and the way into Airflow."""

    airflow: Airflow
    api: AirflowApi
    viewer: AirflowApi
    targets: Mapping[str, PostgreSQLServer]
    s3: MotoS3
    hieradata: Path
    monitor: Monitor
    """It is told how each sync of integration went."""
    other_monitor: Monitor
    """So is this one."""
    replay: Monitor
    """It is told when data of nightly is replaced."""

    def emails(self, environment: str, database: str) -> set[str]:
        """The email addresses that live holds."""
        rows = self.targets[environment].execute("SELECT email FROM people", database=database)
        return {email for (email,) in rows}

    def sanitised(self, environment: str, database: str) -> bool:
        """Whether live holds the whole of production's rows, and not one of its addresses."""
        emails = self.emails(environment, database)
        return len(emails) == PEOPLE and all(email.startswith("person-") for email in emails)

    def trigger(self, environment: str, **conf: object) -> str:
        """Start a run by hand; gives its id."""
        return self.api.trigger(f"env_sync_{environment}", conf=conf).id

    def finish(self, environment: str, run: str, state: str = "success") -> None:
        """Wait until the run is over in this state."""
        over = self.api.wait_for_run(f"env_sync_{environment}", run, seconds=240)
        assert over.state == state, self.api.states(f"env_sync_{environment}", run)

    def report(self, environment: str, run: str, group: str) -> dict[str, Any]:
        """The report of a group."""
        report = self.api.xcom(f"env_sync_{environment}", run, f"{group}.report")
        assert isinstance(report, dict)
        return report

    def leftovers(self, environment: str) -> set[str]:
        """Incoming copies that stand on the environment's server."""
        return {name for name in self.targets[environment].databases() if name.endswith("__incoming")}


def prepare(server: PostgreSQLServer, databases: tuple[str, ...], address: str) -> None:
    if APPLICATION not in server.roles():
        server.create_role(APPLICATION, PASSWORD)
        server.create_sync_role(PASSWORD, member_of=[APPLICATION])
    for database in databases:
        server.create_database(database, APPLICATION)
        with server.connect(database, APPLICATION, PASSWORD) as connection:
            connection.execute("CREATE TABLE people (id integer PRIMARY KEY, email text NOT NULL)")
            connection.execute(
                "INSERT INTO people SELECT n, %s || n || '@personal.test' FROM generate_series(1, %s) n",
                [address, PEOPLE],
            )
            connection.commit()


def running_transformation(scene: Scene) -> bool:
    """Whether the slow transformation of museum is at work."""
    rows = scene.targets["integration"].execute(
        "SELECT 1 FROM pg_stat_activity WHERE datname = 'museum__incoming' AND wait_event = 'PgSleep'"
    )
    return bool(rows)


def task_at_work(scene: Scene) -> psutil.Process:
    """The process whose connection runs the transformation."""
    rows = scene.targets["integration"].execute(
        "SELECT client_port FROM pg_stat_activity "
        "WHERE datname = 'museum__incoming' AND wait_event = 'PgSleep'"
    )
    ((port,),) = rows
    for connection in psutil.net_connections("tcp4"):
        if connection.laddr and connection.laddr.port == port and connection.pid:
            return psutil.Process(connection.pid)
    raise AssertionError(f"nobody holds port {port}")
