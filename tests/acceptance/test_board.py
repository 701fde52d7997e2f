"""The board in a real Airflow: its API, who may do what, and its pages in a real browser."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.browser import PATIENCE, Visitor, chromium, visiting
from tests.acceptance.caller import API, Caller
from tests.acceptance.scene import BUCKET, DATABASES, Scene

ROOT = Path(__file__).resolve().parents[2]
DAG = "env_sync_integration"
INTEGRATION = f"{API}/environments/integration"


@pytest.fixture(scope="module")
def admin(scene: Scene) -> Caller:
    return Caller(scene, "admin")


@pytest.fixture(scope="module")
def viewer(scene: Scene) -> Caller:
    return Caller(scene, "viewer")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def pulled(scene: Scene, admin: Caller) -> str:
    """The run of a pull of the newest of shop's dumps, taken from the bucket's list, started by the API."""
    newest = admin.get(f"{INTEGRATION}/syncs/pull_shop/dumps")[0]
    asked = {"only": ["pull_shop"], "timestamp": newest["timestamp"]}
    started = admin("POST", f"{INTEGRATION}/runs", asked)
    assert started.status_code == 201, started.text
    run: str = started.json()["run"]
    scene.finish("integration", run)
    return run


def sync(caller: Caller, name: str, environment: str = "integration") -> dict[str, Any]:
    status = caller.get(f"{API}/environments/{environment}")
    found: dict[str, Any] = next(each for each in status["syncs"] if each["sync"] == name)
    return found


def audit(scene: Scene, event: str) -> list[dict[str, Any]]:
    logs: list[dict[str, Any]] = scene.api.request("GET", f"eventLogs?event={event}")["event_logs"]
    return logs


def test_nothing_is_told_to_whoever_is_not_logged_in(scene: Scene, admin: Caller) -> None:
    nobody = Caller(scene, None)
    document = admin.get(f"{API}/openapi.json")
    assert len(document["paths"]) >= 9
    for path, methods in document["paths"].items():
        for method in methods:
            asked = re.sub(r"\{\w+\}", "integration", f"/env-sync{path}")
            assert nobody(method.upper(), asked).status_code == 401, (method, path)
    assert nobody("GET", f"{API}/openapi.json").status_code == 401
    for page in ("/env-sync/", "/env-sync/environments/integration", "/env-sync/api"):
        answer = nobody("GET", page)
        assert answer.status_code == 307
        assert "/auth/login?next=" in answer.headers["location"]


def test_a_pull_is_told_with_what_live_holds(scene: Scene, admin: Caller, pulled: str) -> None:
    found = sync(admin, "pull_shop")
    assert (found["result"], found["last"]["what"]) == ("OK", "pulled and promoted")
    assert found["last"]["run"] == f"{DAG}/{pulled}"
    assert found["holding"]["source_environment"] == "production"
    assert found["holding"]["transformations"] == ["anonymise.sql"]
    assert found["holding"]["dump_key"] == found["last"]["dump_key"]
    assert found["last"]["unavailable"] < 60
    assert found["last"]["replaced"] is True
    assert found["undo"] == "shop"
    assert found["freshness"]["limit"] == "P1DT4H"
    never = sync(admin, "pull_gallery")
    if never["last"] is None:
        assert never["result"] == "CRITICAL"
        assert "no successful run on record" in never["why"][0]
    assert sync(admin, "push_shop", "production")["result"] == "OK"


def test_dumps_and_manifests_are_those_of_the_bucket(scene: Scene, viewer: Caller) -> None:
    (newest, *_) = viewer.get(f"{INTEGRATION}/syncs/pull_shop/dumps")
    assert newest["key"] in scene.s3.keys(BUCKET)
    manifest = viewer.get(f"{INTEGRATION}/syncs/pull_shop/dumps/{newest['timestamp']}/manifest")
    assert (manifest["key"], manifest["born_in"], manifest["size"]) == (
        newest["key"],
        "production",
        newest["size"],
    )
    assert viewer("GET", f"{INTEGRATION}/syncs/pull_nothing/dumps").status_code == 404


def test_what_is_done_is_in_the_audit_log_with_the_users_name(scene: Scene, pulled: str) -> None:
    entries = [entry for entry in audit(scene, "env_sync_run") if entry["run_id"] == pulled]
    assert [(entry["owner"], entry["dag_id"]) for entry in entries] == [("admin", DAG)]
    assert "pull_shop" in entries[0]["extra"]


REFUSED = [
    ("POST", f"{INTEGRATION}/runs", {"only": ["pull_shop"]}),
    ("POST", f"{INTEGRATION}/runs", {"restore_previous": "shop"}),
    ("POST", f"{INTEGRATION}/rerun", {"run": "manual__1"}),
    ("PUT", f"{INTEGRATION}/syncs/pull_shop/pause", {"why": "x", "until": "2999-01-01T00:00:00Z"}),
    ("DELETE", f"{INTEGRATION}/syncs/pull_shop/pause", None),
]


@pytest.mark.parametrize(("method", "path", "body"), REFUSED)
def test_a_viewer_is_refused_by_the_server(
    scene: Scene, viewer: Caller, method: str, path: str, body: object
) -> None:
    before = len(scene.api.runs(DAG))
    assert viewer(method, path, body).status_code == 403
    assert len(scene.api.runs(DAG)) == before
    assert "env_sync_pause_integration_pull_shop" not in scene.api.variables()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Env-Sync": "board", "Sec-Fetch-Site": "cross-site"},
        {"X-Env-Sync": "board", "Sec-Fetch-Site": "same-site"},
        {"X-Env-Sync": "board", "Origin": "https://elsewhere.example"},
        {"X-Env-Sync": "board", "Origin": "null"},
        {"Authorization": "Bearer"},
    ],
)
def test_a_cookie_alone_does_nothing_that_another_site_sends(scene: Scene, headers: dict[str, str]) -> None:
    forged = Caller(scene, "admin")
    forged.with_cookie()
    body = {"why": "forged", "until": "2999-01-01T00:00:00Z"}
    answer = forged("PUT", f"{INTEGRATION}/syncs/pull_shop/pause", body, headers=headers)
    assert (answer.status_code, "own page" in answer.text) == (403, True)
    assert "env_sync_pause_integration_pull_shop" not in scene.api.variables()


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("runs", {"only": ["pull_shoppe"]}, 400, "did you mean 'pull_shop'"),
        ("runs", {}, 400, "Nothing was chosen"),
        ("runs", {"onyl": ["pull_shop"]}, 422, "onyl"),
        (
            "runs",
            {"only": ["pull_shop", "pull_archive"], "timestamp": "2026-11-23T010000Z"},
            400,
            "exactly one",
        ),
        ("runs", {"only": ["pull_shop"], "timestamp": "../../x"}, 400, "`timestamp`"),
        ("runs", {"only": ["pull_shop"], "timestamp": "\x00"}, 400, "`timestamp`"),
        ("runs", {"only": ["pull_shop"], "confirm": "a\x00"}, 400, "`confirm`"),
        ("runs", {"only": ["../../x"]}, 400, "`only`"),
        ("rerun", {"run": "no such run"}, 400, "has no run"),
    ],
)
def test_what_cannot_be_is_refused_and_said(
    scene: Scene, admin: Caller, path: str, body: object, status: int, told: str
) -> None:
    before = len(scene.api.runs(DAG))
    answer = admin("POST", f"{INTEGRATION}/{path}", body)
    assert answer.status_code == status
    assert told in answer.text
    assert len(scene.api.runs(DAG)) == before


def test_a_pause_needs_an_end_that_is_to_come(admin: Caller) -> None:
    path = f"{INTEGRATION}/syncs/pull_shop/pause"
    assert admin("PUT", path, {"why": "x", "until": "2020-01-01T00:00:00Z"}).status_code == 400
    assert admin("PUT", path, {"why": "x", "until": "2999-01-01T00:00:00"}).status_code == 422
    assert admin("PUT", path, {"until": "2999-01-01T00:00:00Z"}).status_code == 422
    assert admin.get(f"{INTEGRATION}/pauses") == {}


def test_what_is_being_replaced_is_told_and_what_failed_runs_again(scene: Scene, admin: Caller) -> None:
    """A pull is stopped while it sanitises, run again by the board, and stopped again."""

    def window() -> dict[str, Any]:
        found: dict[str, Any] = admin.get(f"{INTEGRATION}/window")
        return found

    with scene.held("integration", "museum"):
        asked = {"only": ["pull_museum_slowly"]}
        run = admin("POST", f"{INTEGRATION}/runs", asked).json()["run"]
        began = dt.datetime.now(dt.UTC)
        for clears in ((), ("pull_museum_slowly",)):
            if clears:
                told = admin("POST", f"{INTEGRATION}/rerun", {"run": run}).json()
                assert told == {"run": run, "groups": list(clears)}
                assert admin("POST", f"{INTEGRATION}/rerun", {"run": run}).status_code == 400
            scene.api.wait_for_task(DAG, run, "pull_museum_slowly.sanitise", ["running"])
            now = window()
            assert (now["replacing"], now["databases"]) == (True, ["museum"])
            assert began <= dt.datetime.fromisoformat(now["since"]) <= dt.datetime.now(dt.UTC)
            at_work = sync(admin, "pull_museum_slowly")["now"]
            assert (at_work["phase"], at_work["step"], at_work["run"]) == ("running", "sanitise", run)
            scene.api.mark_task(DAG, run, "pull_museum_slowly.sanitise", "failed")
            scene.finish("integration", run, "failed")
            assert window()["replacing"] is False
            assert sync(admin, "pull_museum_slowly")["result"] == "CRITICAL"


@pytest.fixture
def by_admin(scene: Scene, browser: Browser, pulled: str) -> Iterator[Visitor]:
    with visiting(browser, scene.airflow, "admin") as visitor:
        yield visitor
        assert visitor.complaints == []
        assert visitor.hosts == {scene.airflow.url.removeprefix("http://")}


def test_the_page_is_in_airflows_own_frame_and_leads_to_its_pages(by_admin: Visitor) -> None:
    page = by_admin.page
    by_admin.open("/")
    page.get_by_role("link", name="Data sync").click()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("link", name="integration").first).to_be_visible()
    frame.get_by_role("navigation").get_by_role("link", name="integration").click()
    expect(frame.locator("h1")).to_contain_text("integration")
    row = frame.locator("table.databases tbody", has_text="pull_shop")
    expect(row).to_contain_text("production's data")
    expect(row).to_contain_text("sanitised by anonymise.sql")
    row.get_by_role("link", name="pull_shop").click()
    page.wait_for_url(re.compile(rf"/dags/{DAG}/runs/.+/tasks/group/pull_shop"))


def test_a_pause_asks_first_and_is_ended_again(scene: Scene, by_admin: Visitor) -> None:
    page = by_admin.page
    by_admin.open("/env-sync/environments/integration")
    row = page.locator("table.databases tr", has_text="pull_gallery")
    row.get_by_role("button", name="Pause pull_gallery").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Pause pull_gallery in integration?")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert "env_sync_pause_integration_pull_gallery" not in scene.api.variables()
    page.keyboard.press("Enter")
    # Without a reason the browser does not send it.
    dialog.get_by_role("button", name="Pause", exact=True).click()
    expect(dialog).to_be_visible()
    dialog.get_by_label("Reason").fill("a <b>migration</b>")
    dialog.get_by_role("button", name="3 days").click()
    dialog.get_by_role("button", name="Pause", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("status")).to_have_text("pull_gallery is paused.")
    expect(row).to_contain_text("Paused by admin until")
    expect(row).to_contain_text("a <b>migration</b>")
    (entry,) = [each for each in audit(scene, "env_sync_pause") if each["dag_id"] == DAG]
    assert (entry["owner"], "migration" in entry["extra"]) == ("admin", True)
    row.get_by_role("button", name="Resume pull_gallery").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(row.get_by_role("button", name="Pause pull_gallery")).to_be_visible()
    assert "env_sync_pause_integration_pull_gallery" not in scene.api.variables()


def test_a_run_is_started_with_a_dump_of_the_buckets_list(scene: Scene, by_admin: Visitor) -> None:
    page = by_admin.page
    by_admin.open("/env-sync/environments/integration")
    before = {run.id for run in scene.api.runs(DAG)}
    page.get_by_role("button", name="Run pull_archive now").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("This replaces archive in integration")
    expect(dialog.get_by_label("Dump").locator("option")).not_to_have_count(1)
    dialog.get_by_label("Dump").select_option(index=1)
    dialog.get_by_role("button", name="Run now").click()
    expect(page.get_by_role("status")).to_have_text("pull_archive was started.")
    (run,) = [run for run in scene.api.runs(DAG) if run.id not in before]
    scene.finish("integration", run.id)
    assert scene.sanitised("integration", "archive")
    # The page renews itself.
    row = page.locator("table.databases tr", has_text="pull_archive")
    expect(row.locator(".badge")).to_have_text("OK")


def test_a_viewer_sees_all_and_has_no_buttons(scene: Scene, browser: Browser, pulled: str) -> None:
    with visiting(browser, scene.airflow, "viewer") as visitor:
        visitor.open("/env-sync/environments/integration")
        expect(visitor.page.locator("table.databases tbody", has_text="pull_shop")).to_be_visible()
        assert visitor.page.get_by_role("button").count() == 0
        visitor.open("/env-sync/api")
        expect(visitor.page.get_by_text("/api/v1/environments/{environment}/window")).to_be_visible()
        assert visitor.complaints == []


def test_a_page_that_cannot_be_read_anew_says_so_until_it_can(by_admin: Visitor) -> None:
    by_admin.open("/env-sync/environments/integration")
    page, said = by_admin.page, by_admin.page.locator("#said")
    # What a proxy answers while Airflow's api-server starts.
    page.route("**/environments/integration", lambda route: route.fulfill(status=502, body="<html></html>"))
    page.evaluate("refresh()")
    expect(said).to_contain_text("answered 502")
    expect(said).to_contain_text("may be out of date")
    page.unroute_all()
    page.evaluate("refresh()")
    expect(said).to_be_empty()


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_beside_the_screen(
    scene: Scene, browser: Browser, pulled: str, dark: bool
) -> None:
    with visiting(browser, scene.airflow, "admin", width=390, dark=dark) as visitor:
        for path in ("/env-sync/", "/env-sync/environments/integration"):
            visitor.open(path)
            expect(visitor.page.locator("#board")).to_be_visible()
            assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390
        ground = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(18, 21, 26)") is dark


def test_the_page_and_the_api_answer_for_all_syncs(admin: Caller, pulled: str) -> None:
    status = admin.get(f"{API}/environments/production")
    assert {each["database"] for each in status["syncs"]} == set(DATABASES)
    assert {each["environment"] for each in admin.get(f"{API}/environments")} >= {"production", "integration"}
    runs = {run["run"]: run for run in admin.get(f"{API}/environments/integration/runs")}
    assert (runs[pulled]["by"], runs[pulled]["nightly"]) == ("admin", False)
    assert admin("GET", f"{API}/environments/nowhere").status_code == 404


def env_sync(
    scene: Scene, *words: str, user: str = "viewer", **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run `bin/env-sync`, as on a laptop that has no Airflow of its own."""
    login = {
        "ENV_SYNC_AIRFLOW_URL": scene.airflow.url,
        "ENV_SYNC_AIRFLOW_USER": user,
        "ENV_SYNC_AIRFLOW_PASSWORD": scene.airflow.passwords[user],
        **changes,
    }
    known = {"PATH": os.environ["PATH"], "ENV_SYNC_PYTHON": sys.executable, "COLUMNS": "160"}
    return subprocess.run(
        [ROOT / "bin" / "env-sync", *words],
        env={**known, "NO_PROXY": "127.0.0.1", **login},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_night_is_printed_in_a_terminal(scene: Scene, pulled: str) -> None:
    done = env_sync(scene, "status", "integration")
    # Those that never ran are stale.
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"^ OK +pull_shop .*pulled and promoted at", done.stdout, re.MULTILINE)
    assert "CRITICAL" in done.stdout.splitlines()[0]
    good = env_sync(scene, "status", "production")
    assert "push_shop" in good.stdout


