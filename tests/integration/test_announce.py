"""Telling others that data is replaced: real commands, and a real HTTP server."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from attrs import field, frozen

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import ServerUnreachable, ToolFailed, ToolMissing
from env_sync.pipeline.announce import Announcement, Event, announce

TOLD = Announcement(
    event=Event.BEGINS,
    environment="integration",
    run="env_sync_integration/scheduled__1",
    databases=("shop", "signon"),
)


@frozen
class Receiver:
    """A server that keeps what it was sent."""

    url: str
    bodies: list[object] = field(factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(503 if self.path.startswith("/broken") else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def tell(hook: str, told: Announcement = TOLD) -> None:
    announce(hook, told, cancellation=Cancellation(), log=logging.getLogger("test"))


def test_a_url_is_sent_what_is_replaced(receiver: Receiver) -> None:
    tell(f"{receiver.url}/hook")
    assert receiver.bodies == [
        {
            "event": "replacing_begins",
            "environment": "integration",
            "run": "env_sync_integration/scheduled__1",
            "databases": ["shop", "signon"],
        }
    ]


def test_a_url_that_fails_is_an_error_that_keeps_the_secret(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(ServerUnreachable, match="answered 503") as failed:
        tell(f"{receiver.url}/broken/secret-token")
    assert failed.value.passing
    assert "secret-token" not in str(failed.value) + caplog.text


def test_nobody_there_is_an_error_that_may_pass() -> None:
    with pytest.raises(ServerUnreachable, match="did not answer"):
        tell("http://127.0.0.1:1/secret-token")


def test_a_scheme_in_capitals_is_one(receiver: Receiver) -> None:
    tell(receiver.url.replace("http://", "HTTP://"))
    assert len(receiver.bodies) == 1


@pytest.mark.parametrize(
    "mistyped", ["htps:/x.test?{}", "https:x.test/{}", "//u:{}@x.test/a", "a={}", "{}@x"]
)
def test_what_may_be_a_mistyped_url_is_told_nowhere(mistyped: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ToolMissing, match="`before_replacing`") as failed:
        tell(mistyped.format("secret-token") + " --go")
    assert "running a command" in caplog.text
    assert "secret-token" not in f"{failed.value} {failed.value.__cause__} {caplog.text}"


def test_a_command_is_given_what_is_replaced(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    tell(f"sh -c 'env | grep ^ENV_SYNC > {seen}'")
    assert set(seen.read_text().splitlines()) == {
        "ENV_SYNC_EVENT=replacing_begins",
        "ENV_SYNC_ENVIRONMENT=integration",
        "ENV_SYNC_RUN=env_sync_integration/scheduled__1",
        "ENV_SYNC_REPLACED_DATABASES=shop,signon",
    }


def test_a_command_that_fails_or_is_missing_is_an_error() -> None:
    with pytest.raises(ToolFailed, match="exit code 3"):
        tell("sh -c 'exit 3'")
    with pytest.raises(ToolMissing, match="no-such-program"):
        tell("no-such-program --begin")
