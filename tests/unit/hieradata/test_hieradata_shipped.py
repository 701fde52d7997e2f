"""Whoever has no rules for the databases of the shipped example is told of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from env_sync.cli.main import app
from env_sync.config.postprocess_rules import NO_RULE, RULES
from env_sync.config.shipped import EXAMPLE, SHIPPED
from tests.unit.hieradata.conftest import Hieradata

ROOT = Path(__file__).parents[3]
CASES = [(database, dbms) for database, (_, engines) in SHIPPED.items() for dbms in engines]


def test_it_is_what_the_example_binds() -> None:
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for binding in yaml.safe_load((ROOT / EXAMPLE).read_text())["govuk_env_sync::postprocess"]:
        rule, databases, dbms = binding["rule"], binding["databases"], binding.get("dbms")
        if rule == NO_RULE:
            continue
        for database in [databases] if isinstance(databases, str) else databases:
            found[database] = (rule, RULES[rule].make.dbms if dbms is None else (dbms,))
    assert found == SHIPPED


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    # The command line sets it, and this takes that back.
    monkeypatch.setenv("ENV_SYNC_HIERADATA", "")


@pytest.mark.parametrize(("database", "dbms"), CASES)
@pytest.mark.parametrize("environment", ["staging", "integration"])
def test_a_pull_of_it_without_the_example_is_noted(
    hieradata: Hieradata, pull: dict[str, str], environment: str, database: str, dbms: str
) -> None:
    sync = {**pull, "dbms": dbms, "database": database, "url": "govuk-production-database-backups"}
    read = hieradata.syncs({"one": sync}, environment=environment)
    assert read.problems == ()
    assert len(read.syncs) == 1
    (note,) = read.notes
    assert str(note.place) == f"{environment}.yaml:2"
    assert f"`{database}` has the rule `{SHIPPED[database][0]}` in the shipped" in note.read
    assert "`govuk_env_sync::postprocess`" in note.right
    shown = CliRunner().invoke(app, ["--hieradata", str(hieradata.folder), "check"])
    assert shown.exit_code == 0
    assert f"note: {note}" in shown.output.splitlines()
    hieradata.write("common.yaml", (ROOT / EXAMPLE).read_text())
    assert hieradata.read(environment).notes == ()


def test_what_speaks_of_it_is_enough(hieradata: Hieradata, pull: dict[str, str]) -> None:
    router = {**pull, "dbms": "mongo", "database": "router"}
    assert hieradata.syncs({"one": {**router, "postprocess": "none"}}).notes == ()
    binding = "[{rule: none, databases: router, environments: [integration, staging]}]"
    assert hieradata.syncs({"one": router}, top=f"govuk_env_sync::postprocess: {binding}").notes == ()


def test_what_does_not_come_down_is_not_noted(hieradata: Hieradata, pull: dict[str, str]) -> None:
    router = {**pull, "dbms": "mongo", "database": "router"}
    for fields in (
        {"action": "push", "url": "govuk-integration-database-backups"},
        {"ensure": "absent"},
        {"dbms": "postgresql"},
        {"database": "another"},
    ):
        assert hieradata.syncs({"one": {**router, **fields}}).notes == ()
    own = {**router, "ensure": "disabled", "url": "govuk-production-database-backups"}
    assert hieradata.syncs({"one": own}, environment="production").notes == ()
