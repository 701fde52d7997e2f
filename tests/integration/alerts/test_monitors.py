"""Alerts to real receivers: good ones, and such as are down, slow, broken, strict."""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import psutil
import pytest
from attrs import evolve
from prometheus_client.utils import floatToGoString
from tenacity import wait_none

from env_sync.alerts import sending
from env_sync.alerts.alert import Alert, make_alert
from env_sync.alerts.sending import Recipient, Sent, send_alert
from env_sync.core.cancellation import Cancellation
from env_sync.core.secret import Login, Secret
from env_sync.domain.monitors import Icinga, Nsca, Pushgateway
from env_sync.domain.report import Report, Result
from sandbox import process
from sandbox.certificate import make_certificate
from sandbox.monitor import Monitor

ENDED = dt.datetime(2026, 11, 25, 3, 10, tzinfo=dt.UTC)
LOGIN = Login("env-sync", Secret("only-for-tests-1"))
SERVICE = "GOV.UK environment sync pull_signon"
REPORT = Report(
    environment="integration",
    sync="pull_signon",
    group="pull_signon",
    run="env_sync_integration/scheduled__1",
    action="pull",
    database="signon",
    result=Result.CRITICAL,
    what="sanitise failed, live was not replaced",
    why=("TransformationFailed: sanitise.sql",),
    skipped=False,
    quiet=False,
    seconds=600.0,
    bytes=2_500_000,
    dump_key=None,
    source_environment=None,
    data_time=None,
    unavailable=None,
    awaited=None,
    waited=None,
    reported=ENDED,
)


