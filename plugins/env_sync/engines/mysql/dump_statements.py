r"""What a dump would do, statement by statement; what it may not do is refused, whatever it is.

Let through are: tables, their rows as literals, views, triggers, routines and events, each named without a
database, so that all of it ends in the database of the session. Each statement is handed on exactly as it
was looked at, alone, without comments that only some versions run. What a dump sets in its session is read,
not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import evolve, frozen

from env_sync.core.errors import RestoreFailed
from env_sync.core.shown_names import shown_name
from env_sync.engines.mysql.identifiers import unquoted
from env_sync.engines.mysql.lexer import SAFE_CHARACTER_SETS, Token, meaning, plain
from env_sync.engines.mysql.objects import CODECS, SETTING, WORD, Kind, Object, taken_apart
from env_sync.engines.mysql.statement_stream import Splitter
from env_sync.engines.mysql.version import ServerVersion

POINTING_ENGINES = frozenset(
    {
        *("FEDERATED", "FEDERATEDX", "CONNECT", "SPIDER", "S3", "MRG_MYISAM", "MERGE", "NDBCLUSTER", "NDB"),
        *("OQGRAPH", "SPHINX"),
    }
)
"""Tables whose rows are elsewhere: in another server, in files, or in other tables, of any database."""
OURS = "env_sync_stamp"
"""The table in which a copy says what it is; only this program writes one. Some servers know no capitals."""
_SKIPPED = frozenset({"DROP", "LOCK", "UNLOCK", "COMMIT", "BEGIN", "FLUSH", "ANALYZE", "START"})
_SKIPPED_PAIRS = frozenset({("ALTER", "DATABASE")})
_KEYS = frozenset({("DISABLE", "KEYS"), ("ENABLE", "KEYS")})
_OBJECTS = frozenset(kind.value for kind in Kind)
_MODES_OF_OTHERS = frozenset(
    {"NO_AUTO_CREATE_USER", "NO_FIELD_OPTIONS", "NO_KEY_OPTIONS", "NO_TABLE_OPTIONS"}
)
"""Modes of objects from MariaDB and MySQL 5.7 that MySQL 8 refuses; nothing runs otherwise for them."""
_NOT_IN_A_TABLE = frozenset({"SELECT", "LIKE", "VALUES", "TABLE", "REPLACE", "IGNORE", "AS"})
_CREATE_TABLE = re.compile(
    rb"CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>`(?:[^`]++|``)*+`|[\w$]++)\s*+\(", re.I
)
_CREATE_SEQUENCE = re.compile(rb"CREATE\s+SEQUENCE\s+(?P<name>`(?:[^`]++|``)*+`)(?!\s*\.)", re.I)
_SETVAL = re.compile(rb"(?:DO|SELECT)\s+SETVAL\(`(?:[^`]++|``)*+`,\s*-?\d+,\s*\d+(?:,\s*\d+)?\)\s*\Z", re.I)
_NAMING = re.compile(
    rb"(?:CREATE\s+DATABASE\s+(?:IF\s+NOT\s+EXISTS\s+)?|USE\s+)(?P<name>`(?:[^`]++|``)*+`|[\w$]++)", re.I
)
_SET = re.compile(r"(?:@@(?:SESSION\.)?|SESSION\s+)?(?P<name>[\w.]+)\s*:?=\s*(?P<value>.*)", re.I | re.DOTALL)


@frozen(kw_only=True)
class Table:
    """A table, or a sequence, is to be made."""

    name: str
    statement: bytes


@frozen(kw_only=True)
class Rows:
    """Rows are to be put into a table, over a session of this character set and reading of backslashes."""

    table: str
    statement: bytes
    character_set: str
    backslash: bool


@frozen(kw_only=True)
class Advance:
    """A sequence is to be set to where it stood."""

    statement: bytes


@frozen(kw_only=True)
class LeftOut:
    """Something is not restored; `why` says for what reason, "" where it goes without saying."""

    name: str
    why: str


Item = Table | Rows | Advance | Object | LeftOut


@frozen(kw_only=True)
class _Session:
    """What the dump has set in the session that it takes itself to be in."""

    names: str = "utf8mb4"
    client: str = "utf8mb4"
    collation: str = ""
    sql_mode: str = "NO_AUTO_VALUE_ON_ZERO"
    time_zone: str = "+00:00"


class DumpStatements:
    """The items of a dump of one database. Raises RestoreFailed for what a dump may not hold, DumpDamaged."""

    def __init__(self, splitter: Splitter, database: str, version: ServerVersion) -> None:
        """`database` is the name that a USE may have; `version` is that of the server that is restored to."""
        self._splitter = splitter
        self._database = database
        self._version = version
        self._session = _Session()
        self._first = _Session()
        self._left_out: set[str] = set()

    def __iter__(self) -> Iterator[Item]:
        while (statement := self._splitter.next()) is not None:
            item = (
                self._rows(statement.text, statement.table)
                if statement.table
                else self._other(statement.text)
            )
            if item is not None:
                yield item

    def _rows(self, text: bytes, target: bytes) -> Item | None:
        table = _name(target)
        if table in self._left_out or table.casefold() == OURS:
            return None
        return Rows(
            table=table,
            statement=text,
            character_set=self._session.names,
            backslash=self._splitter.backslash,
        )

    def _other(self, raw: bytes) -> Item | None:
        backslash = self._splitter.backslash
        text = plain(raw, self._version, backslash=backslash)
        parts = meaning(text, backslash=backslash)
        if not parts:
            return None
        if any(part.kind in ("opener", "closer", "broken") for part in parts):
            raise self._refused(text, "it has a comment or a quotation that does not end")
        first, second = (_word(part) for part in (*parts[:2], *parts[:1])[:2])
        if len(parts) == 1:
            second = ""
        if first == "SET":
            self._set(text, parts)
            return None
        if first == "CREATE":
            return self._create(text, parts)
        if first == "USE":
            self._naming(text)
            return None
        if _SETVAL.match(text):
            return Advance(statement=text)
        # Incoming is new and nobody else is in it; keys are kept up by the server itself.
        if first in _SKIPPED or (first, second) in _SKIPPED_PAIRS:
            return None
        if (first, second) == ("ALTER", "TABLE") and tuple(map(_word, parts[3:])) in _KEYS:
            return None
        raise self._refused(text, "dumps of mysqldump hold no such statement")

    def _create(self, text: bytes, parts: list[Token]) -> Item | None:
        words = [_word(part) for part in parts[:16]]
        if words[1] == "DATABASE":
            self._naming(text)
            return None
        if words[1] == "TABLE":
            return self._table(text)
        if words[1] == "SEQUENCE" and (match := _CREATE_SEQUENCE.match(text)):
            return Table(name=_name(match["name"]), statement=text)
        if (kind := next((word for word in words if word in _OBJECTS), "")) == "":
            raise self._refused(text, "dumps of mysqldump make no such thing")
        character_set = self._session.client
        one = taken_apart(
            text.decode(CODECS.get(character_set, "utf-8"), "replace"),
            sql_mode=self._mode(),
            character_set=character_set,
            collation=self._session.collation,
            time_zone=self._session.time_zone,
        )
        if one is None or one.kind.value != kind:
            raise self._refused(text, f"this {kind.lower()} is not named as dumps of one database name it")
        if kind == Kind.TRIGGER and _qualified_target(parts):
            raise self._refused(text, "this trigger is on a table of another database")
        return one

    def _mode(self) -> str:
        mode = self._session.sql_mode
        if not self._version.mysql_from(8, 0):
            return mode
        return ",".join(word for word in mode.split(",") if word not in _MODES_OF_OTHERS)

    def _table(self, text: bytes) -> Item:
        match = _CREATE_TABLE.match(text)
        if match is None:
            raise self._refused(text, "this table is not named as dumps of one database name it")
        name = _name(match["name"])
        if name.casefold() == OURS:
            return LeftOut(name=name, why="")
        depth, engines, before = 0, set[str](), ""
        parts = meaning(text[match.end() - 1 :])
        for number, part in enumerate(parts):
            word = _word(part)
            if part.text == b"(":
                depth += 1
            elif part.text == b")":
                depth -= 1
            elif before == "ENGINE" and part.text != b"=":
                # Of a partition as well.
                engines.add(unquoted(part.text.decode(errors="replace")).strip("'").upper())
            elif depth == 0 and word in _NOT_IN_A_TABLE:
                raise self._refused(text, f"table {shown_name(name)} is to be filled from elsewhere")
            elif before == "REFERENCES" and number + 1 < len(parts) and parts[number + 1].text == b".":
                raise self._refused(
                    text, f"a foreign key of table {shown_name(name)} points into another database"
                )
            if part.text != b"=":
                before = word
        if pointing := sorted(engines & POINTING_ENGINES):
            self._left_out.add(name)
            return LeftOut(name=name, why=f"a table of engine {pointing[0]}, whose rows are elsewhere")
        return Table(name=name, statement=text)

    def _naming(self, text: bytes) -> None:
        """A dump made with --databases names its database; of several databases none is restored."""
        match = _NAMING.match(text)
        if match is None or _name(match["name"]) != self._database:
            raise self._refused(text, f"it leaves the database that is restored, {self._database}")

    def _set(self, text: bytes, parts: list[Token]) -> None:
        said = text.decode(errors="replace")
        if _word(parts[1]) == "NAMES" and len(parts) > 2:
            names = _word(parts[2]).strip("'").lower()
            self._check_character_set(text, names)
            self._session = evolve(self._session, names=names, client=names, collation="")
            return
        for part in _assignments(said[3:]):
            match = _SET.fullmatch(part.strip())
            if match is None:
                continue
            name, value = match["name"].lower(), match["value"].strip().strip("'\"")
            saved = value.startswith("@")
            if name == "character_set_client":
                value = self._session.names if saved else value.lower()
                self._check_character_set(text, value)
                self._session = evolve(self._session, client=value)
            elif name == "collation_connection":
                value = "" if saved else value.lower()
                self._check_setting(text, name, value, WORD)
                self._session = evolve(self._session, collation=value)
            elif name == "sql_mode":
                value = self._first.sql_mode if saved or "@@sql_mode" in value.lower() else value.upper()
                self._check_setting(text, name, value, SETTING)
                self._session = evolve(self._session, sql_mode=value)
                self._splitter.backslash = "NO_BACKSLASH_ESCAPES" not in value
            elif name == "time_zone":
                value = "+00:00" if saved else value
                self._check_setting(text, name, value, SETTING)
                self._session = evolve(self._session, time_zone=value)

    def _check_character_set(self, text: bytes, name: str) -> None:
        if name not in SAFE_CHARACTER_SETS:
            raise self._refused(
                text, "in its character set a quote may be a part of a character: dump with utf8mb4"
            )

    def _check_setting(self, text: bytes, name: str, value: str, allowed: re.Pattern[str]) -> None:
        """What makes the objects of the dump is set to it by a statement of ours."""
        if not allowed.fullmatch(value):
            raise self._refused(text, f"what it sets {name} to is no value of that")

    def _refused(self, text: bytes, why: str) -> RestoreFailed:
        # Only words: what stands in quotes may be a value.
        words = [part.text.decode(errors="replace") for part in meaning(text) if part.kind == "word"][:3]
        shown = " ".join(words) if all(word.isascii() for word in words) else ""
        return RestoreFailed(
            f"The dump holds a statement that is not run here ({shown} ...): {why}. Dump the one database "
            "with mysqldump and its defaults, or push it again. Live is untouched."
        )


def _assignments(text: str) -> Iterator[str]:
    """The parts between commas that stand in no quotes and no brackets."""
    begun = depth = 0
    for token in meaning(text.encode()):
        if token.text == b"(":
            depth += 1
        elif token.text == b")":
            depth -= 1
        elif token.text == b"," and depth == 0:
            yield text.encode()[begun : token.start].decode(errors="replace")
            begun = token.end
    yield text.encode()[begun:].decode(errors="replace")


def _qualified_target(parts: list[Token]) -> bool:
    """Whether the table after the first ON has a database before it."""
    for number, part in enumerate(parts):
        if _word(part) == "ON":
            return number + 2 < len(parts) and parts[number + 2].text == b"."
    return True


def _word(part: Token) -> str:
    return part.text.decode(errors="replace").upper() if part.kind in ("word", "single") else ""


def _name(text: bytes) -> str:
    return unquoted(text.decode(errors="replace"))
