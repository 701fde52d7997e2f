"""What an archive of pg_dump says about itself: where it is from, and what is in it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

from env_sync.core import command
from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import DumpDamaged
from env_sync.core.redact import names_in, redact_tool_line
from env_sync.engines.postgresql.client_tools import known_client_tools, tools_to_read
from env_sync.engines.postgresql.verify import read_failure


@frozen(kw_only=True)
class Entry:
    """One entry of the table of contents. `schema` and `owner` are "" where it has none.

    Line breaks in a name are spaces here, as pg_restore prints them.
    """

    dump_id: int
    type: str
    """As pg_restore calls it, e.g. "TABLE", "TABLE DATA", "EVENT TRIGGER"."""
    schema: str
    name: str
    owner: str
    dependencies: tuple[int, ...] = ()
    definition: str = ""
    """The SQL that makes it, "" for data. It may hold a password: never to be logged."""

    def __str__(self) -> str:
        return f"{self.type} {f'{self.schema}.' if self.schema else ''}{self.name}"


@frozen(kw_only=True)
class Locale:
    """How the dumped database was encoded and sorted, as its CREATE DATABASE says; "" where it does not."""

    encoding: str
    collate: str
    ctype: str
    provider: str
    """"libc", "icu" or "builtin"."""
    provider_locale: str
    """The locale of the icu or builtin provider."""
    icu_rules: str


@frozen(kw_only=True)
class Archive:
    """An archive file and what it says about itself."""

    file: Path
    database: str
    """The database that was dumped."""
    server_version: str
    """Version of the server that was dumped, e.g. "16.14"."""
    locale: Locale
    entries: tuple[Entry, ...]
    """What would be restored, in its order."""

    @property
    def names(self) -> frozenset[str]:
        """Every name in it (objects, columns, schemas, owners, the database): what errors may show."""
        names = {self.database}
        for entry in self.entries:
            names |= {entry.schema, entry.name, entry.owner, *entry.name.split()}
            names |= names_in(entry.name)
            if entry.type == "TABLE":
                names |= names_in(*_COLUMN.findall(entry.definition))
        return frozenset(names - {""})


# Settings for the entries that follow stand before their comments.
_TRAILING = re.compile(r"(?:\s*^SET default_\w+ = .*;)+\s*\Z", re.MULTILINE)
_COLUMN = re.compile(r'^    (?:CONSTRAINT )?("(?:[^"]|"")+"|[\w$]+) ', re.MULTILINE)
_HEADER = re.compile(r"; +([A-Za-z_ ]+): ?(.*)")
_LISTED = re.compile(r"(\d+); \d+ \d+ (.*)")
_DEPENDS = ";\tdepends on:"
_ENTRY = re.compile(r"-- TOC entry (\d+) \(class \d+ OID \d+\)")
_NAME = re.compile(
    r"-- Name: (?P<name>.*); Type: (?P<type>[A-Z ]+); Schema: (?P<schema>.*); "
    r"Owner: (?P<owner>.*?)(?:; Tablespace: .*)?"
)
_DATA_TYPES = (
    "TABLE DATA",
    "MATERIALIZED VIEW DATA",
    "SEQUENCE SET",
    "STATISTICS DATA",
    "BLOB METADATA",
    "BLOB COMMENTS",
    "BLOBS",
    "BLOB",
    "SECURITY LABEL",
    "COMMENT",
    "ACL",
)


def read_archive(file: Path, *, cancellation: Cancellation, log: logging.Logger) -> Archive:
    """Read the table of contents, not the data. Raises DumpDamaged, ToolMissing, ToolFailed, Cancelled."""
    tools = tools_to_read(known_client_tools(), file)

    def read(*options: str) -> list[str]:
        lines: list[str] = []
        said: list[str] = []
        result = command.run(
            [tools.pg_restore, *options, file],
            cancellation=cancellation,
            log=log,
            stdout=lines.append,
            on_line=said.append,
            redact=redact_tool_line,
            check=False,
        )
        if result.exit_code != 0:
            raise read_failure(result, file, said)
        return lines

    listing = read("--list", "--verbose")
    script = read("--schema-only", "--create", "--verbose", "--file=-")
    header = dict(_header(listing))
    described = {entry.dump_id: entry for entry in _described(script)}
    if "dbname" not in header:
        raise DumpDamaged(f"{file.name} does not say which database it is a dump of: push it again.")
    database = next((entry for entry in described.values() if entry.type == "DATABASE"), None)
    return Archive(
        file=file,
        database=header["dbname"],
        server_version=header.get("Dumped from database version", "").partition(" ")[0],
        locale=_locale(database.definition if database else ""),
        entries=tuple(_entries(listing, described)),
    )


def _header(listing: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in listing:
        if not line.startswith(";") or line.startswith(_DEPENDS):
            return
        if match := _HEADER.fullmatch(line):
            yield match[1], match[2]


def _entries(listing: Iterable[str], described: dict[int, Entry]) -> Iterator[Entry]:
    """The entries that are listed; of what the script does not describe (data) the listing alone tells."""
    known = {f"{entry.schema or '-'} {entry.name} {entry.owner}": entry for entry in described.values()}
    dump_id, text = 0, ""
    dependencies: tuple[int, ...] = ()
    for line in [*listing, "0; 0 0 END"]:
        if line.startswith(_DEPENDS):
            dependencies = tuple(int(number) for number in line.removeprefix(_DEPENDS).split())
        elif match := _LISTED.fullmatch(line):
            if dump_id:
                yield _entry(dump_id, text, dependencies, described, known)
            dump_id, text, dependencies = int(match[1]), match[2], ()


def _entry(
    dump_id: int,
    text: str,
    dependencies: tuple[int, ...],
    described: dict[int, Entry],
    known: dict[str, Entry],
) -> Entry:
    if (entry := described.get(dump_id)) is not None:
        return Entry(
            dump_id=dump_id,
            type=entry.type,
            schema=entry.schema,
            name=entry.name,
            owner=entry.owner,
            dependencies=dependencies,
            definition=entry.definition,
        )
    kind = next((kind for kind in _DATA_TYPES if text.startswith(f"{kind} ")), text.split(" ")[0])
    rest = text.removeprefix(kind).strip()
    # Names may hold spaces, so the three parts of the rest are only sure where an object has all of them.
    if (of := known.get(rest)) is not None:
        return Entry(
            dump_id=dump_id,
            type=kind,
            schema=of.schema,
            name=of.name,
            owner=of.owner,
            dependencies=dependencies,
        )
    schema, _, name = rest.partition(" ")
    return Entry(
        dump_id=dump_id,
        type=kind,
        schema="" if schema == "-" else schema,
        name=name.rpartition(" ")[0] or name,
        owner=name.rpartition(" ")[2],
        dependencies=dependencies,
    )


def _described(script: list[str]) -> Iterator[Entry]:
    """The entries of a script that pg_restore wrote with --verbose, with their SQL."""
    starts = [
        number
        for number, line in enumerate(script)
        if _ENTRY.fullmatch(line) and number > 0 and script[number - 1] == "--"
    ]
    for start, end in zip(starts, [*(start - 1 for start in starts[1:]), _end(script)], strict=True):
        number = _ENTRY.fullmatch(script[start])
        comment_end = next((n for n in range(start, end) if script[n] == "--"), end)
        named = next((match for line in script[start:comment_end] if (match := _NAME.fullmatch(line))), None)
        if number is None or named is None:
            continue
        yield Entry(
            dump_id=int(number[1]),
            type=named["type"],
            schema="" if named["schema"] == "-" else named["schema"],
            name=named["name"],
            owner="" if named["owner"] == "-" else named["owner"],
            definition=_TRAILING.sub("", "\n".join(script[comment_end + 1 : end])).strip(),
        )


def _end(script: list[str]) -> int:
    """Where the last entry ends and pg_restore's closing remarks begin."""
    for number in range(len(script) - 1, max(len(script) - 20, 0), -1):
        if script[number].startswith("-- Completed on "):
            return number
    return len(script)


def _locale(create_database: str) -> Locale:
    """What a CREATE DATABASE statement of pg_dump says; LOCALE stands for both LC_COLLATE and LC_CTYPE."""

    def setting(name: str) -> str:
        match = re.search(rf" {name} = (?:'((?:[^']|'')*)'|(\w+))", create_database)
        return (match[1] or match[2] or "").replace("''", "'") if match else ""

    locale = setting("LOCALE")
    return Locale(
        encoding=setting("ENCODING"),
        collate=setting("LC_COLLATE") or locale,
        ctype=setting("LC_CTYPE") or locale,
        provider=setting("LOCALE_PROVIDER") or "libc",
        provider_locale=setting("ICU_LOCALE") or setting("BUILTIN_LOCALE"),
        icu_rules=setting("ICU_RULES"),
    )
