"""The scene of the acceptance tests: production pushes, others pull by hand, nightly by the clock."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from attrs import field, frozen

from sandbox.airflow import Airflow
from sandbox.airflow_api import AirflowApi
from sandbox.monitor import Monitor
from sandbox.postgresql import PostgreSQLServer
from sandbox.s3 import MotoS3
from tests.acceptance.lanes import Once

BUCKET = "govuk-production-database-backups"
APPLICATION = "application"
PASSWORD = "only-for-tests-1"
PEOPLE = 500

REPOSITORY = "search-snapshots"
"""Of snapshots of a cluster."""

MONITOR_CONNECTION = "icinga_api"
MONITOR_USER = "env-sync"

HOLD = "hold_"
"""While there is a role of this name and a database's, its slow transformation waits."""


def _waits(database: str) -> str:
    """SQL that waits while the database's transformation is held, seen from whatever database it runs in."""
    held = f"EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{HOLD}{database}')"
    return f"DO $$ BEGIN WHILE {held} LOOP PERFORM pg_catalog.pg_sleep(0.2); END LOOP; END $$;"


SLOW = ("museum", "stadium", "archive")
"""The databases that have a transformation that can be held."""
ANONYMISE = "UPDATE people SET email = 'person-' || id || '@example.com';"
TRANSFORMATIONS: Mapping[str, str] = {
    "anonymise.sql": ANONYMISE,
    "fails.sql": "UPDATE people SET email = 'x'; ALTER TABLE people ADD UNIQUE (email);",
    **{f"slow_{database}.sql": f"{ANONYMISE} {_waits(database)}" for database in SLOW},
}


def _sync(name: str, **fields: object) -> str:
    lines = [f"  {name}:"] + [f"    {field}: {json.dumps(value)}" for field, value in fields.items()]
    return "\n".join(lines)


def _pull(name: str, database: str, transformation: str = "anonymise.sql", **fields: object) -> str:
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


BY_HAND: Mapping[str, Sequence[str]] = {
    # The board's own tests: no run but theirs is seen there.
    "integration": (
        _pull("pull_shop", "shop"),
        _pull("pull_museum_slowly", "museum", "slow_museum.sql"),
        _pull("pull_archive", "archive", ensure="disabled"),
        _pull("pull_gallery", "gallery"),
    ),
    "staging": (
        _pull("pull_theatre", "theatre"),
        _pull("pull_library_badly", "library", "fails.sql"),
        _pull("pull_cinema", "cinema", ensure="disabled"),
    ),
    "training": (
        _pull("pull_stadium_slowly", "stadium", "slow_stadium.sql"),
        _pull("pull_harbour", "harbour"),
        _pull("pull_orchard", "orchard"),
        _pull("pull_cellar", "cellar"),
    ),
    # Here the monitors fail.
    "rehearsal": (_pull("pull_workshop", "workshop"),),
    # Its connection is made by its test.
    "clusters": (
        _sync(
            "push_search",
            ensure="disabled",
            hour=1,
            minute=0,
            action="push",
            dbms="elasticsearch",
            storagebackend="elasticsearch",
            database="search",
            url=REPOSITORY,
        ),
    ),
}
"""Environments whose window does not open while the tests run, and their syncs."""
DATABASES = (
    "shop", "library", "museum", "archive", "gallery", "theatre", "cinema", "stadium", "harbour", "orchard",
    "cellar", "workshop",
)  # fmt: skip
"""All that production pushes."""
NIGHTLY = ("shop", "library", "museum", "archive", "gallery")


def monitored(monitors: Sequence[Monitor]) -> str:
    """The setting that has these monitors told of everything."""
    fields = f"kind: icinga, connection: {MONITOR_CONNECTION}, host: databases"
    lines = (f"  - {{{fields}, url: {json.dumps(monitor.url)}}}" for monitor in monitors)
    return "\n".join(["govuk_env_sync::monitors:", *lines])


