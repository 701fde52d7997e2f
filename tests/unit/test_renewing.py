from __future__ import annotations

import logging
import threading

import pytest

from env_sync.core.errors import LeaseLost, ServerUnreachable
from env_sync.engines.base import renewing as module
from env_sync.engines.base.renewing import renewing

LOG = logging.getLogger("env_sync.tests")
SOON = 0.001


def at_work() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "env_sync lease"]


def test_what_passes_is_tried_again_from_the_first_time_on(caplog: pytest.LogCaptureFixture) -> None:
    tries, renewed = list[int](), threading.Event()

    def renew() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ServerUnreachable("it is away")
        renewed.set()

    with renewing(renew, SOON, LOG):
        assert renewed.wait(30)
    assert caplog.text.count("The lease could not be renewed, and is tried again: it is away") == 2


def test_a_lost_lease_ends_it_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    tries, tried = list[int](), threading.Event()

    def renew() -> None:
        tries.append(1)
        tried.set()
        raise LeaseLost("another has it")

    with renewing(renew, SOON, LOG):
        assert tried.wait(30)
        for thread in at_work():
            thread.join(30)
        assert at_work() == []
    assert tries == [1]
    assert "another has it" in caplog.text


def test_it_ends_with_the_block() -> None:
    renewed = threading.Event()
    with renewing(renewed.set, SOON, LOG):
        assert renewed.wait(30)
        # One that still waits for a server does not keep the process from ending.
        assert [thread.daemon for thread in at_work()] == [True]
    assert at_work() == []


def test_a_server_that_does_not_answer_does_not_hold_the_end_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()

    def renew() -> None:
        asked.set()
        assert answer.wait(30)

    monkeypatch.setattr(module, "LAST", module.LAST / 1000)
    with renewing(renew, SOON, LOG):
        assert asked.wait(30)
    (waiting,) = at_work()
    answer.set()
    waiting.join(30)
    assert at_work() == []
