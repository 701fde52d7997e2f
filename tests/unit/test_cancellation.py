import os
import signal

import pytest

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import Cancelled


def test_work_goes_on_until_it_is_cancelled() -> None:
    cancellation = Cancellation()
    cancellation.check()
    before = cancellation.cancelled
    cancellation.cancel()
    assert (before, cancellation.cancelled) == (False, True)
    with pytest.raises(Cancelled):
        cancellation.check()


def test_a_cancel_stops_what_is_waited_for_the_newest_first() -> None:
    cancellation = Cancellation()
    called: list[str] = []

    def work() -> None:
        with (
            cancellation.calling(lambda: called.append("outer")),
            cancellation.calling(lambda: called.append("inner")),
        ):
            cancellation.cancel()
            cancellation.cancel()

    with pytest.raises(Cancelled):
        work()
    assert called == ["inner", "outer", "inner", "outer"]


def test_what_is_over_is_not_called() -> None:
    cancellation = Cancellation()
    called: list[str] = []
    with cancellation.calling(lambda: called.append("over")):
        pass
    cancellation.cancel()
    assert called == []


def test_nothing_begins_after_a_cancel() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    began = False
    with pytest.raises(Cancelled), cancellation.calling(lambda: None):
        began = True
    assert not began


def test_an_error_of_the_work_is_not_hidden_and_its_callback_is_gone() -> None:
    cancellation = Cancellation()
    called: list[str] = []
    with pytest.raises(ZeroDivisionError), cancellation.calling(lambda: called.append("x")):
        raise ZeroDivisionError
    cancellation.cancel()
    assert called == []


def test_a_signal_may_cancel_at_any_instant() -> None:
    cancellation = Cancellation()
    called: list[str] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: cancellation.cancel())
    try:
        with pytest.raises(Cancelled), cancellation.calling(lambda: called.append("stopped")):
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert called == ["stopped"]


def test_after_a_reset_things_can_be_put_right() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    cancellation.reset()
    with cancellation.calling(lambda: None):
        cancellation.check()
