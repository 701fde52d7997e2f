import datetime as dt
from typing import Any

import pytest
from attrs import evolve

from env_sync.core.serialization import from_plain, to_plain
from env_sync.core.stopwatch import Spent
from env_sync.domain.leftovers import Leftover, Swept
from env_sync.domain.report import Outcome, Report, Result, Skip, make_report, night_table
from tests.unit.values import moment

NOW = moment("2026-11-24 03:10")
PULL = ("start_gate", "download", "restore", "sanitise", "promote")
PUSH = ("start_gate", "dump", "upload")
DOWNLOAD: dict[str, Any] = {
    "dump_key": "signon/2026-11-24T010000Z-signon.gz",
    "size": 2_500_000,
    "source_environment": "staging",
    "born_in": "production",
    "data_time": "2026-11-23T22:00:00+00:00",
    "warnings": [],
}
PROMOTE: dict[str, Any] = {"unavailable": 0.246, "first": False, "previous_kept": True, "warnings": []}
RESULTS: dict[str, Any] = {"download": DOWNLOAD, "promote": PROMOTE}
DUMP: dict[str, Any] = {
    "dump_key": "signon/first-signon.gz",
    "size": 1,
    "data_time": "2026-11-24T03:00:00+00:00",
    "born_in": "integration",
}
UPLOAD: dict[str, Any] = {
    "attempt": "a",
    "dump_key": "signon/second-signon.gz",
    "size": 7,
    "pointer_moved": True,
}


def good(steps: tuple[str, ...]) -> dict[str, str | None]:
    return dict.fromkeys(steps, "success")


def report(action: str = "pull", **outcome: Any) -> Report:
    values: dict[str, Any] = {
        "states": good(PULL if action == "pull" else PUSH),
        "results": RESULTS if action == "pull" else {"dump": DUMP, "upload": UPLOAD},
        "errors": {},
        "skip": None,
        "started": moment("2026-11-24 03:00"),
        "promoted": True if action == "pull" else None,
        **outcome,
    }
    return make_report(
        environment="integration",
        sync=f"{action}_signon",
        group=f"{action}_signon",
        run="env_sync_integration/scheduled__2026",
        action=action,
        database="signon",
        max_dump_age=dt.timedelta(hours=24),
        outcome=Outcome(**values),
        now=NOW,
    )


def test_where_the_time_went_is_told() -> None:
    spent = {
        "download": Spent(seconds=3.21, parts={"download": 1.0, "reading through": 2.14}),
        "promote": Spent(seconds=0.24, parts={"swap": 0.01}),
    }
    made = report(spent=spent)
    assert made.line().endswith(
        "| where the time went: download 3.2 s (download 1.0, reading through 2.1), promote 0.2 s"
    )
    assert from_plain(Report, to_plain(made)) == made
    assert "where the time went" not in report().line()


def test_a_good_pull() -> None:
    made = report()
    assert (made.result, made.what, made.why) == (Result.OK, "pulled and promoted", ())
    assert (made.skipped, made.quiet) == (False, False)
    assert made.line() == (
        "OK: integration pull_signon: pulled and promoted | 600 s | 2.5 MB | "
        "dump signon/2026-11-24T010000Z-signon.gz | data of 2026-11-23 22:00 UTC (5 h old) | "
        "live unavailable for 0.25 s"
    )
    assert made.source_environment == "staging"


SWEPT = Swept(removed=(Leftover(environment="integration", group="pull_mapit", run="r", size=2_500_000),))


def test_what_was_swept_from_workers_is_told_and_changes_nothing() -> None:
    made = report(swept=SWEPT)
    assert (made.result, made.why, made.swept) == (Result.OK, (), SWEPT)
    assert made.line().endswith(
        "| 1 work folder of ended attempts removed from workers, 2.5 MB: pull_mapit of r"
    )
    assert from_plain(Report, to_plain(made)) == made
    assert report().swept is None


@pytest.mark.parametrize("more", [{}, {"skip": Skip(reason="paused")}, {"states": {"download": "failed"}}])
def test_what_could_not_be_swept_is_a_warning(more: dict[str, Any]) -> None:
    made = report(swept=Swept(left=("/work/1 could not be removed",)), **more)
    assert made.result is (Result.CRITICAL if "states" in more else Result.WARNING)
    assert made.why[-1] == "/work/1 could not be removed"


def test_a_good_push_tells_of_the_dump_that_was_uploaded() -> None:
    made = report("push")
    assert (made.result, made.what) == (Result.OK, "pushed")
    assert (made.dump_key, made.bytes) == ("signon/second-signon.gz", 7)


def test_a_push_that_transformed_says_so() -> None:
    ran = [{"name": "sanitise_whitehall.sql", "sha256": "0" * 64}]
    made = report("push", results={"dump": {**DUMP, "transformations": ran}, "upload": UPLOAD})
    assert (made.result, made.what) == (Result.OK, "pushed")
    assert "| transformed by sanitise_whitehall.sql" in made.line()