def an_alert(**values: Any) -> Alert:
    alert = make_alert(evolve(REPORT, **values), next_within=dt.timedelta(hours=28))
    assert alert is not None
    return alert


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "BETWEEN_ATTEMPTS", wait_none())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that no machine knows, and its key."""
    folder = tmp_path_factory.mktemp("authority")
    make_certificate(folder / "ca.pem", folder / "key.pem")
    return folder / "ca.pem", folder / "key.pem"


@pytest.fixture
def strict(authority: tuple[Path, Path]) -> Iterator[Monitor]:
    """It speaks TLS and asks for a login, as Icinga does."""
    with Monitor(
        login=f"{LOGIN.user}:{LOGIN.password.reveal()}", certificate=authority[0], key=authority[1]
    ) as monitor:
        yield monitor


@pytest.fixture
def plain() -> Iterator[Monitor]:
    with Monitor() as monitor:
        yield monitor


def icinga(monitor: Monitor, ca: Path | None = None) -> Icinga:
    return Icinga(
        url=monitor.url,
        host="db-{environment}",
        connection="icinga",
        ca=PurePosixPath(ca) if ca else None,
    )


def send(*recipients: Recipient, alert: Alert | None = None) -> list[Sent]:
    return list(
        send_alert(
            alert or an_alert(), recipients, cancellation=Cancellation(), log=logging.getLogger("test")
        )
    )


def failure(*recipients: Recipient) -> str:
    (sent,) = send(*recipients)
    assert sent.failure is not None
    return sent.failure


class TestIcinga:
    def test_it_is_told_over_tls_with_its_own_authority(
        self, strict: Monitor, authority: tuple[Path, Path]
    ) -> None:
        monitor = icinga(strict, authority[0])
        assert send(Recipient(monitor=monitor, login=LOGIN)) == [Sent(monitor=monitor, failure=None)]
        (told,) = strict.told
        assert (told.method, told.path) == ("POST", "/v1/actions/process-check-result")
        assert told.headers["Accept"] == "application/json"
        assert told.json == {
            "type": "Service",
            "service": f"db-integration!{SERVICE}",
            "exit_status": 2,
            "plugin_output": (
                "CRITICAL: sanitise failed, live was not replaced: TransformationFailed: sanitise.sql\n"
                "600 s\n2.5 MB\n"
                "run env_sync_integration/scheduled__1, group pull_signon, reported 2026-11-25 03:10:00 UTC"
            ),
            "performance_data": ["seconds=600s", "size=2500000B"],
            "check_source": "env_sync integration",
            "ttl": 100_800.0,
        }

    def test_a_certificate_that_is_not_known_is_refused_before_anything_is_said(
        self, strict: Monitor
    ) -> None:
        assert "set `ca`" in failure(Recipient(monitor=icinga(strict), login=LOGIN))
        assert strict.asked == 0

    def test_an_authority_that_is_not_there_is_named(self, strict: Monitor, tmp_path: Path) -> None:
        said = failure(Recipient(monitor=icinga(strict, tmp_path / "none.pem"), login=LOGIN))
        assert "none.pem cannot be read" in said

    def test_a_wrong_password_is_not_tried_again_and_not_told(
        self, strict: Monitor, authority: tuple[Path, Path]
    ) -> None:
        wrong = Login("env-sync", Secret("open-sesame"))
        said = failure(Recipient(monitor=icinga(strict, authority[0]), login=wrong))
        assert said.startswith("AccessRefused: ")
        assert "the user env-sync (401)" in said
        assert "open-sesame" not in said
        assert strict.asked == 1

    def test_a_service_that_is_not_there_is_named(self, plain: Monitor) -> None:
        plain.statuses = [404]
        said = failure(Recipient(monitor=icinga(plain)))
        assert f'has no service "db-integration!{SERVICE}"' in said
        assert plain.asked == 1

    def test_a_redirect_is_not_followed(self, plain: Monitor) -> None:
        with Monitor() as elsewhere:
            plain.statuses, plain.location = [307], elsewhere.url
            assert "answered 307" in failure(Recipient(monitor=icinga(plain), login=LOGIN))
            assert elsewhere.asked == 0

    def test_what_may_pass_is_tried_again(self, plain: Monitor) -> None:
        plain.statuses = [500, 503]
        assert send(Recipient(monitor=icinga(plain)))[0].failure is None
        assert (plain.asked, len(plain.told)) == (3, 1)

    def test_one_that_stays_broken_is_given_up(self, plain: Monitor) -> None:
        plain.statuses = [500] * 9
        assert "answered 500" in failure(Recipient(monitor=icinga(plain)))
        assert plain.asked == sending.ATTEMPTS

    def test_one_that_is_down_is_told_of(self) -> None:
        with Monitor() as monitor:
            down = icinga(monitor)
        assert "did not answer" in failure(Recipient(monitor=down))


def test_a_slow_monitor_holds_up_no_other(plain: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    with Monitor() as slow:
        slow.held.set()
        recipients = [Recipient(monitor=icinga(each)) for each in (slow, plain)]
        alert = an_alert()
        answers = send_alert(alert, recipients, cancellation=Cancellation(), log=logging.getLogger("test"))
        first = next(answers)
        assert (first.monitor, first.failure) == (icinga(plain), None)
        monkeypatch.setattr(sending, "PATIENCE", 0.0)
        answers = send_alert(
            alert, recipients[:1], cancellation=Cancellation(), log=logging.getLogger("test")
        )
        (second,) = answers
        assert second.monitor == icinga(slow)
        assert second.failure is not None
        assert "took longer than" in second.failure


def test_a_task_that_is_cancelled_waits_for_nobody(plain: Monitor) -> None:
    plain.held.set()
    cancellation = Cancellation()
    cancellation.cancel()
    (sent,) = send_alert(
        an_alert(),
        [Recipient(monitor=icinga(plain))],
        cancellation=cancellation,
        log=logging.getLogger("test"),
    )
    assert sent.failure == "the task was cancelled"


def test_a_pushgateway_is_given_metrics_in_the_syncs_group(plain: Monitor) -> None:
    monitor = Pushgateway(url=plain.url)
    alert = an_alert(result=Result.OK, why=(), sync="pull/signon")
    assert send(Recipient(monitor=monitor), alert=alert)[0].failure is None
    (told,) = plain.told
    # A slash in a label is sent in base64, as the Pushgateway asks for it.
    assert told.path == "/metrics/job/env_sync/environment/integration/sync@base64/cHVsbC9zaWdub24="
    # POST adds to what is there; PUT would take the last success away.
    assert told.method == "POST"
    text = told.body.decode()
    ended = floatToGoString(ENDED.timestamp())  # type: ignore[no-untyped-call]  # it has no types
    for metric, value in (
        ("last_success_timestamp_seconds", ended),
        ("last_result", "0.0"),
        ("last_size_bytes", "2.5e+06"),
        ("fresh_within_seconds", "100800.0"),
    ):
        assert f'env_sync_{metric}{{action="pull",database="signon"}} {value}\n' in text


def test_a_pushgateway_that_is_none_is_told_of(plain: Monitor) -> None:
    plain.statuses = [404]
    assert "is `url` the address of a Pushgateway?" in failure(Recipient(monitor=Pushgateway(url=plain.url)))


class TestNsca:
    MONITOR = Nsca(
        server="alert.cluster", host="db-{environment}", config=PurePosixPath("/etc/send_nsca.cfg")
    )

    @pytest.fixture
    def program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder on PATH, for a `send_nsca`."""
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return tmp_path

    def write(self, folder: Path, *lines: str) -> None:
        program = folder / "send_nsca"
        program.write_text("\n".join(("#!/bin/sh", *lines, "")))
        program.chmod(0o755)

    def test_the_program_is_given_one_line(self, program: Path) -> None:
        self.write(program, f'echo "$@" > {program}/arguments', f"cat > {program}/line")
        assert send(Recipient(monitor=self.MONITOR))[0].failure is None
        assert (program / "arguments").read_text() == (
            "-H alert.cluster -p 5667 -to 10 -c /etc/send_nsca.cfg\n"
        )
        assert (program / "line").read_text() == (
            f"db-integration\t{SERVICE}\t2\tCRITICAL: sanitise failed, live was not replaced: "
            "TransformationFailed: sanitise.sql | seconds=600s size=2500000B\n"
        )

    def test_a_program_that_fails_is_tried_again_and_told_of(self, program: Path) -> None:
        self.write(program, f"echo x >> {program}/tries", "echo 'connection refused' >&2", "exit 2")
        said = failure(Recipient(monitor=self.MONITOR))
        assert "exit code 2" in said
        assert "connection refused" in said
        assert (program / "tries").read_text() == "x\n" * sending.ATTEMPTS

    def test_a_program_that_is_not_installed_is_told_of(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        said = failure(Recipient(monitor=self.MONITOR))
        assert said.startswith("ToolMissing: There is no program send_nsca on this worker: install it")

    def test_a_program_that_hangs_is_ended(self, program: Path) -> None:
        self.write(
            program, f"echo $$ > {program}/pid.new", f"mv {program}/pid.new {program}/pid", "sleep 600"
        )
        cancellation = Cancellation()

        def cancel() -> None:
            process.wait_for((program / "pid").exists, "send_nsca to run", 60)
            cancellation.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        (sent,) = send_alert(
            an_alert(),
            [Recipient(monitor=self.MONITOR)],
            cancellation=cancellation,
            log=logging.getLogger("test"),
        )
        canceller.join()
        assert sent.failure == "the task was cancelled"
        pid = int((program / "pid").read_text())
        process.wait_for(lambda: not psutil.pid_exists(pid), "send_nsca to end", 30)
