"""Names as SQL has them: bare, or in double quotes."""

from __future__ import annotations

IDENTIFIER = r'(?:"(?:[^"]|"")+"|[\w$]+)'
"""A pattern, without groups, of one name in SQL that the server itself wrote."""


def unquoted(identifier: str) -> str:
    """The name without its quotes."""
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier
