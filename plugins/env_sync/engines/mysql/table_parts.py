"""A CREATE TABLE taken apart: what a table is made with, and what is quicker to add when its rows are in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from attrs import frozen

from env_sync.engines.mysql.identifiers import quoted
from env_sync.engines.mysql.lexer import Token, meaning

_PLAIN = frozenset({"KEY", "INDEX", "UNIQUE", "USING", "BTREE", "COMMENT", "KEY_BLOCK_SIZE"})
"""Words of a definition of a key that the server builds by sorting; one with another word is not late."""


@frozen(kw_only=True)
class TableParts:
    """The definitions of a table, as they are in its statement, in order.

    `keys` and `foreign_keys` are the numbers, among the definitions, of those that can wait for the rows.
    """

    name: str
    head: bytes
    definitions: tuple[bytes, ...]
    tail: bytes
    keys: tuple[int, ...] = ()
    foreign_keys: tuple[int, ...] = ()

    def make(self, *, keys: bool) -> bytes:
        """The statement that makes the table without foreign keys, and without `keys` where they wait."""
        waiting = {*self.foreign_keys, *(() if keys else self.keys)}
        kept = [text for number, text in enumerate(self.definitions) if number not in waiting]
        return self.head + b",".join(kept) + self.tail

    def add_keys(self) -> bytes:
        """The statement that adds the keys, all of which the server builds in one go."""
        return self._add(self.keys)

    def add_foreign_keys(self) -> bytes:
        """The statement that adds the foreign keys."""
        return self._add(self.foreign_keys)

    def _add(self, numbers: Sequence[int]) -> bytes:
        added = b", ".join(b"ADD " + self.definitions[number].strip() for number in numbers)
        return b"ALTER TABLE " + quoted(self.name).encode() + b" " + added


def parts_of(name: str, statement: bytes) -> TableParts:
    """Take the statement that makes a table apart; `statement` holds no comments for versions.

    Late are foreign keys, for they point at tables and keys that come later, and, of InnoDB, keys that are
    built by sorting. Kept are all others: FULLTEXT and SPATIAL, one that the AUTO_INCREMENT column needs,
    one over a generated column or an expression, those before a kept one of their sort, so that their order
    stays, and unique ones where there is no primary key, for the rows may be stored in the order of one.
    """
    parts = meaning(statement)
    opening = next((part for part in parts if part.text == b"("), None)
    whole = TableParts(name=name, head=statement, definitions=(), tail=b"")
    if opening is None or any(part.kind in ("broken", "opener", "closer") for part in parts):
        return whole
    found, end = _definitions(parts, opening)
    if end is None or not all(tokens for tokens, _ in found):
        return whole
    starts = (opening.end, *(last.end for _, last in found[:-1]))
    # The last one's line ends before the bracket.
    texts = tuple(statement[start : tokens[-1].end] for start, (tokens, _) in zip(starts, found, strict=True))
    definitions = [tokens for tokens, _ in found]
    sorted_keys = _is_innodb([part for part in parts if part.start >= end.end])
    return TableParts(
        name=name,
        head=statement[: opening.end],
        definitions=texts,
        tail=statement[found[-1][0][-1].end :],
        keys=tuple(sorted(_late_keys(definitions))) if sorted_keys else (),
        foreign_keys=tuple(
            number for number, tokens in enumerate(definitions) if _is_foreign_key(_words(tokens))
        ),
    )


def _definitions(
    parts: Sequence[Token], opening: Token
) -> tuple[list[tuple[list[Token], Token]], Token | None]:
    """What stands between the commas of the outer brackets, each with what ends it; and the last bracket."""
    found: list[tuple[list[Token], Token]] = []
    tokens: list[Token] = []
    depth = 1
    for part in parts:
        if part.start < opening.end:
            continue
        depth += {b"(": 1, b")": -1}.get(part.text, 0)
        if depth == 0 or (depth == 1 and part.text == b","):
            found.append((tokens, part))
            tokens = []
            if depth == 0:
                return found, part
        else:
            tokens.append(part)
    return found, None


def _late_keys(definitions: Sequence[Sequence[Token]]) -> Iterator[int]:
    columns = [tokens for tokens in definitions if tokens[0].kind == "name"]
    counted = {tokens[0].text for tokens in columns if "AUTO_INCREMENT" in _words(tokens)}
    generated = {tokens[0].text for tokens in columns if {"AS", "GENERATED"} & {*_words(tokens)}}
    has_primary = any(_words(tokens)[:2] == ["PRIMARY", "KEY"] for tokens in definitions)
    kept: set[str] = set()
    for number, tokens in reversed(list(enumerate(definitions))):
        kind = _words(tokens[:1])[0] if tokens[0].kind == "word" else ""
        if kind not in ("KEY", "INDEX", "UNIQUE", "SPATIAL"):
            continue
        sort = "UNIQUE" if kind == "UNIQUE" else "KEY"
        keyed = _keyed(tokens)
        if (
            _PLAIN.issuperset(_words(tokens))
            and (has_primary or sort != "UNIQUE")
            and keyed
            and keyed[0].text not in counted
            and generated.isdisjoint(one.text for one in keyed)
            # The server lists keys of a sort in the order in which they came.
            and sort not in kept
        ):
            yield number
        else:
            kept.add(sort)


def _keyed(tokens: Sequence[Token]) -> list[Token]:
    """The columns of a key; none where it is not of columns alone."""
    inside: list[Token] = []
    depth = 0
    for token in tokens:
        depth += {b"(": 1, b")": -1}.get(token.text, 0)
        if depth and token.text not in (b"(", b")", b","):
            inside.append(token)
    # A length, in a bracket of its own, is a number.
    columns = [token for token in inside if not token.text.isdigit()]
    return columns if all(token.kind == "name" for token in columns) else []


def _is_foreign_key(words: Sequence[str]) -> bool:
    return words[:2] == ["FOREIGN", "KEY"] or words[:3] == ["CONSTRAINT", "FOREIGN", "KEY"]


def _is_innodb(options: Sequence[Token]) -> bool:
    words = [part.text.upper() for part in options if part.text != b"="]
    return (b"ENGINE", b"INNODB") in itertools.pairwise(words)


def _words(tokens: Sequence[Token]) -> list[str]:
    """The words that are neither names between backticks, numbers, nor texts."""
    return [
        token.text.decode(errors="replace").upper()
        for token in tokens
        if token.kind == "word" and not token.text.isdigit()
    ]
