"""Watching a library through which Env Sync works, right where it is about to do something.

Only what Env Sync does is told: its sessions carry its name, the tests' own do not. Nothing here knows how an
engine is built.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import pytest
from attrs import define

OURS = "env_sync"
"""Begins the name that each session of Env Sync gives to its server, and that of no session of a test."""


@define(eq=False)
class Session:
    """A connection to a server, or what a library has in its place."""

    name: str
    """What it calls itself at the server."""
    target: str = ""
    """The database that it is connected to."""
    port: int | None = None
    number: int | None = None
    """What the server calls it."""


class Watcher:
    """Is told what a library does, in the thread that does it."""

    def opened(self, session: Session) -> None:
        """A session was opened."""

    def sends(self, session: Session, text: str, values: object) -> None:
        """A statement is about to be sent; `values` are those that go apart from its text."""

    def sent(self, session: Session, text: str, values: object) -> None:
        """It was sent and answered, or failed."""

    def closed(self, session: Session) -> None:
        """A session was closed."""


class Driver(ABC):
    """A library, patched while somebody watches it."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []
        self._patched: pytest.MonkeyPatch | None = None
        self._telling = threading.local()

    @abstractmethod
    def patch(self, patched: pytest.MonkeyPatch) -> None:
        """Have the library tell what it does."""

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Tell a watcher from now on, and before those that watch already; gives what ends that."""
        if self._patched is None:
            self._patched = pytest.MonkeyPatch()
            self.patch(self._patched)
        self._watchers.insert(0, watcher)

        def stop() -> None:
            self._watchers.remove(watcher)
            if not self._watchers and self._patched is not None:
                self._patched.undo()
                self._patched = None

        return stop

    def tell(self, do: Callable[[Watcher], None]) -> None:
        """Tell each watcher; what a watcher itself does is not told."""
        if getattr(self._telling, "now", False):
            return
        self._telling.now = True
        try:
            for watcher in list(self._watchers):
                do(watcher)
        finally:
            self._telling.now = False

    @contextlib.contextmanager
    def sending(self, session: Session | None, text: str, values: object = None) -> Iterator[None]:
        """Tell that a statement is sent, and then that it was; nothing without a session."""
        if session is None:
            yield
            return
        self.tell(lambda watcher: watcher.sends(session, text, values))
        try:
            yield
        finally:
            self.tell(lambda watcher: watcher.sent(session, text, values))


def watch_statements(driver: Driver, before: Callable[[str], None]) -> Callable[[], None]:
    """Have `before` called with the text of each statement that is about to be sent; gives what ends that."""

    class Before(Watcher):
        def sends(self, session: Session, text: str, values: object) -> None:
            before(text)

    return driver.watch(Before())