def test_a_pull_tells_what_ran_on_incoming() -> None:
    ran = [{"name": name, "sha256": "0" * 64} for name in ("sanitise.sql", "postprocess/replace_text")]
    made = report(results={**RESULTS, "sanitise": {"transformations": ran}})
    assert "| transformed by sanitise.sql, postprocess/replace_text | live unavailable" in made.line()


def test_where_nobody_could_look_the_steps_are_believed() -> None:
    assert report(promoted=None).result is Result.OK


@pytest.mark.parametrize(
    ("hours", "result"), [(24, Result.OK), (24.01, Result.WARNING), (200, Result.WARNING)]
)
def test_the_age_of_the_data_is_that_of_its_birth(hours: float, result: Result) -> None:
    born = NOW - dt.timedelta(hours=hours)
    made = report(results={"download": {**DOWNLOAD, "data_time": born.isoformat()}, "promote": PROMOTE})
    assert made.result is result
    if result is Result.WARNING:
        assert "read in production" in made.why[0]
        assert f"{born:%Y-%m-%d %H:%M} UTC" in made.why[0]
        assert DOWNLOAD["dump_key"] in made.why[0]
        assert "limit 24 h" in made.why[0]


def test_a_push_of_old_data_looks_to_the_pull_before_it() -> None:
    made = report(
        "push", results={"dump": {**DUMP, "data_time": "2026-11-01T03:00:00+00:00"}, "upload": UPLOAD}
    )
    assert made.result is Result.WARNING
    assert "look at the pull that should have refreshed it" in made.why[0]


def test_warnings_of_every_step_and_what_was_put_right_are_told() -> None:
    made = report(
        results={
            "download": {**DOWNLOAD, "warnings": ["an upload was abandoned"]},
            "restore": {"warnings": ["role x is not here", "ann could let herself in"]},
            "promote": {**PROMOTE, "warnings": ["ann could let herself in", "previous was in use"]},
        },
        notes=("live was reopened",),
    )
    assert made.result is Result.WARNING
    assert made.why == (
        "an upload was abandoned",
        "role x is not here",
        "ann could let herself in",
        "previous was in use",
        "live was reopened",
    )


@pytest.mark.parametrize(
    ("failed", "after"),
    [("start_gate", PULL[1:]), ("download", PULL[2:]), ("restore", PULL[3:]), ("sanitise", PULL[4:])],
)
def test_a_step_that_failed_is_named_with_its_error(failed: str, after: tuple[str, ...]) -> None:
    states = {**good(PULL), failed: "failed", **dict.fromkeys(after, "upstream_failed")}
    made = report(states=states, results={}, errors={failed: "ToolFailed: exit 1"}, promoted=False)
    assert (made.result, made.what) == (Result.CRITICAL, f"{failed} failed, live was not replaced")
    assert made.why == ("ToolFailed: exit 1",)


@pytest.mark.parametrize("state", ["failed", None, "running", "up_for_retry", "removed", "skipped"])
def test_a_step_that_left_no_message_is_critical_all_the_same(state: str | None) -> None:
    made = report(states={**good(PULL), "restore": state}, results={}, promoted=False)
    assert made.result is Result.CRITICAL
    assert "restore is" in made.why[0]
    assert "left no message" in made.why[0]


@pytest.mark.parametrize(
    ("promoted", "what"),
    [
        (True, "promote failed, live holds the new, sanitised data"),
        (False, "promote failed, live was not replaced"),
        (None, "promote failed, whether live was replaced is unknown"),
    ],
)
def test_after_a_promote_that_was_killed_live_itself_is_asked(promoted: bool | None, what: str) -> None:
    made = report(
        states={**good(PULL), "promote": "failed"}, results={"download": DOWNLOAD}, promoted=promoted
    )
    assert (made.result, made.what) == (Result.CRITICAL, what)
    assert made.replaced is promoted


@pytest.mark.parametrize(
    ("promoted", "states", "replaced"),
    [
        (True, {}, True),
        (None, {}, True),
        (None, {"promote": "failed"}, None),
        (None, {"sanitise": "failed", "promote": "upstream_failed"}, False),
        (False, {"promote": "failed"}, False),
    ],
)
def test_whether_live_was_replaced(
    promoted: bool | None, states: dict[str, str], replaced: bool | None
) -> None:
    assert report(promoted=promoted, states={**good(PULL), **states}).replaced is replaced


def test_a_push_and_a_skip_replace_nothing() -> None:
    assert report("push").replaced is False
    assert report(skip=Skip(reason="paused"), promoted=None).replaced is False


def test_an_undo_says_so() -> None:
    assert not report().undo
    again = {"promote": {**PROMOTE, "advice": "hold the next pull off"}}
    assert report(results=again, undo=True).undo