@pytest.mark.parametrize(
    ("words", "changes", "told"),
    [
        (["status", "nowhere"], {}, "There is no environment 'nowhere' here; there are: clusters,"),
        (["status"], {"ENV_SYNC_AIRFLOW_PASSWORD": "wrong"}, "refused viewer with this password"),
        (["status"], {"ENV_SYNC_AIRFLOW_PASSWORD": ""}, "No login for"),
        (["status"], {"ENV_SYNC_AIRFLOW_TOKEN": "wrong"}, "the token is not valid"),
        (["status"], {"ENV_SYNC_AIRFLOW_URL": "http://127.0.0.1:1"}, "does not answer (ConnectError)"),
        (["status"], {"ENV_SYNC_AIRFLOW_URL": ""}, "Airflow's address is not given"),
    ],
)
def test_a_night_that_cannot_be_asked_for_says_what_to_do(
    scene: Scene, words: list[str], changes: dict[str, str], told: str
) -> None:
    done = env_sync(scene, *words, **changes)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_previous_is_restored(scene: Scene, admin: Caller, pulled: str) -> None:
    scene.servers["integration"].execute("UPDATE people SET email = 'mark ' || id", database="shop")
    started = admin("POST", f"{INTEGRATION}/runs", {"restore_previous": "shop"})
    scene.finish("integration", started.json()["run"])
    assert not any(email.startswith("mark ") for email in scene.emails("integration", "shop"))
    found = sync(admin, "pull_shop")
    assert found["last"]["undo"] is True
    assert found["holding"]["undo"] is True
    entries = [each for each in audit(scene, "env_sync_restore_previous") if each["dag_id"] == DAG]
    assert [entry["owner"] for entry in entries] == ["admin"]


@pytest.mark.usefixtures("alone")
def test_the_window_is_told_while_the_scheduler_is_down(scene: Scene, admin: Caller) -> None:
    told = admin.get(f"{INTEGRATION}/window")
    assert told["replacing"] is False
    scene.airflow.components["scheduler"].stop()
    began = dt.datetime.now(dt.UTC)
    try:
        assert admin.get(f"{INTEGRATION}/window") | {"at": told["at"]} == told
    finally:
        scene.airflow.start_component("scheduler")

    def well() -> bool:
        beat = scene.api.health()["scheduler"]["latest_scheduler_heartbeat"]
        return dt.datetime.fromisoformat(beat) >= began

    scene.api.wait_for(well, "the scheduler to be up again")
    scene.run("integration", only=["pull_shop"])
