"""The policy of a key in deploy/, on an S3 server: a push and a pull need it, and it allows no more."""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field
from botocore import xform_name

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import AccessRefused, Cancelled
from env_sync.store import dump_key
from env_sync.store.dumps import S3Store
from env_sync.store.retrying import MEBIBYTE
from sandbox.s3 import Account, VersityGW
from tests.bucket_policies import PERMISSIONS, arn, read_policy
from tests.integration.test_store import QUICK, WHEN, WatchedProgress, connection, heard, make_dump

MINUTE = dt.timedelta(minutes=1)
PATH, OTHER = "signon-postgres", "whitehall-mysql"
BUCKETS = {f"govuk-{name}-database-backups": f"policies-of-{name}" for name in ("integration", "staging")}
"""The buckets of the policy, and those of these tests that stand for them."""
OWN, ABOVE = BUCKETS.values()


@define
class Asked:
    """What a client asked for: each permission, on what of the policy."""

    seen: set[tuple[str, str]] = field(factory=set)

    def __call__(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        for action in PERMISSIONS[xform_name(model.name)]:
            names = {own: name for name, own in BUCKETS.items()}
            key = "" if action == "s3:ListBucket" else params["Key"]
            self.seen.add((action, arn(names[params["Bucket"]], key)))


@pytest.fixture(scope="module")
def account(s3: VersityGW) -> Account:
    return s3.create_account("key-of-integration")


@pytest.fixture
def policy() -> dict[str, Any]:
    return read_policy("integration.json")


@pytest.fixture
def store(s3: VersityGW, account: Account, policy: dict[str, Any]) -> Iterator[S3Store]:
    """As integration's key, which may do what its policy says, in buckets of somebody else."""
    s3.create_buckets(BUCKETS.values())
    for name, bucket in BUCKETS.items():
        statements = []
        for statement in policy["Statement"]:
            mine = [one for one in statement["Resource"] if one.split("/")[0] == arn(name)]
            if mine:
                resources = [one.replace(name, bucket) for one in mine]
                statements.append(
                    {**statement, "Resource": resources, "Principal": {"AWS": [account.access_key]}}
                )
        text = json.dumps({"Version": policy["Version"], "Statement": statements})
        s3.client().put_bucket_policy(Bucket=bucket, Policy=text)
    yield S3Store(connection(s3, account), tuning=QUICK)
    for bucket in BUCKETS.values():
        s3.empty(bucket)


def put_above(s3: VersityGW, folder: Path, path: str) -> str:
    """A dump above, of staging's own key; its key."""
    file, manifest = make_dump(folder)
    key = dump_key(path, WHEN, manifest.database)
    S3Store(connection(s3), tuning=QUICK).upload_dump(ABOVE, file, evolve(manifest, key=key))
    return key


def test_a_push_and_a_pull_ask_for_all_of_it_and_for_nothing_else(
    s3: VersityGW, store: S3Store, account: Account, policy: dict[str, Any], tmp_path: Path
) -> None:
    put_above(s3, tmp_path, PATH)
    asked = Asked()
    with heard(store, "provide-client-params.s3", asked):
        for bucket in (OWN, ABOVE):
            store.look_at_bucket(bucket)
        choice = store.choose(ABOVE, PATH, "licensify")
        assert store.read_head(ABOVE, choice, 8)
        store.download_dump(ABOVE, choice, tmp_path / "dump")
        for number, size in enumerate((1000, 11 * MEBIBYTE)):
            file, manifest = make_dump(tmp_path, size, when=WHEN + number * MINUTE)
            key = dump_key(PATH, manifest.started, manifest.database)
            assert store.upload_dump(OWN, file, evolve(manifest, key=key))
        # As a push does before it dumps.
        assert store.newest_manifest(OWN, PATH, "licensify")
        # As `env-sync list` does.
        for listed in store.list_dumps(OWN, PATH, "licensify"):
            assert store.read_manifest(OWN, listed.key)
    cancellation = Cancellation()
    cancelled = S3Store(
        connection(s3, account),
        tuning=QUICK,
        cancellation=cancellation,
        progress=WatchedProgress(cancellation.cancel, at=MEBIBYTE),
    )
    file, manifest = make_dump(tmp_path, 12 * MEBIBYTE, when=WHEN + 5 * MINUTE)
    key = dump_key(PATH, manifest.started, manifest.database)
    with heard(cancelled, "provide-client-params.s3", asked), pytest.raises(Cancelled):
        cancelled.upload_dump(OWN, file, evolve(manifest, key=key))
    granted = {
        (action, resource)
        for statement in policy["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
        if PATH in resource or action == "s3:ListBucket"
    }
    fits = {
        (asked_for, allowed)
        for asked_for in asked.seen
        for allowed in granted
        if asked_for[0] == allowed[0] and fnmatch.fnmatchcase(asked_for[1], allowed[1])
    }
    assert {allowed for _, allowed in fits} == granted
    assert {asked_for for asked_for, _ in fits} == asked.seen


def test_other_paths_and_the_bucket_above_are_refused(s3: VersityGW, store: S3Store, tmp_path: Path) -> None:
    put_above(s3, tmp_path, OTHER)
    with pytest.raises(AccessRefused):
        store.choose(ABOVE, OTHER, "licensify")
    file, manifest = make_dump(tmp_path)
    for bucket, path in ((ABOVE, PATH), (ABOVE, OTHER), (OWN, OTHER)):
        key = dump_key(path, WHEN, manifest.database)
        before = s3.keys(bucket)
        with pytest.raises(AccessRefused):
            store.upload_dump(bucket, file, evolve(manifest, key=key))
        assert s3.keys(bucket) == before