def environment(syncs: Sequence[str], *settings: str, now: dt.datetime) -> str:
    """The hieradata of an environment whose window is far away at `now`, whatever the hour is.

    None of its syncs has to wait for another that uses the same server.
    """
    opens, closes = now + dt.timedelta(hours=12), now + dt.timedelta(hours=13)
    return "\n".join(
        [
            f'govuk_env_sync::window: "{opens:%H:%M}-{closes:%H:%M}"',
            "govuk_env_sync::pool_size: 32",
            "govuk_env_sync::retries: 0",
            *settings,
            "govuk_env_sync::tasks:",
            *syncs,
        ]
    )


def production(now: dt.datetime) -> str:
    """The hieradata of production, which pushes all databases."""
    return environment([_push(f"push_{database}", database) for database in DATABASES], now=now)


def nightly(opens: dt.datetime, replay: str) -> str:
    """An environment whose window opens at a moment (UTC), with a sync due at once, later, and too late.

    The dumps that are there when it opens are older: one more sync waits for tonight's. `replay`
    is the address of who is told when data is replaced.
    """

    def pull(
        name: str, database: str, minutes: int, transformation: str = "anonymise.sql", **fields: object
    ) -> str:
        due = opens + dt.timedelta(minutes=minutes)
        more = {"hour": due.hour, "minute": due.minute, "database_hostname": "nightly", **fields}
        return _pull(name, database, transformation, **more)

    closes = opens + dt.timedelta(hours=6)
    return "\n".join(
        [
            f'govuk_env_sync::window: "{opens:%H:%M}-{closes:%H:%M}"',
            "govuk_env_sync::pool_size: 32",
            "govuk_env_sync::retries: 2",
            f"govuk_env_sync::before_replacing: {replay}/pause",
            f"govuk_env_sync::after_replacing: {replay}/go-on",
            "govuk_env_sync::tasks:",
            pull("pull_shop", "shop", 0),
            # For this one no dump of tonight will be there in time.
            pull("pull_shop_again", "shop", 1, wait_for_dump="1m", wait_for_dump_then="fail"),
            pull("pull_library", "library", 30),
            pull("pull_archive", "archive", 0, transformation="slow_archive.sql"),
            # It can only start when that one is done, which is held for longer than its deadline.
            pull("pull_museum", "museum", 0, start_deadline="1m", after="pull_archive"),
            pull("pull_gallery", "gallery", 0, wait_for_dump="1h"),
            _sync("pull_nowhere", hour=25, minute=0, action="pull"),
        ]
    )


