"""NOT SANITISED and SANITISED ABOVE are seen wherever a sync or its data is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from rich.console import Console

from env_sync.board.answers import EnvironmentAnswer
from env_sync.cli.main import _say_what_would_be_done
from env_sync.cli.status_view import print_status
from env_sync.core.serialization import to_plain
from env_sync.domain.manifest import Parent, Transformation
from env_sync.domain.report import Outcome, make_report
from env_sync.domain.sanitising import Badge, badge_of, badge_of_data, badge_text
from env_sync.domain.sync import AnySync
from env_sync.pipeline.dump import dump
from env_sync.pipeline.run import run_group
from env_sync.pipeline.upload import upload
from tests.unit.memory_engine import Database, World, open_memory_session, put
from tests.unit.test_board_pages import page
from tests.unit.test_cli import run as run_command
from tests.unit.test_status import OVER, TONIGHT, a_report, a_summary, status
from tests.unit.test_unsanitised import BY_FILE, BY_REWRITE, BY_RULE, REDACT, SAID, stamped
from tests.unit.values import REPLACE, SQL, a_bucket_sync, a_plan, a_push, a_recovery, a_sync

PARENT = Parent(
    environment="production", key="k", sha256="11" * 32, transformations=(), pulled_into="staging"
)
ABOVE: dict[str, Any] = {"says_none": True, "reason": "Sanitised above, before the push of staging"}


@pytest.fixture(autouse=True)
def _work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV_SYNC_WORK_FOLDER", str(tmp_path / "work"))


@pytest.mark.parametrize(
    ("sync", "badge", "text"),
    [
        (a_sync(transformation=SQL), Badge.SANITISED, ""),
        (a_sync(postprocess=(REDACT,)), Badge.SANITISED, ""),
        (a_sync(postprocess=(REPLACE,)), Badge.NOT, "NOT SANITISED: no transformation"),
        (a_sync(), Badge.NOT, "NOT SANITISED: no transformation"),
        (a_sync(says_none=True), Badge.NOT, "NOT SANITISED: no transformation"),
        (a_sync(**SAID), Badge.NOT, "NOT SANITISED: public"),
        (a_sync(**ABOVE), Badge.ABOVE, f"SANITISED ABOVE: {ABOVE['reason']}"),
        (a_bucket_sync(), Badge.NOT, "NOT SANITISED: no transformation"),
        (a_bucket_sync(**SAID), Badge.NOT, "NOT SANITISED: public"),
        (a_bucket_sync(**ABOVE), Badge.ABOVE, f"SANITISED ABOVE: {ABOVE['reason']}"),
        (a_push(), None, ""),
        (a_push(pre_dump_transformation=SQL), Badge.SANITISED, ""),
        (a_push(**SAID), Badge.NOT, "NOT SANITISED: public"),
        (a_push(**ABOVE), Badge.ABOVE, f"SANITISED ABOVE: {ABOVE['reason']}"),
        (a_recovery(), None, ""),
    ],
)
def test_the_badge_of_a_sync(sync: AnySync, badge: Badge | None, text: str) -> None:
    assert (badge_of(sync), badge_text(sync)) == (badge, text)
    assert text in a_plan(sync, environment=sync.environment).as_text()
    assert text in a_plan(sync, environment=sync.environment).as_markdown()


@pytest.mark.parametrize(
    ("here", "above", "parents", "badge"),
    [
        ((), (), (), Badge.NOT),
        ((), (), (PARENT,), Badge.NOT),
        ((BY_REWRITE,), (BY_REWRITE,), (evolve(PARENT, transformations=(BY_REWRITE,)),), Badge.NOT),
        ((BY_FILE,), (), (), Badge.SANITISED),
        ((BY_RULE,), (BY_FILE,), (), Badge.SANITISED),
        ((), (BY_FILE,), (), Badge.ABOVE),
        ((BY_REWRITE,), (), (PARENT, evolve(PARENT, transformations=(BY_FILE,))), Badge.ABOVE),
        ((), (), (evolve(PARENT, before=(BY_FILE,)),), Badge.ABOVE),
    ],
)
def test_the_badge_of_data(
    here: tuple[Transformation, ...],
    above: tuple[Transformation, ...],
    parents: tuple[Parent, ...],
    badge: Badge,
) -> None:
    assert badge_of_data(here, above, parents) is badge


@pytest.mark.parametrize(
    ("world", "badge", "reason"),
    [
        (World(live=Database(content="own;")), Badge.NOT, ""),
        (stamped(), Badge.NOT, ""),
        (stamped(reason="public"), Badge.NOT, "public"),
        (stamped(BY_FILE), Badge.SANITISED, ""),
        (stamped(above=(BY_FILE,), reason="sanitised above"), Badge.ABOVE, "sanitised above"),
    ],
)
def test_a_manifest_has_a_badge(world: World, badge: Badge, reason: str) -> None:
    run_group(open_memory_session(world, a_push()), lambda step: None)
    [manifest] = world.manifests.values()
    assert (manifest.sanitised, manifest.reason) == (badge, reason)


def test_the_manifest_of_a_push_that_sanitises_says_so(tmp_path: Path) -> None:
    sql = tmp_path / "a.sql"
    sql.write_text("clean;")
    world = stamped()
    above = a_push(pre_dump_transformation=sql, environment="staging", url="govuk-staging-database-backups")
    run_group(open_memory_session(world, above), lambda step: None)
    [manifest] = world.manifests.values()
    assert manifest.sanitised == Badge.SANITISED
    # Whoever pulls it and passes it on knows that.
    below = World(live=Database(content="old;"), objects=world.objects)
    below.manifests, below.pointer = world.manifests, world.pointer
    report = run_group(open_memory_session(below, a_sync(**ABOVE)), lambda step: None)
    assert report.badge == Badge.ABOVE
    assert f"SANITISED ABOVE: {ABOVE['reason']}" in report.line()
    # In its own bucket there is no dump yet.
    below.objects, below.manifests = {}, {}
    passing = open_memory_session(below, a_push())
    passing.engine.take_lease(at_most=1)
    upload(passing, dump(passing))
    passed_on = below.manifests[str(below.pointer)]
    assert passed_on.sanitised == Badge.ABOVE
    assert passed_on.parents[0].before == manifest.transformations


def test_a_report_of_a_pull_has_a_badge() -> None:
    sync = a_sync(**SAID)
    world = World(live=Database(content="old;"))
    put(world, "2026-11-23 22:30", "rows;", sync)
    report = run_group(open_memory_session(world, sync), lambda step: None)
    assert (report.badge, report.reason) == (Badge.NOT, "public")
    assert "| NOT SANITISED: public |" in report.line()


def test_the_board_shows_the_badges_of_a_sync_of_its_data_and_in_the_dialog() -> None:
    held = a_report(TONIGHT, badge="SANITISED ABOVE", reason="held <b>")
    plan = a_plan(a_sync("pull_signon", "03:00", **SAID))
    seen = status(plan, tasks=OVER, summaries=[TONIGHT], reports=[held])
    sync = seen.syncs[0]
    assert (sync.badge, sync.reason) == ("NOT SANITISED", "public")
    assert sync.holding is not None
    assert (sync.holding.badge, sync.holding.reason) == ("SANITISED ABOVE", "held <b>")
    shown = page(seen)
    assert '<span class="badge warning" title="public">NOT SANITISED</span>' in shown
    assert '<span class="badge running" title="held &lt;b&gt;">SANITISED ABOVE</span>' in shown
    assert 'data-badge="NOT SANITISED" data-reason="public"' in shown
    assert '<p data-when="badge"><span class="badge warning" data-fill="badge">' in shown


def test_the_board_shows_no_badge_of_what_is_sanitised() -> None:
    seen = status(a_plan(a_sync("pull_signon", "03:00", transformation=SQL)), summaries=[TONIGHT])
    shown = page(seen)
    assert "SANITISED<" not in shown
    assert "data-badge=" not in shown


def test_the_night_in_a_terminal_shows_it() -> None:
    console = Console(record=True, width=200)
    print_status(console, EnvironmentAnswer.of(status(a_plan(a_sync("pull_signon", "03:00")))))
    assert "NOT SANITISED" in console.export_text()


@pytest.mark.parametrize("sync", [a_sync(**SAID), a_bucket_sync(**SAID)], ids=["pull", "bucket sync"])
def test_a_dry_run_shows_it(
    sync: AnySync, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    if sync.pulls_dump:
        put(world, "2026-11-23 22:30", "rows;", sync)  # type: ignore[arg-type]
    monkeypatch.setattr("env_sync.pipeline.bucket_sync.what_would_be_done", lambda session: "would copy")
    _say_what_would_be_done(open_memory_session(world, sync))
    assert "  NOT SANITISED: public\n" in capsys.readouterr().out


def test_check_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The command line sets it, and this takes that back.
    monkeypatch.setenv("ENV_SYNC_HIERADATA", "")
    (tmp_path / "testing.yaml").write_text(
        """\
