from __future__ import annotations

import io
from pathlib import Path

import pytest

from sandbox.demo import search
from sandbox.demo.invented import Invented, Kind
from sandbox.demo.search import Found, search_files, search_stream, together


@pytest.fixture
def invented() -> Invented:
    return Invented(3)


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_values_are_found_wherever_a_chunk_ends(
    invented: Invented, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(search, "CHUNK", chunk)
    lines = [f"{invented.email()}\t{invented.telephone()}" for _ in range(30)]
    for text in ("\n".join(lines), "\n".join(lines) + "\n", "\n\n".join(lines)):
        assert search_stream(io.BytesIO(text.encode()), invented.marks) == set(invented.marks)


def test_an_empty_stream_holds_nothing(invented: Invented) -> None:
    assert search_stream(io.BytesIO(), invented.marks) == set()


def test_files_are_searched_with_what_lies_below_them(invented: Invented, tmp_path: Path) -> None:
    (tmp_path / "logs" / "deep").mkdir(parents=True)
    (tmp_path / "logs" / "deep" / "1.log").write_text(invented.email())
    (tmp_path / "passwords.json").write_text("{}")
    (tmp_path / "one.log").write_text("nothing")
    found = search_files("logs", [tmp_path / "logs", tmp_path / "one.log"], invented.marks)
    assert {Path(place).name: len(marks) for place, marks in found.places.items()} == {
        "1.log": 1,
        "one.log": 0,
    }
    assert found.count(invented.marks) == {Kind.EMAIL: 1}


def test_a_value_in_two_places_counts_once() -> None:
    found = Found(where="x", places={"a": frozenset({b"1", b"2"}), "b": frozenset({b"2"})})
    assert found.count({b"1": Kind.NAME, b"2": Kind.EMAIL}) == {Kind.NAME: 1, Kind.EMAIL: 1}


def test_what_is_found_in_several_servers_is_told_as_one() -> None:
    one = Found(where="x", places={"a": frozenset({b"1"})})
    other = Found(where="y", places={"b": frozenset({b"2"})})
    assert together("z", [one, other]) == Found(
        where="z", places={"a": frozenset({b"1"}), "b": frozenset({b"2"})}
    )
