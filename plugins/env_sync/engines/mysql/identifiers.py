"""Names and texts as SQL of MySQL has them."""

from __future__ import annotations


def quoted(name: str) -> str:
    """A name between backticks."""
    return f"`{name.replace('`', '``')}`"


def qualified(database: str, name: str) -> str:
    """A name within a database."""
    return f"{quoted(database)}.{quoted(name)}"


def unquoted(text: str) -> str:
    """The name that an identifier of SQL stands for, with or without its quotes."""
    for quote in ("`", '"'):
        if len(text) > 1 and text.startswith(quote) and text.endswith(quote):
            return text[1:-1].replace(quote * 2, quote)
    return text
