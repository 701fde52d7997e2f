from __future__ import annotations

from pathlib import Path

import pytest

from env_sync.config.files import environment_names, source_files
from env_sync.core.errors import NoHieradata, UnknownEnvironment
from tests.unit.hieradata.conftest import Hieradata

EMPTY = "govuk_env_sync::tasks: {}\n"


def test_environments_are_files_and_folders(hieradata: Hieradata) -> None:
    for name in (
        "common.yaml",
        "staging.yaml",
        "integration/a.yaml",
        "both.yaml",
        "both/b.yaml",
        ".x/y.yaml",
    ):
        hieradata.write(name, EMPTY)
    hieradata.write("README.md", "words")
    assert environment_names(hieradata.folder) == ("both", "integration", "staging")
    both = source_files(hieradata.folder, "both")
    assert [each.name for each in both.common] == ["common.yaml"]
    assert [(each.name, each.node_class) for each in both.own] == [
        ("both.yaml", "both"),
        ("both/b.yaml", "b"),
    ]
    assert both.problems == ()


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoHieradata, match="ENV_SYNC_HIERADATA"):
        environment_names(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["common", "nowhere", "../hieradata", "", "integration.yaml"])
def test_an_unknown_environment_is_said(hieradata: Hieradata, name: str) -> None:
    hieradata.write("integration.yaml", EMPTY)
    hieradata.write("common.yaml", EMPTY)
    with pytest.raises(UnknownEnvironment, match="integration"):
        hieradata.read(name)


def test_what_looks_like_hieradata_and_is_not_read_is_said(hieradata: Hieradata) -> None:
    for name in (
        "integration/a.yaml",
        "integration/b.yml",
        "integration/C.YAML",
        "integration/deeper/a.yaml",
        "staging.yml",
        "bad name.yaml",
        "common/a.yaml",
    ):
        hieradata.write(name, EMPTY)
    (hieradata.folder / "hollow").mkdir()
    problems = hieradata.read("integration").problems
    assert {each.place.file for each in problems} == {
        "integration/b.yml",
        "integration/C.YAML",
        "integration/deeper",
        "staging.yml",
        "bad name.yaml",
        "common",
    }
    assert {each.sync for each in problems} == {None}
    assert any("holds no hieradata" in each.read for each in hieradata.read("hollow").problems)