@frozen(kw_only=True)
class Scene:
    """The servers, and the way into Airflow."""

    airflow: Airflow
    api: AirflowApi
    viewer: AirflowApi
    servers: Mapping[str, PostgreSQLServer]
    """The server of each environment."""
    s3: MotoS3
    hieradata: Path
    monitors: Sequence[Monitor]
    """They are told how each sync of staging and training went."""
    failing_monitors: Sequence[Monitor]
    """They are told how those of rehearsal went, and may fail."""
    replay: Monitor
    """It is told when data of nightly is replaced."""
    once: Once = field(factory=Once)

    def emails(self, environment: str, database: str) -> set[str]:
        """The email addresses that live holds."""
        rows = self.servers[environment].execute("SELECT email FROM people", database=database)
        return {email for (email,) in rows}

    def untouched(self, environment: str, database: str) -> bool:
        """Whether live holds what it held before the first pull."""
        return self.emails(environment, database) == {f"old-{n}@personal.test" for n in range(1, PEOPLE + 1)}

    def sanitised(self, environment: str, database: str) -> bool:
        """Whether live holds the whole of production's rows, and not one of its addresses."""
        emails = self.emails(environment, database)
        return len(emails) == PEOPLE and all(email.startswith("person-") for email in emails)

    def switch_on(self, environment: str, **conf: object) -> str:
        """Switch on the DAG of an environment whose window is closed, with a first run; gives its id.

        That run takes the place of the one that the schedule would start for the last opening.
        """
        dag_id = f"env_sync_{environment}"
        dag = self.api.wait_for_dag(dag_id)
        opening = dt.datetime.fromisoformat(dag["next_dagrun_logical_date"])
        run = self.api.trigger(dag_id, conf=conf, logical_date=opening)
        self.api.unpause_dag(dag_id)
        return run.id

    def trigger(self, environment: str, **conf: object) -> str:
        """Start a run by hand; gives its id."""
        return self.api.trigger(f"env_sync_{environment}", conf=conf).id

    def finish(self, environment: str, run: str, state: str = "success") -> None:
        """Wait until the run is over in this state."""
        over = self.api.wait_for_run(f"env_sync_{environment}", run)
        assert over.state == state, self.api.states(f"env_sync_{environment}", run)

    def run(self, environment: str, state: str = "success", **conf: object) -> str:
        """Start a run by hand and wait until it is over in this state; gives its id."""
        run = self.trigger(environment, **conf)
        self.finish(environment, run, state)
        return run

    def report(self, environment: str, run: str, group: str) -> dict[str, Any]:
        """The report of a group."""
        report = self.api.xcom(f"env_sync_{environment}", run, f"{group}.report")
        assert isinstance(report, dict)
        return report

    def leftovers(self, environment: str, *databases: str) -> set[str]:
        """Incoming copies of these databases that stand on the environment's server."""
        names = self.servers[environment].databases()
        return {name for name in names if name.startswith(databases) and name.endswith("__incoming")}

    @contextlib.contextmanager
    def held(self, environment: str, database: str) -> Iterator[None]:
        """The time in which the slow transformation of a database does not end."""
        self.hold(environment, database)
        try:
            yield
        finally:
            self.release(environment, database)

    def hold(self, environment: str, database: str) -> None:
        """From now on the slow transformation of a database does not end."""
        self.servers[environment].create_role(f"{HOLD}{database}")

    def release(self, environment: str, database: str) -> None:
        """Let it end."""
        self.servers[environment].execute(f'DROP ROLE "{HOLD}{database}"')

    def transforming(self, environment: str, database: str) -> int | None:
        """The port of the client whose session is in a slow transformation that is held; None without one."""
        rows = self.servers[environment].execute(
            "SELECT client_port FROM pg_stat_activity "
            "WHERE datname = %s AND state = 'active' AND query LIKE %s",
            [f"{database}__incoming", f"%{HOLD}{database}%"],
        )
        return rows[0][0] if rows else None

    def wait_for_transformation(self, environment: str, database: str) -> psutil.Process:
        """Wait until the slow transformation of a database is at work; gives the process that runs it."""

        def at_work() -> psutil.Process | None:
            port = self.transforming(environment, database)
            for connection in psutil.net_connections("tcp4") if port else ():
                if connection.laddr and connection.laddr.port == port and connection.pid:
                    return psutil.Process(connection.pid)
            return None

        process = self.api.wait_for(at_work, f"the transformation of {database} to run")
        assert isinstance(process, psutil.Process)
        return process

    def wait_for_no_session(self, environment: str, database: str) -> None:
        """Wait until no session of a sync is in a database or a copy of it."""

        def ended() -> bool:
            return not self.servers[environment].execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname LIKE %s AND application_name LIKE 'env_sync%%'",
                [f"{database}%"],
            )

        self.api.wait_for(ended, f"the sessions of syncs in {database} to end")


def prepare(server: PostgreSQLServer, databases: Sequence[str], address: str) -> None:
    """Make the databases, with people whose addresses begin so, and the roles that they need."""
    if APPLICATION not in server.roles():
        server.create_role(APPLICATION, PASSWORD)
        server.create_sync_role(PASSWORD, member_of=[APPLICATION])
    first, *others = databases
    server.create_database(first, APPLICATION)
    with server.connect(first, APPLICATION, PASSWORD) as connection:
        connection.execute("CREATE TABLE people (id integer PRIMARY KEY, email text NOT NULL)")
        connection.execute(
            "INSERT INTO people SELECT n, %s || n || '@personal.test' FROM generate_series(1, %s) n",
            [address, PEOPLE],
        )
        connection.commit()
    for database in others:
        server.create_database(database, APPLICATION, template=first)
