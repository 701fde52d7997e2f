"""The dumps that a sync can restore, asked of the bucket now, within a limit of time."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from env_sync.airflow.connections import store_connection
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import Cancelled, NothingToRestore, ServerUnreachable, UnknownSync
from env_sync.domain.manifest import Manifest
from env_sync.domain.sync import Action, Sync
from env_sync.planning.plan import Plan
from env_sync.planning.timestamps import parse_timestamp
from env_sync.store.dump_choice import StoredDump
from env_sync.store.dumps import S3Store

PATIENCE = 20.0
"""How many seconds whoever looks at the page is made to wait for a bucket."""
MOST = 60
"""How many dumps are listed: two months of nights."""


def list_dumps(plan: Plan, sync: str) -> tuple[StoredDump, ...]:
    """The whole dumps that a pull can restore, the newest first.

    Raises UnknownSync for what is no pull, ConnectionMissing, WrongEnvironment, AccessRefused, NoSuchBucket,
    ServerUnreachable.
    """
    pull = _pull(plan, sync)
    with _store(plan.environment) as store:
        return store.survey(pull.url, pull.path, pull.database).whole[:MOST]


def read_manifest(plan: Plan, sync: str, timestamp: str) -> Manifest | None:
    """The manifest of one of them; None where it has none. Raises InvalidRequest, NothingToRestore too."""
    pull = _pull(plan, sync)
    asked = parse_timestamp(timestamp)
    with _store(plan.environment) as store:
        for dump in store.list_dumps(pull.url, pull.path, pull.database):
            if dump.timestamp == asked:
                return store.read_manifest(pull.url, dump.key)
    raise NothingToRestore(f"{pull.url}/{pull.path} has no dump of {pull.database} of {timestamp}.")


def _pull(plan: Plan, name: str) -> Sync:
    for group in plan.groups:
        sync = group.sync
        if sync.name == name and isinstance(sync, Sync) and sync.action is Action.PULL:
            if sync.storagebackend != "s3":
                raise UnknownSync(
                    f"{name} reads no bucket: it restores the newest, or what `timestamp` names."
                )
            return sync
    raise UnknownSync(f"{plan.environment} has no pull {name!r} that can run.")


@contextlib.contextmanager
def _store(environment: str) -> Iterator[S3Store]:
    cancellation = Cancellation()
    limit = threading.Timer(PATIENCE, cancellation.cancel)
    limit.daemon = True
    limit.start()
    try:
        yield S3Store(
            store_connection(environment),
            cancellation=cancellation,
            log=logging.getLogger("env_sync.board"),
        )
    except Cancelled:
        raise ServerUnreachable(f"The bucket did not answer within {PATIENCE:.0f} s. Try again.") from None
    finally:
        limit.cancel()
