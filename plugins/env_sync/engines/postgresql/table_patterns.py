"""Patterns for tables, as `excluded_tables` has them, read as pg_dump reads its --exclude-table."""

from __future__ import annotations

import re

from attrs import frozen


@frozen
class Relation:
    """A table, or what else a pattern may name. `visible`: it can be named without its schema."""

    schema: str
    name: str
    visible: bool


def matches(pattern: str, relation: Relation) -> bool:
    """Whether a pattern names a relation; one that has no schema names only what is visible."""
    *schema, name = _expressions(pattern)
    if not re.fullmatch(name, relation.name):
        return False
    return relation.visible if not schema else bool(re.fullmatch(schema[-1], relation.schema))


def _expressions(pattern: str) -> list[str]:
    """A regular expression for each part of a pattern, as PostgreSQL's processSQLNamePattern() makes them."""
    parts = [""]
    quoted = False
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == '"':
            if quoted and pattern[position : position + 1] == '"':
                parts[-1] += '"'
                position += 1
            else:
                quoted = not quoted
        elif quoted or character == "$":
            parts[-1] += re.escape(character)
        elif character == ".":
            parts.append("")
        elif character in "*?":
            parts[-1] += ".*" if character == "*" else "."
        elif character == "[" and pattern[position : position + 1] == "]":
            parts[-1] += r"\[\]"
            position += 1
        else:
            parts[-1] += character.lower()
    return parts
