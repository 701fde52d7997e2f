"""The policies of buckets in deploy/ allow what the store asks for, for the example's syncs, and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from env_sync.domain.sync import Action, Sync
from env_sync.planning.installation import read_plan
from env_sync.store import s3_errors
from env_sync.store.dump_keys import MANIFESTS
from tests.bucket_policies import FOLDER, PERMISSIONS, allows, arn, read_policy

ROOT = Path(__file__).resolve().parents[2]
ABOVE = {"production": None, "staging": "production", "integration": "staging"}
ROLE = {
    name: f"arn:aws:iam::{account * 12}:role/env-sync-{name}"
    for account, name in zip("123", ABOVE, strict=True)
}
DEVELOPERS = "arn:aws:iam::444444444444:role/developers"
NOBODY = "arn:aws:iam::555555555555:role/nobody"


def bucket(environment: str) -> str:
    return f"govuk-{environment}-database-backups"


def paths(environment: str, action: Action) -> set[tuple[str, str]]:
    """Bucket and path of each push, or pull, of the example."""
    syncs = [group.sync for group in read_plan(environment).groups]
    return {(sync.url, sync.path) for sync in syncs if isinstance(sync, Sync) and sync.action is action}


def objects(where: set[tuple[str, str]]) -> set[str]:
    return {arn(name, f"{inner}{path}/*") for name, path in where for inner in ("", MANIFESTS)}


def granted(policy: dict[str, Any], action: str) -> set[str]:
    return {
        resource
        for statement in policy["Statement"]
        if statement["Effect"] == "Allow" and action in statement["Action"]
        for resource in statement["Resource"]
    }


def test_each_file_is_a_policy() -> None:
    names = {path.name for path in FOLDER.glob("*.json")}
    known = {each for needed in PERMISSIONS.values() for each in needed}
    assert names == {f"{name}{kind}.json" for name in ABOVE for kind in ("", "-bucket")}
    for name in names:
        policy = read_policy(name)
        assert policy["Version"] == "2012-10-17"
        assert len({one["Sid"] for one in policy["Statement"]}) == len(policy["Statement"])
        for statement in policy["Statement"]:
            assert statement["Effect"] in ("Allow", "Deny")
            assert ("Principal" in statement) == name.endswith("-bucket.json")
            if statement["Effect"] == "Allow":
                assert set(statement["Action"]) <= known


@pytest.mark.parametrize("environment", ABOVE)
def test_a_key_has_what_the_syncs_of_its_environment_need_and_no_more(environment: str) -> None:
    policy = read_policy(f"{environment}.json")
    pushed, pulled = paths(environment, Action.PUSH), paths(environment, Action.PULL)
    assert granted(policy, "s3:ListBucket") == {arn(name) for name, _ in pushed | pulled}
    assert granted(policy, "s3:PutObject") == objects(pushed)
    assert granted(policy, "s3:AbortMultipartUpload") == {arn(name, f"{path}/*") for name, path in pushed}
    assert granted(policy, "s3:GetObject") == objects(pushed | pulled)
    others = {action for one in policy["Statement"] for action in one["Action"]}
    assert others <= {"s3:ListBucket", "s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject"}
    # Its own bucket, and that above it; of that it writes nothing.
    above = ABOVE[environment]
    assert {name for name, _ in pushed} == {bucket(environment)}
    assert {name for name, _ in pulled - pushed} == ({bucket(above)} if above else set())


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_only_env_sync_here_and_below_reads_a_bucket_of_raw_dumps(environment: str) -> None:
    policy = read_policy(f"{environment}-bucket.json")
    below = next(name for name, above in ABOVE.items() if above == environment)
    for name, path in paths(environment, Action.PUSH):
        dump = arn(name, f"{path}/2026-11-23T010000Z-x.gz")
        assert allows(policy, "s3:GetObject", dump, ROLE[below])
        # Whoever the account itself lets in: a deny comes before that.
        assert not allows(policy, "s3:GetObject", dump, NOBODY, already=True)
        assert not allows(policy, "s3:GetObjectVersion", dump, DEVELOPERS, already=True)
        assert allows(policy, "s3:GetObject", dump, ROLE[environment], already=True)
        for role in (ROLE[below], NOBODY):
            assert not allows(policy, "s3:PutObject", dump, role, already=True)
            assert not allows(policy, "s3:DeleteObject", dump, role, already=True)
    assert granted(policy, "s3:GetObject") == objects(paths(environment, Action.PUSH))


OTHERS_WRITE = (
    *("AbortMultipartUpload", "BypassGovernanceRetention", "DeleteObject", "DeleteObjectTagging"),
    *("DeleteObjectVersion", "PutObject", "PutObjectAcl", "PutObjectLegalHold", "PutObjectRetention"),
    *("PutObjectTagging", "PutObjectVersionAcl", "PutObjectVersionTagging", "ReplicateDelete"),
    *("ReplicateObject", "ReplicateTags", "RestoreObject"),
)
OTHERS_READ = (
    *("GetObject", "GetObjectAttributes", "GetObjectTorrent", "GetObjectVersion"),
    *("GetObjectVersionForReplication", "GetObjectVersionTorrent"),
)


@pytest.mark.parametrize("environment", ABOVE)
@pytest.mark.parametrize("path", ["signon-postgres", "a-path-that-came-later", "env_sync_manifests/x"])
def test_what_is_allowed_elsewhere_does_not_open_a_bucket(environment: str, path: str) -> None:
    """As `s3:*` on everything is, for backups and reports."""
    policy = read_policy(f"{environment}-bucket.json")
    dump = arn(bucket(environment), f"{path}/2026-11-23T010000Z-x.gz")
    listed = environment == "integration" and path == "signon-postgres"
    for action in OTHERS_READ:
        assert allows(policy, f"s3:{action}", dump, NOBODY, already=True) == listed
    for action in OTHERS_WRITE:
        assert not allows(policy, f"s3:{action}", dump, NOBODY, already=True)
    for action in ("GetObject", "PutObject"):
        assert allows(policy, f"s3:{action}", dump, ROLE[environment], already=True)


def test_developers_read_what_is_sanitised_and_write_nothing() -> None:
    policy = read_policy("integration-bucket.json")
    for name, path in paths("integration", Action.PUSH):
        dump = arn(name, f"{path}/latest-x.txt")
        assert allows(policy, "s3:GetObject", dump, DEVELOPERS)
        assert not allows(policy, "s3:GetObject", dump, NOBODY)
        assert not allows(policy, "s3:PutObject", dump, DEVELOPERS, already=True)
        assert allows(policy, "s3:PutObject", dump, ROLE["integration"], already=True)
    assert not any(DEVELOPERS in path.read_text() for path in FOLDER.glob("[ps]*.json"))


def test_what_developers_read_is_sanitised_by_the_example() -> None:
    """Each push fills a path that they read from a live whose pull sanitises, or says why it need not."""
    plan = read_plan("integration")
    assert plan.settings.must_sanitise
    assert plan.problems == ()
    syncs = {group.sync.name: group.sync for group in plan.groups if isinstance(group.sync, Sync)}
    pushes = [sync for sync in syncs.values() if sync.action is Action.PUSH]
    assert {(push.url, push.path) for push in pushes} == paths("integration", Action.PUSH)
    open_to_all = {name for name, sync in syncs.items() if not sync.sanitises and sync.none_said}
    for push in pushes:
        pull = syncs[push.filled_by]
        assert (pull.writes, pull.live) == (True, push.live)
        assert pull.sanitises or pull.name in open_to_all
    assert open_to_all == {"pull_local_links_manager_staging_daily"}


@pytest.mark.parametrize("environment", ABOVE)
def test_nothing_goes_over_plain_http(environment: str) -> None:
    policy = read_policy(f"{environment}-bucket.json")
    role = ROLE[environment]
    assert not allows(policy, "s3:GetObject", arn(bucket(environment), "x"), role, already=True, secure=False)


def test_each_operation_that_the_store_makes_has_its_permission() -> None:
    model = botocore.session.get_session().get_service_model("s3")
    known = {xform_name(name) for name in model.operation_names}
    assert set(operations()) & known == set(s3_errors._GRANTS)


def operations() -> Iterator[str]:
    for file in (ROOT / "plugins" / "env_sync" / "store").rglob("*.py"):
        if file.name != "s3_errors.py":
            for called, named in re.findall(r'client\.(\w+)\(|"(\w+)"', file.read_text()):
                yield called or named


def test_the_docs_name_each_file() -> None:
    page = (ROOT / "docs" / "buckets.md").read_text()
    for file in FOLDER.glob("*.json"):
        assert f"../deploy/bucket_policies/{file.name}" in page
        json.loads(file.read_text())
