"""The values that hieradata becomes: a sync, a bucket sync, and where each was written."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.settings import Options


class Ensure(StrEnum):
    """Whether a sync runs: every night, only by hand, or not at all."""

    PRESENT = "present"
    DISABLED = "disabled"
    ABSENT = "absent"


class Action(StrEnum):
    """What a sync does with its database, or with its buckets."""

    PUSH = "push"
    PULL = "pull"
    COPY = "copy"
    BUCKET_SYNC = "bucket_sync"


class CopyWay(StrEnum):
    """How a copy goes from cluster to cluster; `auto` is the best way that there is."""

    AUTO = "auto"
    REPOSITORY = "repository"
    REINDEX = "reindex"
    SCROLL = "scroll"


@frozen
class Place:
    """A line of a hieradata file; line counts from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@frozen(kw_only=True)
class Schedule:
    """When a sync starts: crontab fields as written, and the times of day that they match, in order."""

    hour: str
    minute: str
    times: tuple[dt.time, ...]


CLUSTER = "elasticsearch"
"""The `storagebackend` of a cluster, which keeps its snapshots itself."""


def server_of(dbms: str, database: str, node_class: str) -> str:
    """The name of the server of a database for which no host is named."""
    return database if dbms == "elasticsearch" else node_class


@frozen(kw_only=True)
class Sync:
    """One entry of `govuk_env_sync::tasks`, checked and complete."""

    name: str
    environment: str
    node_class: str
    place: Place
    ensure: Ensure
    schedule: Schedule
    action: Action
    dbms: str
    storagebackend: str
    database: str
    database_hostname: str | None
    url: str
    path: str
    temppath: Path | None
    transformation: Path | None
    """The file named by `transformation_sql_filename`, in include/transformation_sql/."""
    pre_dump_transformation: Path | None
    """The same for a push: the SQL that runs before live is dumped."""
    excluded_tables: tuple[str, ...]
    after: tuple[str, ...]
    recovery: bool
    """True for a disabled pull into a protected environment from its own bucket."""
    options: Options
    postprocess: tuple[Postprocess, ...] = ()
    """What a pull does to incoming in code, after the transformation, in order."""
    pre_dump_in_place: bool = False
    """Whether that SQL runs on live itself and not on a copy."""
    source_hostname: str | None = None
    """The cluster that a copy comes from."""
    copy_way: CopyWay = CopyWay.AUTO
    indices: tuple[str, ...] = ("*",)
    """Patterns of the indices that the sync is about, for a database that is a cluster."""
    excluded_indices: tuple[str, ...] = ()
    reason: str = ""
    """Why nothing is to be sanitised, or no rule is needed any more, where that is said."""
    says_none: bool = False
    """Whether `transformation_sql_filename: none` is written; of a push, the same of its own field."""
    says_no_rules: bool = False
    """Whether `postprocess: none` is written."""
    filled_by: str = ""
    """Of a push: the sync that fills its live database, where one does."""
    must_sanitise: bool = False
    """Whether the environment is one where sanitising is required."""

    @property
    def sanitises(self) -> bool:
        """Whether what it brings is transformed, by a file or by a rule that sanitises."""
        return self.transformation is not None or any(one.sanitises for one in self.postprocess)

    @property
    def guards(self) -> bool:
        """Whether nobody may see what comes down before it is live. A recovery brings back what was live."""
        return self.sanitises and not self.recovery

    @property
    def must_be_seen(self) -> bool:
        """Whether it may only begin where the server tells who could read what is not sanitised yet."""
        return self.must_sanitise and self.guards

    @property
    def none_said(self) -> bool:
        """Whether it is said, with a reason, that nothing is to be sanitised."""
        return self.says_none and bool(self.reason)

    @property
    def no_rules_said(self) -> bool:
        """Whether it is said, with a reason, that no rule is needed."""
        return self.says_no_rules and bool(self.reason)

    @property
    def server(self) -> str:
        """The name of the database server: the host that the sync names, else its node class.

        A database of Elasticsearch is a cluster, so its name is the host's.
        """
        return self.database_hostname or server_of(self.dbms, self.database, self.node_class)

    @property
    def is_cluster(self) -> bool:
        """Whether its database is a cluster, whose indices go by snapshots and not by dumps."""
        return self.storagebackend == CLUSTER

    @property
    def pulls_dump(self) -> bool:
        """Whether it restores a dump out of a bucket, which can be waited for and listed."""
        return self.action is Action.PULL and not self.is_cluster

    @property
    def writes(self) -> bool:
        """Whether it replaces its live database by what comes from elsewhere."""
        return self.action in (Action.PULL, Action.COPY)

    @property
    def live(self) -> tuple[str, str, str]:
        """What identifies the live database within an environment: engine, server, database."""
        return (self.dbms, self.server, self.database)


@frozen(kw_only=True)
class BucketSync:
    """One entry of `govuk_env_sync::s3_sync_tasks`, checked and complete."""

    name: str
    environment: str
    node_class: str
    place: Place
    ensure: Ensure
    schedule: Schedule
    source_bucket: str
    destination_bucket: str
    delete: bool
    after: tuple[str, ...]
    options: Options
    reason: str = ""
    """Why nothing in the bucket is to be sanitised, where that is said."""
    says_none: bool = False
    """Whether `transformation_sql_filename: none` is written."""
    is_cluster = False
    pulls_dump = False
    sanitises = False

    @property
    def none_said(self) -> bool:
        """Whether it is said, with a reason, that nothing is to be sanitised."""
        return self.says_none and bool(self.reason)

    @property
    def action(self) -> Action:
        """What it does."""
        return Action.BUCKET_SYNC

    @property
    def database(self) -> str:
        """What is replaced, for whoever lists syncs of all kinds: the destination."""
        return self.destination_bucket

    @property
    def server(self) -> str:
        """Where that is, in the same lists."""
        return "s3"

    @property
    def live(self) -> tuple[str, str, str]:
        """What identifies the destination: syncs into it run one after another."""
        return (self.action, self.server, self.destination_bucket)


AnySync: TypeAlias = Sync | BucketSync
