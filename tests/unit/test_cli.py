"""The commands that need files alone, and how the others read what they are given."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from env_sync.cli import main as cli
from env_sync.cli.main import _say_what_would_be_done, app, main
from env_sync.core.errors import InvalidRequest, UnknownEnvironment, UnknownSync
from env_sync.domain.finding import Checked, note, problem
from env_sync.engines.registry import offered
from env_sync.planning.plan import Plan
from tests.unit.memory_engine import Database, World, open_memory_session, put
from tests.unit.values import REPLACE, SQL, a_plan, a_push, a_sync, moment

NOW = moment("2026-11-23 12:00")
GOOD = """\
govuk_env_sync::tasks:
  push_signon:
    {hour: 1, minute: 0, action: push, dbms: postgresql, storagebackend: s3, database: signon,
     url: govuk-testing-database-backups, path: signon}
  push_search:
    {hour: 1, minute: 0, action: push, dbms: elasticsearch, storagebackend: elasticsearch, database: router,
     url: govuk-testing-database-backups}
"""
BAD = GOOD.replace("hour: 1", "hour: 25", 1)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENV_SYNC_HIERADATA", "ENV_SYNC_TRANSFORMATIONS", "ENV_SYNC_ENVIRONMENTS"):
        monkeypatch.setenv(name, "")
    # So that there are syncs without an engine.
    installed = {name: each for name, each in offered().items() if name != "elasticsearch"}
    monkeypatch.setattr("env_sync.planning.installation.offered", lambda: installed)


def run(folder: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["--hieradata", str(folder), *words], catch_exceptions=False)
    return done.exit_code, done.output


def test_check_without_problems(tmp_path: Path) -> None:
    (tmp_path / "testing.yaml").write_text(GOOD)
    code, output = run(tmp_path, "check")
    assert code == 0
    assert output.splitlines() == [
        "note: testing: need not sanitise what comes down (govuk_env_sync::sanitise)",
        "note: testing: 1 elasticsearch sync left out: no engine for elasticsearch is installed",
        "1 environment, 1 group, 0 problems",
    ]


def test_check_with_a_problem_of_one_environment_shows_it_and_exits_1(tmp_path: Path) -> None:
    (tmp_path / "testing.yaml").write_text(GOOD)
    (tmp_path / "other.yaml").write_text(BAD.replace("testing", "other"))
    code, output = run(tmp_path, "check")
    assert code == 1
    assert output.startswith("other.yaml:3: ")
    assert "25" in output.splitlines()[0]
    assert output.splitlines()[-1] == "2 environments, 1 group, 1 problem"


def test_check_of_chosen_environments(tmp_path: Path) -> None:
    (tmp_path / "testing.yaml").write_text(GOOD)
    (tmp_path / "other.yaml").write_text(BAD.replace("testing", "other"))
    code, output = run(tmp_path, "check", "testing")
    assert code == 0
    assert output.splitlines()[-1] == "1 environment, 1 group, 0 problems"
    with pytest.raises(UnknownEnvironment):
        run(tmp_path, "check", "nowhere")


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A preflight that finds what the environment's name says, and notes what it was asked for."""
    asked: list[tuple[str, ...]] = []

    def preflight(plans: list[Plan], access: object, *, only: list[str], now: dt.datetime) -> object:
        asked.append((*(plan.environment for plan in plans), *only))
        found = {
            "testing": (note("previous is [large]", "Drop it."),),
            "failing": (problem("Role env_sync may not make databases.", "ALTER ROLE env_sync CREATEDB;"),),
        }
        return tuple(
            Checked(
                environment=plan.environment,
                subject="sync push_signon",
                findings=found[plan.environment],
                said="live takes 1.0 MB",
            )
            for plan in plans
        )

    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.setattr("env_sync.pipeline.preflight.preflight", preflight)
    return asked


def test_check_with_connections_prints_what_was_found_and_what_to_do(
    tmp_path: Path, looked: list[tuple[str, ...]]
) -> None:
    (tmp_path / "testing.yaml").write_text(GOOD)
    (tmp_path / "failing.yaml").write_text(GOOD.replace("testing", "failing"))
    code, output = run(tmp_path, "check", "--connect")
    assert code == 1
    assert [line.strip() for line in output.splitlines()[-10:]] == [
        "failing",
        "FAIL  sync push_signon  live takes 1.0 MB",
        "problem: Role env_sync may not make databases.",
        "fix: ALTER ROLE env_sync CREATEDB;",
        "testing",
        "ok    sync push_signon  live takes 1.0 MB",
        "note: previous is [large]",
        "fix: Drop it.",
        "",
        "Servers, buckets and syncs checked: 2; 1 problem, 1 note. Nothing was written.",
    ]
    assert looked == [("failing", "testing")]


