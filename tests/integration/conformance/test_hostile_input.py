"""Names and values that look like something else stay names and values; nothing secret is among arguments."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from env_sync.domain.report import Result
from env_sync.planning.installation import read_plan
from tests.integration.conformance.hostile import DATABASES, EVERY, NAMES, put, taken, values
from tests.integration.conformance.stage import (
    NEW,
    NEW_LIVE,
    NEW_ROWS,
    OLD,
    OLD_LIVE,
    OLD_ROWS,
    PULL,
    PUSH,
    Stage,
)
from tests.integration.conformance.subject import SOURCE, TARGET


@pytest.mark.probe("values that look like SQL or commands")
def test_values_come_down_as_they_are(stage: Stage, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    # A text of PostgreSQL cannot hold a zero byte.
    texts = values(str(witness), with_zero=stage.subject.dbms != "postgresql")
    put(stage.subject, SOURCE, stage.database, "texts", texts)
    stage.push()
    stage.pull()
    assert taken(stage.subject, TARGET, stage.database, "texts") == texts
    assert not witness.exists()
    stage.settled(NEW_LIVE)


@pytest.mark.probe("names with quotes, percent signs and line breaks")
def test_objects_of_any_name_come_down(stage: Stage) -> None:
    subject, database = stage.subject, stage.database
    names = [name for name in NAMES if put(subject, SOURCE, database, name, [name])]
    assert len(names) > len(NAMES) // 2
    stage.push()
    stage.pull()
    assert {name: taken(subject, TARGET, database, name) for name in names} == {
        name: [name] for name in names
    }
    stage.settled(NEW_LIVE)


@pytest.mark.probe("names with quotes, percent signs and line breaks")
def test_a_database_of_any_name_works_or_is_refused(stage: Stage) -> None:
    if stage.subject.dbms not in EVERY:
        pytest.skip(f"nobody has written yet which names {stage.subject.name} takes")
    neighbour = stage.database
    for name, engines in DATABASES.items():
        stage.database = name
        stage.configure()
        works = False
        refused = any(read_plan(environment).problems for environment in (SOURCE, TARGET))
        if not refused and made(stage):
            works = pushed_and_pulled(stage)
            for environment in (SOURCE, TARGET):
                stage.subject.drop(environment, name)
        assert works == (stage.subject.dbms in engines), name
        stage.database = neighbour
        assert stage.read() == OLD_LIVE, name
        assert stage.subject.copies(TARGET, neighbour) == {"live"}, name


def made(stage: Stage) -> bool:
    """Make the databases above and below; where the server takes no such name, the sync must fail as well."""
    try:
        stage.subject.fill(SOURCE, stage.database, NEW, NEW_ROWS, private=True)
        stage.subject.fill(TARGET, stage.database, OLD, OLD_ROWS, private=False)
    except stage.subject.refusals:
        assert stage.do(PUSH).result is Result.CRITICAL, stage.database
        return False
    return True


def pushed_and_pulled(stage: Stage) -> bool:
    """Whether it was; else live must be as it was, and the name must be what was refused."""
    if all(stage.do(name).result is not Result.CRITICAL for name in (PUSH, PULL)):
        stage.settled(NEW_LIVE)
        return True
    assert "NameRefused" in stage.reports[-1].why[0], stage.reports[-1].why
    stage.settled(OLD_LIVE)
    return False


@pytest.mark.probe("passwords in errors and arguments", engines=["postgresql", "mysql"])
def test_no_password_is_among_the_arguments_of_programs(stage: Stage) -> None:
    if not stage.subject.tools:
        pytest.skip(f"{stage.subject.name} runs no outside program")
    seen: list[str] = []
    start = subprocess.Popen.__init__

    def watched(self: Any, command: list[str], *arguments: Any, **named: Any) -> None:
        seen.append(" ".join(command))
        start(self, command, *arguments, **named)

    stage.monkeypatch.setattr(subprocess.Popen, "__init__", watched)
    stage.push()
    stage.pull()
    assert {tool for tool in stage.subject.tools if any(tool in command for command in seen)}
    for environment in (SOURCE, TARGET):
        password = str(stage.subject.connection(environment)["password"])
        assert [command for command in seen if password in command] == []
    assert [command for command in seen if stage.s3.root.secret_key in command] == []
