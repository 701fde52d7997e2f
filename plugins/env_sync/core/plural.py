"""Counts with their nouns, as people say them: `1 problem`, `2 problems`."""

from __future__ import annotations


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """The count and its noun; `nouns` is the plural where an s at the end does not make it."""
    return f"{count} {noun if count == 1 else nouns or f'{noun}s'}"
