"""The files that a push leaves out, as globs of their paths below the directory."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

PARTS = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]")
"""What stands for more than itself in a glob."""


def excluder(patterns: Sequence[str]) -> Callable[[str], str | None]:
    """A function of a path, such as `cache/a.tmp`: the pattern that leaves it out, else None.

    `*` and `?` match within a name, `**` across them. A pattern without a slash is one of names, wherever
    they are. What is below a directory that is left out is left out with it.
    """
    compiled = [(pattern, re.compile(_regex(pattern), re.DOTALL)) for pattern in patterns]

    def excluded(path: str) -> str | None:
        return next((pattern for pattern, regex in compiled if regex.fullmatch(path)), None)

    return excluded


def _regex(pattern: str) -> str:
    inner = pattern.strip("/")
    anywhere = "" if "/" in pattern.rstrip("/") else "(?:.*/)?"
    text, at = anywhere, 0
    for part in PARTS.finditer(inner):
        text += re.escape(inner[at : part.start()]) + _one(part.group())
        at = part.end()
    return text + re.escape(inner[at:])


def _one(part: str) -> str:
    if part == "**/":
        return "(?:.*/)?"
    if part == "**":
        return ".*"
    if part == "*":
        return "[^/]*"
    if part == "?":
        return "[^/]"
    inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
    some = f"[^/{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
    try:
        re.compile(some)
    except re.error:
        # A range that runs backwards stands for itself, as in a shell.
        return re.escape(part)
    return some
