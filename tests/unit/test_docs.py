"""README and docs/ speak of what is there: files, variables, commands, errors."""

from __future__ import annotations

import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from env_sync.cli.main import app
from env_sync.config.setting_fields import ENVIRONMENT_FIELDS, OPTION_FIELDS
from env_sync.config.sync_fields import BUCKET_SYNC_FIELDS, SYNC_FIELDS
from env_sync.core import errors

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = ROOT / "docs" / "decisions"
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in (
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
    )
}
PARTS = ["Context", "Decision", "Consequences", "Alternatives"]
"""Of the page of a decision."""
CODE = ("plugins", "dags", "bin", "sandbox", "deploy")
COMMANDS: dict[str, Any] = vars(typer.main.get_command(app))["commands"]

ERRORS = [
    name
    for name, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, errors.EnvSyncError) and member.__module__ == errors.__name__
]


def text(page: str) -> str:
    return PAGES[page].read_text()


def in_code(pattern: str) -> set[str]:
    files = (path for folder in CODE for path in (ROOT / folder).rglob("*") if path.is_file())
    sources = (path for path in files if "__pycache__" not in path.parts)
    return {found for path in sources for found in re.findall(pattern, path.read_text(errors="replace"))}


def headings(path: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_and_images_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = PAGES[page].parent / name if name else PAGES[page]
        assert path.exists(), target
        assert not anchor or anchor in headings(path), target


@pytest.mark.parametrize("page", PAGES)
def test_a_variable_that_is_named_is_one_that_is_read(page: str) -> None:
    named = set(re.findall(r"\bENV_SYNC_[A-Z_]+", text(page)))
    assert named <= in_code(r"\bENV_SYNC_[A-Z_]+")


def test_every_variable_of_the_product_is_in_the_readme() -> None:
    read = {
        found
        for path in (ROOT / "plugins").rglob("*.py")
        for found in re.findall(r'^[A-Z_]+ = "(ENV_SYNC_[A-Z_]+)"$', path.read_text(), re.MULTILINE)
    }
    assert len(read) >= 6
    assert read <= set(re.findall(r"\bENV_SYNC_[A-Z_]+", text("README.md")))


def commands(page: str) -> Iterator[list[str]]:
    """What follows `env-sync` wherever it is given as code."""
    code = re.findall(r"```.*?```|`[^`\n]+`|^    .+$", text(page), re.MULTILINE | re.DOTALL)
    for part in code:
        for found in re.findall(r"(?<!name: )(?<![\w.])(?:bin/)?env-sync ([a-z]+[^\n`#;]*)", part):
            yield found.split()


@pytest.mark.parametrize("page", PAGES)
def test_a_command_that_is_shown_has_that_name_and_those_options(page: str) -> None:
    for name, *words in commands(page):
        assert name in COMMANDS, name
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, (name, words)


def test_every_command_is_in_the_readme() -> None:
    assert set(COMMANDS) <= {name for name, *_ in commands("README.md")}


@pytest.mark.parametrize("page", PAGES)
def test_a_program_of_the_repository_that_is_named_is_there(page: str) -> None:
    for program in re.findall(r"\b((?:bin|deploy)/[\w.-]*[\w])", text(page)):
        assert (ROOT / program).exists(), program


@pytest.mark.parametrize(
    ("program", "page"),
    [("bin/demo", "README.md"), ("bin/test", "README.md"), ("bin/test", "CONTRIBUTING.md")],
    ids=["demo", "test", "test in CONTRIBUTING"],
)
def test_options_of_the_two_commands_are_theirs(program: str, page: str) -> None:
    said = subprocess.run(
        ["bash", ROOT / program, "--help"], capture_output=True, text=True, check=True
    ).stdout
    for line in re.findall(rf"{program} ((?:--[\w-]+ ?)+)", text(page)):
        for option in line.split():
            assert option in said


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_explained(name: str) -> None:
    lines = [line for line in text("docs/operations.md").splitlines() if f"**{name}**" in line]
    assert len(lines) == 1
    # Right there, and not only as one of a list of names.
    assert re.match(rf"(- )?\*\*{name}\*\*[: ]", lines[0])


def test_no_error_is_explained_that_is_gone() -> None:
    entries = re.findall(r"^- \*\*(\w+)\*\*:", text("docs/operations.md"), re.MULTILINE)
    assert set(entries) <= set(ERRORS)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/configuration.md"])
def test_settings_that_are_named_are_settings(page: str) -> None:
    named = set(re.findall(r"govuk_env_sync::([a-z0-9_]+)", text(page)))
    known = {*ENVIRONMENT_FIELDS, *OPTION_FIELDS, "tasks", "s3_sync_tasks", "postprocess", "monitors"}
    assert named <= known


def test_every_decision_is_in_the_index_and_has_the_same_parts() -> None:
    pages = sorted(DECISIONS.glob("0*.md"))
    assert len(pages) >= 9
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    index = (DECISIONS / "README.md").read_text()
    for page in pages:
        content = page.read_text()
        title = re.match(r"# (.+)\n", content)
        assert title
        status = re.search(r"^Status: (.+)$", content, re.MULTILINE)
        assert status
        assert f"| [{title[1]}]({page.name}) | {status[1]} |" in index
        assert re.findall(r"^## (.+)$", content, re.MULTILINE) == PARTS


def test_the_example_of_a_sync_has_fields_of_a_sync() -> None:
    example = re.search(r"```yaml\n(.*?)```", text("README.md"), re.DOTALL)
    assert example
    fields = set(re.findall(r"^    (\w+):", example[1], re.MULTILINE))
    assert fields
    assert fields <= {*SYNC_FIELDS, *BUCKET_SYNC_FIELDS}
