from pathlib import Path

import pytest

from env_sync.core.errors import NoHieradata, UnknownEnvironment
from env_sync.planning import installation
from env_sync.planning.installation import (
    chosen_environments,
    hieradata_folder,
    read_plan,
    transformations_folder,
)

PUSH = """\
govuk_env_sync::tasks:
  push_signon:
    {hour: 1, minute: 0, action: push, dbms: postgresql, storagebackend: s3, database: signon,
     url: govuk-testing-database-backups, path: signon}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ENV_SYNC_HIERADATA", "ENV_SYNC_TRANSFORMATIONS", "ENV_SYNC_ENVIRONMENTS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "hieradata"
    folder.mkdir()
    monkeypatch.setenv("ENV_SYNC_HIERADATA", str(folder))
    return folder


def add(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.yaml").write_text(PUSH)


def test_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hieradata_folder() == folder
    assert transformations_folder() == folder.parent / "transformation_sql"
    monkeypatch.setenv("ENV_SYNC_TRANSFORMATIONS", "/elsewhere")
    assert transformations_folder() == Path("/elsewhere")
    monkeypatch.setenv("ENV_SYNC_HIERADATA", "")
    assert hieradata_folder() == installation.ROOT / "include" / "hieradata"
    assert (installation.ROOT / "plugins" / "env_sync").is_dir()


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("", ("production", "staging", "testing")),
        (" , ", ("production", "staging", "testing")),
        ("testing", ("testing",)),
        (" testing , staging,testing", ("testing", "staging")),
    ],
)
def test_the_environments_of_an_instance(
    folder: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, expected: tuple[str, ...]
) -> None:
    add(folder, "testing", "staging", "production", "common")
    monkeypatch.setenv("ENV_SYNC_ENVIRONMENTS", chosen)
    assert chosen_environments() == expected


def test_one_that_is_not_there_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(folder, "testing", "staging")
    monkeypatch.setenv("ENV_SYNC_ENVIRONMENTS", "testing,stagin")
    with pytest.raises(UnknownEnvironment, match=r"names stagin, but .* holds staging, testing"):
        chosen_environments()


def test_none_at_all_is_refused(folder: Path) -> None:
    with pytest.raises(NoHieradata, match="ENV_SYNC_HIERADATA"):
        chosen_environments()
    folder.rmdir()
    with pytest.raises(NoHieradata, match="ENV_SYNC_HIERADATA"):
        chosen_environments()


def test_a_plan_is_read(folder: Path) -> None:
    add(folder, "testing")
    assert read_plan("testing").names() == ("push_signon",)
    with pytest.raises(UnknownEnvironment):
        read_plan("staging")


PULL_ABOVE = """\
govuk_env_sync::tasks:
  pull_signon:
    {hour: 3, minute: 0, action: pull, dbms: postgresql, storagebackend: s3, database: signon,
     url: govuk-staging-database-backups, path: clean, transformation_sql_filename: none,
     reason: Sanitised above}
"""
PUSH_OF_STAGING = """\
govuk_env_sync::tasks:
  push_signon:
    {hour: 1, minute: 0, action: push, dbms: postgresql, storagebackend: s3, database: signon,
     url: govuk-staging-database-backups, path: clean%s}
"""
PULL_OF_STAGING = """\
  pull_signon:
    {hour: 0, minute: 0, action: pull, dbms: postgresql, storagebackend: s3, database: signon,
     url: govuk-production-database-backups, path: signon%s}
"""
PRE_DUMP = ", pre_dump_transformation_sql_filename: clean.sql"
NONE = ", transformation_sql_filename: none, reason: public"


@pytest.mark.parametrize(
    ("staging", "contradicts"),
    [
        (PUSH_OF_STAGING % "", True),
        (PUSH_OF_STAGING % PRE_DUMP, False),
        (PUSH_OF_STAGING % "" + PULL_OF_STAGING % "", True),
        (PUSH_OF_STAGING % "" + PULL_OF_STAGING % NONE, True),
        (PUSH_OF_STAGING % "" + PULL_OF_STAGING % ", transformation_sql_filename: clean.sql", False),
        (PUSH_OF_STAGING % "" + PULL_OF_STAGING % NONE.replace("public", "sanitised above"), False),
        (PUSH_OF_STAGING % ", pre_dump_transformation_sql_filename: none, reason: public", True),
        # Nobody knows what a sync does that is left out for a problem.
        (PUSH_OF_STAGING % "" + PULL_OF_STAGING % ", transformation_sql_filename: gone.sql", False),
        (PUSH_OF_STAGING % ", pre_dump_transformation_sql_filename: gone.sql", False),
        ((PUSH_OF_STAGING % "").replace("path: clean", "path: raw"), False),
        ((PUSH_OF_STAGING % "").replace("database: signon", "database: other"), False),
        ((PUSH_OF_STAGING % "").replace("url:", "ensure: absent, url:"), False),
        (None, False),
    ],
)
def test_what_is_said_to_be_sanitised_above_and_is_not_by_the_configuration_is_a_problem(
    folder: Path, staging: str | None, contradicts: bool
) -> None:
    transformations_folder().mkdir()
    (transformations_folder() / "clean.sql").write_text("DELETE FROM users;")
    (folder / "integration.yaml").write_text(PULL_ABOVE)
    if staging is not None:
        (folder / "staging.yaml").write_text(staging)
    plan = read_plan("integration")
    assert plan.names() == ("pull_signon",)
    told = [str(problem) for problem in plan.problems]
    assert len(told) == contradicts, told
    if contradicts:
        assert (
            "nothing sanitises what push_signon of staging pushes to govuk-staging-database-backups"
            in told[0]
        )
        assert told[0] in plan.as_text()
