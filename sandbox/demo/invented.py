"""Invented personal values, each with a part of its own by which it is found again wherever it went.

Names end in two made-up words such as "Lusab-Babad", a number spelled in consonants and vowels, and email
addresses begin with the same words. The other kinds are unique as a whole. All parts are ASCII, so no
encoding of JSON or of a log hides them, and stay recognisable where only half of a value was replaced.
Telephone numbers, IP addresses and domains are of the ranges kept for drama and documentation; the
postcodes are of areas that do not exist.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from enum import StrEnum

from attrs import frozen

CONSONANTS = "bdfghjklmnprstvz"
VOWELS = "aiou"
# Of many languages and scripts; none ends in consonants and vowels that could pass for a made-up word.
FIRST_NAMES = (
    "Zoë", "Siân", "Aoife", "Łukasz", "José", "Þóra", "Nguyễn", "Anaïs", "Jürgen", "Çelik", "Søren", "Chloé",
    "Iolo", "Myfanwy", "Dmytro", "Владимир", "Ελένη", "李娜", "محمد", "अनीता", "Ruth", "Grace", "Owen",
    "Priya",
)  # fmt: skip
DOMAINS = ("example.com", "example.org", "example.net", "mail.example")
POSTCODE_AREAS = ("QA", "QB", "QX", "XA", "XJ", "ZZ", "VV", "JZ")


class Kind(StrEnum):
    """What a value tells."""

    EMAIL = "email addresses"
    NAME = "names"
    TELEPHONE = "telephone numbers"
    POSTCODE = "postcodes"
    IP_ADDRESS = "IP addresses"
    SECRET = "passwords and tokens"
    DRAFT = "access-limited drafts"


@frozen
class Person:
    """Somebody who does not exist."""

    name: str
    email: str


def _lower(found: bytes) -> bytes:
    return found.lower()


def _as_it_is(found: bytes) -> bytes:
    return found


_C = f"[{CONSONANTS}{CONSONANTS.upper()}]".encode()
_V = f"[{VOWELS}{VOWELS.upper()}]".encode()
_WORD = _C + _V + _C + _V + _C
FINDERS: tuple[tuple[re.Pattern[bytes], Callable[[bytes], bytes]], ...] = (
    (re.compile(_WORD + b"-?" + _WORD), _lower),
    (re.compile(rb"7946 0\d{3} ext \d{4}"), _as_it_is),
    (re.compile(rb"[QXZVJ][ABXJZV]\d{1,2} \d[A-Z]{2}"), _as_it_is),
    (re.compile(rb"2001:db8:[0-9a-f]{4}:[0-9a-f]{4}"), _as_it_is),
    (re.compile(rb"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])"), _as_it_is),
    (re.compile(rb"\$2a\$12\$[./A-Za-z0-9]{53}"), _as_it_is),
)
"""Patterns of which every invented value has exactly one match, and the match's form in `Invented.marks`."""


class Invented:
    """Makes values, the same ones for the same seed, and remembers their marks: mark -> kind."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.marks: dict[bytes, Kind] = {}
        self._count = 0

    def person(self) -> Person:
        """Somebody with a name and an email address of their own."""
        first = self.random.choice(FIRST_NAMES)
        one, two = self._words()
        self.marks[f"{one}-{two}".encode()] = Kind.NAME
        return Person(f"{first} {one.capitalize()}-{two.capitalize()}", self._address(first, one, two))

    def email(self) -> str:
        """An email address of somebody whose name is not known."""
        return self._address("", *self._words())

    def telephone(self) -> str:
        """A London number with an extension."""
        number = self._next()
        found = f"7946 0{number % 1000:03} ext {number // 1000 % 10_000:04}"
        return "020 " + self._mark(found, Kind.TELEPHONE)

    def postcode(self) -> str:
        """A postcode of no place."""
        number = self._next()
        letters = "ABDEFGHJLNPQRSTUWXYZ"
        number, area = divmod(number, len(POSTCODE_AREAS))
        number, district = divmod(number, 99)
        number, sector = divmod(number, 10)
        number, first = divmod(number, len(letters))
        second = number % len(letters)
        text = f"{POSTCODE_AREAS[area]}{district + 1} {sector}{letters[first]}{letters[second]}"
        return self._mark(text, Kind.POSTCODE)

    def ip_address(self) -> str:
        """An address of the range for documentation."""
        number = self._next()
        found = f"2001:db8:{0x1000 + number % 0xF000:x}:{0x1000 + number // 0xF000 % 0xF000:x}"
        return self._mark(found, Kind.IP_ADDRESS) + "::7"

    def token(self) -> str:
        """A secret of 40 hexadecimal digits."""
        return self._mark(f"{self.random.getrandbits(160):040x}", Kind.SECRET)

    def password_hash(self) -> str:
        """What looks like a password hashed by bcrypt."""
        alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        return self._mark("$2a$12$" + "".join(self.random.choices(alphabet, k=53)), Kind.SECRET)

    def secret_matter(self) -> str:
        """What only some may read about yet."""
        one, two = self._words()
        return self._mark(f"{one}-{two}", Kind.DRAFT).title()

    def _address(self, first: str, one: str, two: str) -> str:
        self.marks[f"{one}{two}".encode()] = Kind.EMAIL
        plain = first.lower() if first and first.isascii() else self.random.choice("abcdefgh")
        return f"{plain}.{one}{two}@{self.random.choice(DOMAINS)}"

    def _mark(self, text: str, kind: Kind) -> str:
        self.marks[text.encode()] = kind
        return text

    def _next(self) -> int:
        """Numbers below 2 ** 32 in no apparent order, none of them twice."""
        self._count += 1
        return self._count * 2654435761 % 2**32

    def _words(self) -> tuple[str, str]:
        one, two = divmod(self._next(), 2**16)
        return spelled(one), spelled(two)


def spelled(number: int) -> str:
    """A number below 2 ** 16 as a word of consonants and vowels: 0 is "babab"."""
    word = ""
    for bits, letters in ((4, CONSONANTS), (2, VOWELS), (4, CONSONANTS), (2, VOWELS), (4, CONSONANTS)):
        number, digit = divmod(number, 2**bits)
        word += letters[digit]
    return word


def found_in(text: bytes, marks: Mapping[bytes, Kind]) -> set[bytes]:
    """The marks that stand in a text."""
    return {
        mark for pattern, form in FINDERS for match in pattern.findall(text) if (mark := form(match)) in marks
    }
