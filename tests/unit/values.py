"""Values for tests, complete but for what the test is about."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from env_sync.domain.environment import Environment
from env_sync.domain.postprocess.replace_text import Replacement, ReplaceText
from env_sync.domain.settings import Options, Settings
from env_sync.domain.sync import Action, BucketSync, Ensure, Place, Schedule, Sync
from env_sync.engines.registry import offered
from env_sync.planning.plan import Plan, make_plan

CAPABILITIES = offered()


def moment(text: str) -> dt.datetime:
    """A moment in UTC, such as `2026-11-23 01:00`."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def times(*texts: str) -> Schedule:
    """A schedule of these times of day, such as `03:00`."""
    return Schedule(
        hour="(test)", minute="(test)", times=tuple(dt.time.fromisoformat(each) for each in texts)
    )


def a_sync(name: str = "pull_signon", *at: str, **fields: Any) -> Sync:
    """A sync: a pull of `signon` into integration at 03:00 unless said otherwise."""
    values: dict[str, Any] = {
        "environment": "integration",
        "node_class": "db_admin",
        "place": Place("integration/db_admin.yaml", 7),
        "ensure": Ensure.PRESENT,
        "schedule": times(*(at or ("03:00",))),
        "action": Action.PULL,
        "dbms": "postgresql",
        "storagebackend": "s3",
        "database": "signon",
        "database_hostname": "signon-postgres",
        "url": "govuk-staging-database-backups",
        "path": "signon-postgres",
        "temppath": None,
        "transformation": None,
        "pre_dump_transformation": None,
        "excluded_tables": (),
        "after": (),
        "recovery": False,
        "options": Options(),
    }
    return Sync(name=name, **{**values, **fields})


def a_push(name: str = "push_signon", *at: str, **fields: Any) -> Sync:
    """The same as a push."""
    return a_sync(name, *at, **{"action": Action.PUSH, "url": "govuk-integration-database-backups", **fields})


def a_recovery(name: str = "recover_signon", **fields: Any) -> Sync:
    """A recovery sync of production."""
    return a_sync(
        name,
        **{
            "environment": "production",
            "ensure": Ensure.DISABLED,
            "url": "govuk-production-database-backups",
            "recovery": True,
            **fields,
        },
    )


def a_bucket_sync(name: str = "assets", *at: str, **fields: Any) -> BucketSync:
    """A bucket sync."""
    values: dict[str, Any] = {
        "environment": "integration",
        "node_class": "db_admin",
        "place": Place("integration/db_admin.yaml", 70),
        "ensure": Ensure.PRESENT,
        "schedule": times(*(at or ("04:00",))),
        "source_bucket": "govuk-assets-staging",
        "destination_bucket": "govuk-assets-integration",
        "delete": False,
        "after": (),
        "options": Options(),
    }
    return BucketSync(name=name, **{**values, **fields})


def a_plan(*syncs: Sync | BucketSync, environment: str = "integration", **settings: Any) -> Plan:
    """The plan of an environment with these syncs and settings."""
    return make_plan(
        Environment(
            name=environment,
            settings=Settings(**settings),
            syncs=tuple(sync for sync in syncs if isinstance(sync, Sync)),
            bucket_syncs=tuple(sync for sync in syncs if isinstance(sync, BucketSync)),
            problems=(),
        ),
        CAPABILITIES,
    )


SQL = Path("include/transformation_sql/sanitise_signon.sql")
REPLACE = ReplaceText(
    table="oauth_applications",
    replacements=(Replacement(columns=("home_uri",), old="above.example", new="here.example"),),
)
"""A postprocess."""