def test_notes_alone_are_no_failure_and_a_sync_can_be_chosen(
    tmp_path: Path, looked: list[tuple[str, ...]]
) -> None:
    (tmp_path / "testing.yaml").write_text(GOOD)
    code, _ = run(tmp_path, "check", "--connect", "testing", "--sync", "push_signon")
    assert code == 0
    assert looked == [("testing", "push_signon")]
    with pytest.raises(UnknownSync, match=r"no sync push_search that can run\. There are: push_signon"):
        run(tmp_path, "check", "--connect", "--sync", "push_search")


def test_a_problem_of_the_configuration_is_one_with_connections_as_well(
    tmp_path: Path, looked: list[tuple[str, ...]]
) -> None:
    (tmp_path / "testing.yaml").write_text(BAD)
    assert run(tmp_path, "check", "--connect")[0] == 1
    assert looked == [("testing",)]


def test_a_sync_is_chosen_only_with_connections(tmp_path: Path) -> None:
    (tmp_path / "testing.yaml").write_text(GOOD)
    with pytest.raises(InvalidRequest, match="--connect"):
        run(tmp_path, "check", "--sync", "push_signon")


def test_plan(tmp_path: Path) -> None:
    (tmp_path / "testing.yaml").write_text(GOOD)
    code, output = run(tmp_path, "plan", "testing")
    assert code == 0
    assert output.startswith("testing: window 22:00-08:00 UTC, need not sanitise; 1 group, 0 problems\n")


def test_what_must_be_sanitised_is_told(tmp_path: Path) -> None:
    (tmp_path / "testing.yaml").write_text(f"govuk_env_sync::sanitise: required\n{GOOD}")
    (tmp_path / "production.yaml").write_text("x: 1\n")
    _, output = run(tmp_path, "check")
    assert "note: testing: must sanitise what comes down (govuk_env_sync::sanitise)\n" in output
    assert "note: production" not in output
    assert run(tmp_path, "plan", "testing")[1].startswith("testing: window 22:00-08:00 UTC, must sanitise; ")


def test_our_errors_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["env-sync", "--hieradata", str(tmp_path / "nowhere"), "check"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("env-sync: The hieradata folder ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8h", "2026-11-23 20:00"),
        ("2d", "2026-11-25 12:00"),
        ("1h30m", "2026-11-23 13:30"),
        ("2026-12-01T09:00", "2026-12-01 09:00"),
        ("2026-12-01T09:00+02:00", "2026-12-01 07:00"),
        ("2026-11-24", "2026-11-24 00:00"),
    ],
)
def test_when_a_pause_ends(text: str, expected: str) -> None:
    assert cli._end(text, NOW) == moment(expected)


@pytest.mark.parametrize(
    "text", ["", "h", "tomorrow", "8", "8x", "-8h", "2026-11-23T11:59", "2026-11-23", "99999999999d"]
)
def test_an_end_that_is_none_or_over_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        cli._end(text, NOW)


def test_an_end_always_has_a_zone() -> None:
    assert cli._end("2026-12-01T09:00", NOW).tzinfo is dt.UTC


def test_the_snapshots_of_a_cluster_are_listed_by_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("env_sync.planning.installation.offered", offered)
    (tmp_path / "testing.yaml").write_text(GOOD)
    with pytest.raises(InvalidRequest, match="GET /_snapshot/govuk-testing-database-backups/_all"):
        run(tmp_path, "list", "testing", "router")


def test_pausing_the_pulls_of_a_database() -> None:
    plan = a_plan(a_sync("pull_signon"), a_push("push_signon", "05:00"), a_sync("pull_b", database="b"))
    assert cli._named(plan, "signon", pull_only=True) == ["pull_signon"]
    assert cli._named(plan, "push_signon", pull_only=False) == ["push_signon"]
    with pytest.raises(UnknownSync, match="no pull of a database 'push_signon'"):
        cli._named(plan, "push_signon", pull_only=True)
    with pytest.raises(UnknownSync, match="It has: pull_b, pull_signon, push_signon"):
        cli._named(plan, "signon", pull_only=False)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, []),
        ({"pre_dump_transformation": SQL}, [f"run {SQL} on the copy"]),
        ({"pre_dump_transformation": SQL, "pre_dump_in_place": True}, [f"run {SQL} on live itself"]),
    ],
)
def test_a_dry_run_of_a_push_tells_what_runs_before_the_dump(
    fields: dict[str, Any], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(live=Database(content="yesterday;"))
    _say_what_would_be_done(open_memory_session(world, a_push(**fields)))
    told = capsys.readouterr().out
    assert all(each in told for each in said)
    assert (SQL.name in told) == bool(said)
    assert "Nothing was written" in told
    assert world.journal == []


def test_a_dry_run_of_a_pull_tells_its_postprocess(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    sync = a_sync(transformation=SQL, postprocess=(REPLACE,))
    put(world, "2026-11-23 22:30", "rows;", sync)
    _say_what_would_be_done(open_memory_session(world, sync))
    told = capsys.readouterr().out
    assert "postprocess: replace_text (table: oauth_applications" in told
    assert world.journal == ["choose"]
