from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Mapping

import bson
import pytest

from sandbox.demo import assets, whitehall
from sandbox.demo.databases import DATABASES
from sandbox.demo.invented import CONSONANTS, FIRST_NAMES, VOWELS, Invented, Kind, found_in, spelled
from sandbox.demo.seed import Rows, rows_of_production

WORD = f"[{CONSONANTS}][{VOWELS}][{CONSONANTS}][{VOWELS}][{CONSONANTS}]"


def text_of(rows: Rows) -> bytes:
    return "\n".join("\t".join(map(str, row)) for _, values in rows.values() for row in values).encode()


@pytest.fixture(scope="module")
def made() -> tuple[Mapping[str, Rows], Invented]:
    """What production is filled with. It takes seconds; who invents more does so in a copy."""
    return rows_of_production()


def test_a_seed_gives_the_same_rows_each_time(made: tuple[Mapping[str, Rows], Invented]) -> None:
    (first, invented), (second, again) = made, rows_of_production()
    assert first == second
    assert invented.marks == again.marks


def test_every_mark_stands_in_the_rows_of_production_and_none_where_nothing_is_personal(
    made: tuple[Mapping[str, Rows], Invented],
) -> None:
    rows, invented = made
    assert set(rows) == {database.name for database in DATABASES}
    found = {name: found_in(text_of(tables), invented.marks) for name, tables in rows.items()}
    assert found.pop("local-links-manager_production") == set()
    assert set().union(*found.values()) == set(invented.marks)
    assert min(Counter(invented.marks.values()).values()) >= 800


def test_every_mark_stands_in_what_the_other_servers_hold(
    made: tuple[Mapping[str, Rows], Invented],
) -> None:
    invented = copy.deepcopy(made[1])
    before = set(invented.marks)
    documents = bson.encode(dict(assets.documents(invented)))
    uploaded = set(invented.marks) - before
    editions = text_of(whitehall.rows(invented))
    assert found_in(documents, invented.marks) == uploaded
    assert found_in(editions, invented.marks) == set(invented.marks) - before - uploaded
    assert min(len(uploaded), len(found_in(editions, invented.marks))) > 4_000


def test_numbers_are_spelled_each_in_its_own_way() -> None:
    words = {spelled(number) for number in range(2**16)}
    assert len(words) == 2**16
    assert all(re.fullmatch(WORD, word) for word in words)


def test_no_first_name_runs_into_the_made_up_words() -> None:
    assert [name for name in FIRST_NAMES if re.search(WORD, name.lower())] == []


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_of_value_is_found_in_the_text_around_it(kind: Kind) -> None:
    invented = Invented(7)
    made = {
        Kind.NAME: lambda: invented.person().name,
        Kind.EMAIL: invented.email,
        Kind.TELEPHONE: invented.telephone,
        Kind.POSTCODE: invented.postcode,
        Kind.IP_ADDRESS: invented.ip_address,
        Kind.SECRET: lambda: f"{invented.token()} {invented.password_hash()}",
        Kind.DRAFT: invented.secret_matter,
    }[kind]
    values = [made() for _ in range(500)]
    expected = {mark for mark, what in invented.marks.items() if what is kind}
    assert len(expected) >= 500
    for text in (
        "\t".join(values),
        str({"value": values}),
        "\\n".join(values),
        "".join(f"<{v}>" for v in values),
    ):
        assert expected <= found_in(text.encode(), invented.marks)
    assert found_in(b"Zoe Babad-Babad zoe@example.com 020 7946 0000 QA1 1AA 2001:db8::1", {}) == set()


def test_half_of_a_value_is_found() -> None:
    invented = Invented(7)
    person = invented.person()
    local, words = person.email.split("@")[0], person.name.split()[-1]
    assert {invented.marks[mark] for mark in found_in(f"{local}@removed".encode(), invented.marks)} == {
        Kind.EMAIL
    }
    assert {invented.marks[mark] for mark in found_in(words.upper().encode(), invented.marks)} == {Kind.NAME}
