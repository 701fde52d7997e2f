from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from attrs import define, field

from env_sync.engines.contract import Holder
from env_sync.engines.document_lease import Found, Leases
from env_sync.errors import Cancelled, LeaseHeld

LOG = logging.getLogger("env_sync.tests")
HOLDER = Holder(run="run", group="pull", attempt="1")


@define
class MemoryServer:
    """A lease server whose document is in memory; it is its own session."""

    rows: Sequence[Any] | None = None
    version: int = 0
    cancelled_at: str = ""
    may_write: Callable[[], None] = field(default=lambda: None)

    def statement(self) -> None:
        """Nothing is to be looked at."""

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        cancelled_at, self.cancelled_at = self.cancelled_at, ""
        yield
        self.cancelled_at = cancelled_at

    @contextlib.contextmanager
    def session(self) -> Iterator[MemoryServer]:
        yield self

    @contextlib.contextmanager
    def session_at_work(self, database: str, token: str) -> Iterator[MemoryServer]:
        yield self

    def end_earlier(self, session: MemoryServer, database: str, token: str, log: logging.Logger) -> None:
        self.raise_at("end_earlier")

    @contextlib.contextmanager
    def errors(self, what: str) -> Iterator[None]:
        yield

    def read(self, session: MemoryServer) -> Found | None:
        return None if self.rows is None else Found(rows=self.rows, version=self.version)

    def replace(self, session: MemoryServer, rows: Sequence[Any], found: Found | None) -> bool:
        self.rows, self.version = rows, self.version + 1
        # What is cancelled may have been done.
        self.raise_at("replace")
        return True

    def now(self, session: MemoryServer) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def raise_at(self, what: str) -> None:
        if self.cancelled_at == what:
            raise Cancelled


@pytest.mark.parametrize("cancelled_at", ["replace", "end_earlier"])
def test_a_step_that_is_cancelled_as_it_begins_keeps_nobody_waiting(cancelled_at: str) -> None:
    server = MemoryServer()
    leases = Leases(server, "live", HOLDER, dt.timedelta(hours=1), LOG)
    leases.take(at_most=1)
    server.cancelled_at = cancelled_at
    with pytest.raises(Cancelled), leases.at_work():
        pytest.fail("the step went on")
    assert server.rows is not None
    assert [row["worker"] for row in server.rows] == [None]


def test_a_lease_that_another_version_wrote_is_left_alone() -> None:
    server = MemoryServer(rows=[{"database": "other", "held_by": "whatever"}])
    leases = Leases(server, "live", HOLDER, dt.timedelta(hours=1), LOG)
    with pytest.raises(LeaseHeld, match=r"another version of Env Sync.*Wait until its runs have ended"):
        leases.take(at_most=5)
    with pytest.raises(LeaseHeld, match="another version"):
        leases.release()
    assert server.version == 0
