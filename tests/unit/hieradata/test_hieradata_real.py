"""GOV.UK's real files, where they are at hand: they load as they are."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from env_sync.config.files import environment_names
from env_sync.config.reader import read_environment
from env_sync.domain.environment import Environment
from env_sync.domain.sync import AnySync, Ensure

ROOT = Path(__file__).parents[3]
FOLDER = Path(os.environ.get("ENV_SYNC_REFERENCE") or ROOT.parent / "shared" / "reference" / "hieradata")
TRANSFORMATIONS = (
    "anonymise_email_addresses.sql",
    "content_publisher.sql",
    "sanitise_publishing_api_production.sql",
    "sanitise_whitehall.sql",
)

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the real files are not there; set ENV_SYNC_REFERENCE"
)


@pytest.fixture
def real(tmp_path: Path) -> dict[str, Environment]:
    for name in TRANSFORMATIONS:
        (tmp_path / name).touch()
    return {name: read_environment(FOLDER, name, tmp_path) for name in environment_names(FOLDER)}


def test_only_what_is_truly_wrong_is_a_problem(real: dict[str, Environment]) -> None:
    assert list(real) == ["integration", "production", "staging"]
    (problem,) = (problem for environment in real.values() for problem in environment.problems)
    assert problem.sync == "pull_authenticating_proxy_production_daily"
    assert str(problem.place) == "staging/router_backend.yaml:24"
    assert "staging/authenticating_proxy_db_admin.yaml:2" in problem.read


def test_every_sync_survives(real: dict[str, Environment]) -> None:
    syncs: list[AnySync] = []
    for each in real.values():
        syncs += [*each.syncs, *each.bucket_syncs]
    # One of the 155, an absent one, is there twice.
    assert Counter(sync.ensure for sync in syncs) == {
        Ensure.PRESENT: 60,
        Ensure.DISABLED: 7,
        Ensure.ABSENT: 87,
    }
    assert {name: len(each.bucket_syncs) for name, each in real.items()} == {
        "integration": 1,
        "production": 0,
        "staging": 1,
    }


def test_what_is_known_of_them(real: dict[str, Environment]) -> None:
    production = {sync.name: sync for sync in real["production"].syncs}
    assert {sync.name for sync in production.values() if sync.recovery} == {
        sync.name for sync in production.values() if sync.ensure is Ensure.DISABLED
    }
    audit = production["push_licensify_audit_production"]
    assert (audit.schedule.hour, audit.schedule.minute, audit.database) == ("1", "45", "licensify-audit")
    assert (audit.ensure, audit.path, audit.server) == (Ensure.PRESENT, "mongo-licensing", "db_admin")
    whitehall = {sync.name: sync for sync in real["staging"].syncs}["push_whitehall_staging_daily"]
    assert whitehall.pre_dump_transformation is not None
    assert whitehall.pre_dump_transformation.name == "sanitise_whitehall.sql"


def test_they_work_with_the_bindings_of_this_repository(tmp_path: Path) -> None:
    for name in TRANSFORMATIONS:
        (tmp_path / name).touch()
    folder = shutil.copytree(FOLDER, tmp_path / "hieradata")
    shutil.copy(ROOT / "include" / "hieradata" / "common.yaml", folder)
    for name in environment_names(folder):
        environment = read_environment(folder, name, tmp_path)
        assert [problem for problem in environment.problems if "postprocess" in str(problem)] == []
        bound = {sync.database for sync in environment.syncs if sync.postprocess}
        assert ("govuk_assets_production" in bound) == (name != "production")
        assert {"router", "draft_router"} <= bound or name == "production"
        assert ("signon_production" in bound) == (name == "staging")


def test_mutations_of_the_real_files_raise_nothing(tmp_path: Path) -> None:
    chance = random.Random(72)
    paths = sorted(FOLDER.rglob("*.yaml"))
    for number in range(60):
        folder = tmp_path / str(number) / "integration"
        folder.mkdir(parents=True)
        for path in chance.sample(paths, 3):
            data = bytearray(path.read_bytes())
            for _ in range(chance.choice((1, 3, 20))):
                start, length = chance.randrange(len(data)), chance.choice((1, 2, 10))
                data[start : start + length] = chance.choice(
                    (b"", b"\n", b":", b"[", b"&a ", b"*a", b"  ", b"\xff")
                )
            (folder / path.name).write_bytes(data)
        environment = read_environment(folder.parent, "integration", tmp_path)
        assert all(str(problem).isprintable() for problem in environment.problems)


def test_without_the_transformations_just_the_syncs_that_need_them_are_gone(tmp_path: Path) -> None:
    environment = read_environment(FOLDER, "integration", tmp_path / "nowhere")
    assert {problem.sync for problem in environment.problems} == {
        "pull_content_publisher_production_daily",
        "pull_email_alert_api_production_daily",
        "pull_publishing_api_production_daily",
    }
