"""Where the time of a step goes: how long it takes, and how long those parts of it that are worth telling."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

from attrs import field, frozen


@frozen(kw_only=True)
class Spent:
    """How long a step took, and parts of it by name; all in seconds. Parts need not add up to the whole."""

    seconds: float
    parts: Mapping[str, float] = field(factory=dict)

    def __str__(self) -> str:
        """E.g. `12.1 s (rows 8.0, indexes 3.5)`; parts below a tenth of a second are left out."""
        shown = [f"{name} {seconds:.1f}" for name, seconds in self.parts.items() if seconds >= 0.1]
        return f"{self.seconds:.1f} s" + (f" ({', '.join(shown)})" if shown else "")


class Stopwatch:
    """Runs from when it is made; `clock` gives seconds. Each `take` begins anew."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._parts: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of the block, however it ends, as the part's; again adds to it."""
        began = self._clock()
        try:
            yield
        finally:
            self.add(name, self._clock() - began)

    def add(self, name: str, seconds: float) -> None:
        """Count so many seconds more as the part's."""
        self._parts[name] = self._parts.get(name, 0.0) + seconds

    def take(self) -> Spent:
        """What was spent since the last time, or since it was made."""
        now = self._clock()
        spent = Spent(seconds=now - self._began, parts=self._parts)
        self._began, self._parts = now, {}
        return spent