def test_a_promote_that_was_marked_successful_by_hand_is_critical() -> None:
    made = report(results={"download": DOWNLOAD}, promoted=False)
    assert made.result is Result.CRITICAL
    assert made.what == "promote is marked successful but left no result of this attempt"


def test_so_is_one_whose_result_is_of_an_earlier_attempt() -> None:
    # A step before it was cleared by itself: states and results are there, but live is not this attempt's.
    made = report(promoted=False)
    assert made.result is Result.CRITICAL
    assert made.what == "promote is marked successful but live is not this attempt's"
    assert "clear the group" in made.why[0]


def test_an_upload_that_was_marked_by_hand_is_critical() -> None:
    made = report("push", results={"dump": DUMP})
    assert made.what == "upload is marked successful but left no result of this attempt"


def test_old_data_does_not_soften_a_failure() -> None:
    made = report(
        states={**good(PULL), "restore": "failed"},
        results={"download": {**DOWNLOAD, "data_time": "2026-01-01T00:00:00+00:00"}},
        promoted=False,
    )
    assert made.result is Result.CRITICAL
    assert not any("look at the push" in reason for reason in made.why)


def test_what_could_not_be_put_right_is_critical_and_comes_first() -> None:
    made = report(failures=("the server could not be cleaned up",), notes=("a note",))
    assert (made.result, made.what) == (Result.CRITICAL, "pulled and promoted")
    assert made.why == ("the server could not be cleaned up", "a note")
    made = report(skip=Skip(reason="paused"), failures=("x",))
    assert made.result is Result.CRITICAL


@pytest.mark.parametrize("result", [Result.OK, Result.WARNING])
def test_a_skip_says_why(result: Result) -> None:
    made = report(
        states=dict.fromkeys(PULL, "skipped"),
        results={},
        skip=Skip(reason="paused by ada", result=result),
        started=None,
        promoted=None,
    )
    assert (made.result, made.what, made.why, made.skipped) == (result, "skipped", ("paused by ada",), True)
    assert made.line() == f"{result}: integration pull_signon: skipped | paused by ada"


def test_reports_are_kept_as_plain_data() -> None:
    made = report(notes=("a",))
    assert from_plain(Report, to_plain(made)) == made


def lines(*reports: Report) -> list[str]:
    return night_table(reports).splitlines()


def test_the_table_of_a_night_has_the_worst_first() -> None:
    ok = evolve(report(), group="a_ok")
    critical = evolve(
        ok, group="z_critical", result=Result.CRITICAL, what="restore failed", why=("one", "two")
    )
    warning = evolve(ok, group="m_warning", result=Result.WARNING)
    other = evolve(warning, group="b_warning")
    table = lines(ok, warning, critical, other)
    assert table[0] == "1 CRITICAL, 2 WARNING, 1 OK"
    assert [line.split()[:2] for line in table[2:]] == [
        ["CRITICAL", "z_critical"],
        ["WARNING", "b_warning"],
        ["WARNING", "m_warning"],
        ["OK", "a_ok"],
    ]
    assert table[2].endswith("0.25 s       one; two")
    assert {line.index("restore failed" if "restore" in line else "pulled and") for line in table[2:]} == {
        table[1].index("WHAT")
    }


def test_what_was_not_asked_for_is_only_counted() -> None:
    quiet = evolve(report(), quiet=True, skipped=True)
    assert lines(quiet, quiet) == ["0 CRITICAL, 0 WARNING, 0 OK; 2 not asked for", "Nothing ran."]
    assert lines(report(), quiet)[0] == "0 CRITICAL, 0 WARNING, 1 OK; 1 not asked for"


def test_but_no_failure_is_ever_hidden() -> None:
    hidden = evolve(report(), quiet=True, result=Result.CRITICAL)
    assert lines(hidden)[0] == "1 CRITICAL, 0 WARNING, 0 OK"
    assert len(lines(hidden)) == 3


def test_an_empty_night() -> None:
    assert lines() == ["0 CRITICAL, 0 WARNING, 0 OK", "Nothing ran."]


def test_a_wait_for_the_dump_is_told_with_its_length() -> None:
    gate = {"awaited": "a dump of signon begun at 22:00", "waited": 2040.0, "found": "key", "warnings": []}
    made = report(results={"start_gate": gate, **RESULTS})
    assert made.result is Result.OK
    assert "600 s | before that 2040 s of waiting for a dump of signon begun at 22:00 | " in made.line()
    heading, row = lines(made)[1:]
    assert row[heading.index("WAITED") :].startswith("2040 s ")
    assert "waiting" not in report().line()


def test_a_pull_that_went_on_without_its_dump_is_a_warning() -> None:
    gate = {"awaited": "a dump", "waited": 7200.0, "found": None, "warnings": ["it was awaited"]}
    made = report(results={"start_gate": gate, **RESULTS})
    assert (made.result, made.why) == (Result.WARNING, ("it was awaited",))
