"""What was recorded as text that is the same each time, and its comparison with what is in the repository."""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import os
import re
import socket
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from tests.integration.conformance.drivers.files import NAME as FILES
from tests.integration.conformance.drivers.programs import NAME as PROGRAMS
from tests.integration.conformance.recorder import RENEWING, Event, renewal

FOLDER = Path(__file__).parent / "recordings"
RECORD = "ENV_SYNC_TEST_RECORD"
"""The environment variable that, set to 1, has recordings written anew; `bin/test --record` sets it."""
ANEW = "bin/test integration --record -- -k test_recordings"
HOW = f"If this change is meant, record anew ({ANEW}), and say in the commit why the statements are others."
WIDTH = 110
LONG = 200
"""Characters of a statement that has a file of its own, if it only asks or sets something."""
BEGINNING = 70
"""How many of them stand for it in recordings."""
DATABASE = "app"
"""What stands for the name of the database."""
ROLES = {
    DATABASE: "live",
    **{f"{DATABASE}__{copy}": copy for copy in ("incoming", "previous", "outgoing", "replaced")},
    "env_sync": "lease",
}
"""What a session is called, by the database that it is connected to."""

_TIME = r"\d{4}-\d\d-\d\d[Tt ]\d\d:?\d\d:?\d\d(?:\.\d+)?(?:\+00:00|[Zz])?"
_HEX = r"\b(?=[0-9a-f]*\d)[0-9a-f]{16,}\b"
_ALWAYS = {
    # The private folder of a group, below that of a user.
    r"<work>/env_sync_\d+/\w+/\w+/\w+": "<work>",
    r"(<work>/[\w.]+[-_])[a-z0-9_]{8}\b": r"\1<random>",
    r'\{"\$timestamp": \{[^}]*\}\}': "<timestamp>",
    r'"host": "[^"]*"': '"host": "<host>"',
    r'"namespace": "[^"]*"': '"namespace": "<namespace>"',
    r'"(pid|started|row|memberships|taken_away)": "?\d+"?': r'"\1": "<\1>"',
    r"\bKILL (CONNECTION |QUERY )?\d+": r"KILL \1<session>",
    r"\b(if_seq_no|if_primary_term)=\d+": r"\1=<number>",
    _TIME: "<time>",
    r"\b127\.0\.0\.1\b": "<server>",
    r"\b\d+\.\d+\.\d+(?:\.\d+)?\b": "<version>",
    r"(?<![\w.])\d+\.\d+(?:e-?\d+)?\b": "<decimal>",
    r"(?<![\w.])\d{5,}\b": "<number>",
}
_NUMBERED = {
    "token": r'(?:(?<=env-sync-)|(?<="))[0-9a-f]{12}\b',
    "task": r"(?<![\w-])[\w-]{22}:\d+\b",
    "uuid": r'(?<="uuid": ")[\w-]{22}(?=")',
    # Of the document of MongoDB's leases: how often it was changed before depends on the tests before.
    "revision": r'(?<="revision": )\d+\b',
    # Of a directory, or of a document: some have decimal digits alone.
    "identity": r'(?:(?<=/records/)|(?<="\$oid": "))[0-9a-f]{16,}\b',
}
"""What is numbered as it comes, beside other long hexadecimal numbers; tasks are those of Elasticsearch."""
_OF_ITS_TIME = re.compile(r"<(?:time|decimal|\w+ \d+)>")
_ASKS = ("SELECT ", "WITH ", "SET ")
_KINDS = {32: "id", 40: "key", 64: "sha256"}
"""What a number in hexadecimal digits is, by its length; any other is the identity of something."""


@define
class Placeholders:
    """Puts what stands for it in the place of all that is another each time.

    Names are given. What only has to be the same wherever it was the same is numbered as it comes.
    """

    names: Mapping[str, str]
    _numbered: dict[str, str] = field(factory=dict)

    def put(self, text: str) -> str:
        """A text with placeholders."""
        for name in sorted(self.names, key=len, reverse=True):
            text = text.replace(name, self.names[name])
        # First: they may consist of digits.
        for kind, pattern in _NUMBERED.items():
            text = re.sub(pattern, functools.partial(self._found, kind), text)
        for pattern, placeholder in _ALWAYS.items():
            text = re.sub(pattern, placeholder, text)
        return re.sub(_HEX, lambda found: self._number(_KINDS.get(len(found[0]), "identity"), found[0]), text)

    def value(self, value: Any) -> str:
        """The same of a value that goes with a statement."""
        if isinstance(value, list):
            return f"[{', '.join(map(self.value, value))}]"
        if isinstance(value, dict):
            if "number" in value:
                number = int(value["number"])
                return self._number("key", str(number)) if abs(number) >= 1 << 53 else "<number>"
            if "time" in value:
                return "<time>"
            return f"{{{', '.join(f'{name}: {self.value(each)}' for name, each in value.items())}}}"
        if value == socket.gethostname():
            return "<host>"
        return self.put(repr(value)) if isinstance(value, str) else json.dumps(value)

    def _found(self, kind: str, found: re.Match[str]) -> str:
        return self._number(kind, found[0])

    def _number(self, kind: str, said: str) -> str:
        same_kind = sum(each.startswith(f"<{kind} ") for each in self._numbered.values())
        return self._numbered.setdefault(said, f"<{kind} {same_kind + 1}>")


@frozen
class Recording:
    """A recording as a text: its sections, in each the statements in their order.

    `long` are the statements that are told apart, by the mark that stands for each.
    """

    text: str
    long: Mapping[str, str]


