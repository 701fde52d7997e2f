"""Views, triggers, routines and events as text of a dump, which any client runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from env_sync.engines.mysql.identifiers import unquoted
from env_sync.engines.mysql.lexer import meaning
from env_sync.engines.mysql.objects import ORDER, Kind, Object, encoded, with_definer

_SAVE = b"""
SET @saved_client = @@character_set_client, @saved_results = @@character_set_results;
SET @saved_collation = @@collation_connection, @saved_mode = @@sql_mode, @saved_zone = @@time_zone;
"""
_RESTORE = b"""
SET character_set_client = @saved_client, character_set_results = @saved_results;
SET collation_connection = @saved_collation, sql_mode = @saved_mode, time_zone = @saved_zone;

"""


def as_text(objects: Sequence[Object]) -> bytes:
    """The statements that make them, in an order in which they can be made; b"" for none."""
    if not objects:
        return b""
    return b"".join((_SAVE, *map(_text, _in_order(objects)), _RESTORE))


def table_of(trigger: Object) -> str:
    """The table of a trigger: what stands after the first ON."""
    parts = meaning(trigger.statement.encode())
    words = [part.text.upper() if part.kind == "word" else b"" for part in parts]
    return unquoted(parts[words.index(b"ON") + 1].text.decode())


def _text(one: Object) -> bytes:
    character_set, statement = encoded(one, with_definer(one, one.definer))
    settings = [f"SET NAMES {character_set};"]
    if one.collation and character_set == one.character_set:
        settings.append(f"SET collation_connection = {one.collation};")
    settings.append(f"SET sql_mode = '{one.sql_mode}';")
    settings.append(f"SET time_zone = '{one.time_zone or '+00:00'}';")
    return b"\n".join(("\n".join(settings).encode(), b"DELIMITER ;;", statement, b";;", b"DELIMITER ;", b""))


def _in_order(objects: Sequence[Object]) -> Iterator[Object]:
    """By kind, and each view after those that it names: a client stops at one that stands on nothing."""
    todo = {one.name: one for one in objects if one.kind is Kind.VIEW}
    views = []
    while todo:
        ready = [one for one in todo.values() if not (_names(one) - {one.name}) & todo.keys()]
        # Some only seem to stand on each other, by the name of a column.
        for one in ready or list(todo.values()):
            views.append(one)
            del todo[one.name]
    for kind in ORDER:
        yield from views if kind is Kind.VIEW else [one for one in objects if one.kind is kind]


def _names(view: Object) -> set[str]:
    parts = meaning(view.statement.encode())
    return {unquoted(part.text.decode()) for part in parts if part.kind in ("word", "name", "double")}