govuk_env_sync::tasks:
  pull_signon:
    {hour: 1, minute: 0, action: pull, dbms: postgresql, storagebackend: s3, database: signon,
     url: govuk-staging-database-backups, path: signon}
govuk_env_sync::s3_sync_tasks:
  mirror:
    {hour: 1, minute: 0, source_bucket: a-staging, destination_bucket: a-testing,
     transformation_sql_filename: none, reason: public}
"""
    )
    code, output = run_command(tmp_path, "check")
    assert code == 0
    assert output.splitlines()[:3] == [
        "note: testing: need not sanitise what comes down (govuk_env_sync::sanitise)",
        "note: testing.yaml:6: testing mirror: NOT SANITISED: public",
        "note: testing.yaml:2: testing pull_signon: NOT SANITISED: no transformation",
    ]


def test_a_result_of_an_earlier_version_has_no_badge() -> None:
    def plain(**left: Any) -> Any:
        outcome = Outcome(
            states={"promote": "success"},
            results={"promote": left},
            errors={},
            skip=None,
            started=None,
        )
        return to_plain(
            make_report(
                environment="integration",
                sync="pull_signon",
                group="pull_signon",
                run="r",
                action="pull",
                database="signon",
                max_dump_age=a_sync().options.max_dump_age,
                outcome=outcome,
                now=a_report(a_summary()).reported,
            )
        )

    assert plain()["badge"] == ""
    assert plain(badge="NOT SANITISED", reason="x")["reason"] == "x"