def rendered(title: str, events: Sequence[Event], names: Mapping[str, str]) -> Recording:
    """What was recorded, with placeholders."""
    writer = _Writer(Placeholders(names))
    lines = [f"# {line}" for line in textwrap.wrap(title, WIDTH - 2)]
    for section in _sections(events):
        lines += ["", *writer.section(section)]
    return Recording("\n".join(lines) + "\n", writer.long)


def _sections(events: Sequence[Event]) -> Iterator[list[Event]]:
    found: list[Event] = []
    for event in events:
        if event.kind == "section" and found:
            yield found
            found = []
        found.append(event)
    yield found


@define
class _Writer:
    placeholders: Placeholders
    long: dict[str, str] = field(factory=dict)
    _labels: dict[str, str] = field(factory=dict)

    def section(self, events: Sequence[Event]) -> Iterator[str]:
        yield f"== {events[0].text}"
        self._labels.clear()
        for event in events[1:]:
            if event.thread == "":
                yield from self._lines(event)
        for beside in self._beside([event for event in events if event.thread]):
            yield "-- beside it"
            for event in beside:
                yield from self._lines(event)

    def _beside(self, events: Sequence[Event]) -> list[list[Event]]:
        """What each other thread did; threads in an order that does not depend on which was quicker.

        Renewals come as often as there is time for them: one stands for all.
        """
        threads: dict[str, list[Event]] = {}
        for event in events:
            if event.thread != RENEWING:
                threads.setdefault(event.thread, []).append(event)
        if renewed := renewal(events):
            threads[RENEWING] = renewed
        unnumbered = Placeholders(self.placeholders.names)
        return sorted(
            threads.values(), key=lambda found: [re.sub(r"\d+>", ">", unnumbered.put(e.text)) for e in found]
        )

    def _label(self, event: Event) -> str:
        """What a session of a section is called: its role, and which of that role it is."""
        if event.session not in self._labels:
            role = _role(event, self.placeholders.names)
            same = sum(label.partition(" ")[0] == role for label in self._labels.values())
            self._labels[event.session] = role if not same else f"{role} {same + 1}"
        return self._labels[event.session]

    def _lines(self, event: Event) -> Iterator[str]:
        label = self._label(event) if event.session else ""
        if event.kind == "note":
            yield f"   = {event.text}"
        elif event.kind == "opened":
            yield f"{label}: connects as {self.placeholders.put(event.name)}"
        elif event.kind == "closed":
            yield f"{label}: closes"
        else:
            yield from self._statement(label, event)

    def _statement(self, label: str, event: Event) -> Iterator[str]:
        text = self.placeholders.put(" ".join(event.text.split()))
        if len(text) > LONG and text.startswith(_ASKS) and not _OF_ITS_TIME.search(text):
            mark = hashlib.sha256(text.encode()).hexdigest()[:8]
            self.long[mark] = text
            text = f"{text[:BEGINNING]}... [{mark}]"
        yield from _wrapped(f"{label}: {text}")
        if event.values:
            yield from _wrapped(f"    with {self.placeholders.value(event.values)}")


def _wrapped(text: str) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()) + 4)
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _role(event: Event, names: Mapping[str, str]) -> str:
    if event.name in (FILES, PROGRAMS):
        return "files" if event.name == FILES else "program"
    target = event.target
    for name, placeholder in names.items():
        target = target.replace(name, placeholder)
    return ROLES.get(target, "server")


def compare(engine: str, scenario: str, found: Recording) -> None:
    """Compare a recording with the one in the repository, or write it where that was asked for."""
    file = FOLDER / engine / f"{scenario}.txt"
    if os.environ.get(RECORD) == "1":
        assert not os.environ.get("CI"), f"{RECORD} is for people: CI compares recordings, it makes none."
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found.text)
        for mark, text in found.long.items():
            statement_file(engine, mark).parent.mkdir(exist_ok=True)
            statement_file(engine, mark).write_text(_whole(text))
        return
    where = file.relative_to(FOLDER.parents[3])
    assert file.exists(), f"There is no recording {where}. Make it ({ANEW}) and commit it."
    expected = file.read_text()
    if expected != found.text:
        said = [
            "Other statements reach the server:",
            *difference(expected, found.text, str(where)),
            *_other_statements(engine, expected, found),
        ]
        raise AssertionError("\n".join([*said, "", HOW]))


def statement_file(engine: str, mark: str) -> Path:
    """Where a statement is that is too long to be told in each recording."""
    return FOLDER / engine / "statements" / f"{mark}.txt"


def marks_in(text: str) -> set[str]:
    """The marks of the statements that a recording tells by their beginning."""
    return set(re.findall(r"\.\.\. \[([0-9a-f]{8})\]$", text, re.MULTILINE))


def difference(expected: str, found: str, where: str) -> list[str]:
    """Two texts side by side, as a unified diff."""
    return list(
        difflib.unified_diff(
            expected.splitlines(), found.splitlines(), f"{where} in the repository", "now", lineterm=""
        )
    )


def _other_statements(engine: str, expected: str, found: Recording) -> Iterator[str]:
    """The long statements that are new, each beside the one that is gone and most like it."""
    known = marks_in(expected)
    gone = {mark: statement_file(engine, mark).read_text() for mark in known - set(found.long)}
    for mark in found.long.keys() - known:
        whole = _whole(found.long[mark])
        like = difflib.get_close_matches(whole, gone.values(), n=1, cutoff=0.5)
        yield from ["", f"Statement {mark}:", *difference(like[0] if like else "", whole, "what is gone")]


def _whole(text: str) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)) + "\n"
