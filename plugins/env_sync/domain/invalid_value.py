"""The signal by which a reader of one value refuses it."""

from __future__ import annotations


class WrongValue(ValueError):
    """A value cannot be read; the message says what would be right. Never leaves config/."""
