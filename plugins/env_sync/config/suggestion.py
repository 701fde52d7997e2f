"""A "did you mean" for a word that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_WORDS = 1000
"""The search takes time for each known word; among more than these none is looked for."""


CLOSE = 0.6
"""How alike two words are (difflib's ratio) of which one may be a slip of the pen for the other."""


def closest(word: str, known: Iterable[str], *, cutoff: float = CLOSE) -> str | None:
    """Return the known word that is closest to `word`, or None if none is as alike as `cutoff`."""
    words = tuple(known)
    if len(words) > MOST_WORDS:
        return None
    by_lower_case = {each.lower(): each for each in words}
    close = difflib.get_close_matches(word.lower()[:200], by_lower_case, n=1, cutoff=cutoff)
    return by_lower_case[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean `x`?" for the closest known word, or nothing if none is close.

    Made to follow a sentence: it starts with a space.
    """
    close = closest(word, known)
    return "" if close is None else f" Did you mean `{close}`?"
