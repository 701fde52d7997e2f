from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from env_sync.config.yaml_nodes import Fields, Items, Node, Scalar
from env_sync.config.yaml_reader import MOST_NODES, YamlFile, read_yaml


def read(tmp_path: Path, text: str | bytes) -> YamlFile:
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path, "a.yaml")


def plain(node: Node) -> object:
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Items):
        return [plain(each) for each in node.items]
    return {key: plain(entry.value) for key, entry in node.entries.items()}


def root(file: YamlFile) -> Fields:
    assert file.root is not None, file.problem
    assert file.problem is None
    return file.root


def test_scalars_stay_as_they_were_written(tmp_path: Path) -> None:
    fields = root(read(tmp_path, 'a: 00\nb: "05"\nc: 1:30\nd: no\ne: 08\nf: ~\n'))
    assert plain(fields) == {"a": "00", "b": "05", "c": "1:30", "d": "no", "e": "08", "f": "~"}
    assert isinstance(fields.entries["f"].value, Scalar)
    assert fields.entries["f"].value.is_null


def test_keys_keep_their_lines_through_merges(tmp_path: Path) -> None:
    fields = root(read(tmp_path, "a: &a\n  x: 1\n  y: 2\nb:\n  <<: *a\n  y: 3\n"))
    merged = fields.entries["b"].value
    assert isinstance(merged, Fields)
    assert plain(merged) == {"y": "3", "x": "1"}
    assert {key: entry.place.line for key, entry in merged.entries.items()} == {"x": 2, "y": 6}


def test_the_first_of_several_merged_mappings_wins(tmp_path: Path) -> None:
    fields = root(
        read(tmp_path, "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: &c {<<: [*a, *b], z: 3}\nd: {<<: *c}\n")
    )
    assert plain(fields.entries["d"].value) == {"x": "1", "y": "2", "z": "3"}


def test_an_alias_means_the_latest_anchor(tmp_path: Path) -> None:
    assert plain(root(read(tmp_path, "a: &a 1\nb: *a\nc: &a 2\nd: *a\n")))["d"] == "2"  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "line", "read_word"),
    [
        ("a: [1\nb: 2\n", 2, "does not parse"),
        ("a: 1\n\tb: 2\n", 2, "does not parse"),
        ("a: 1\nb: 'x\n", 3, "does not parse"),
        ("a: 1\n---\nb: 2\n", 2, "second YAML document"),
        ("%YAML 9.9\n---\na: 1\n", 1, "does not parse"),
        ("", 1, "empty"),
        ("# only words\n", 1, "empty"),
        ("---\n...\n", 1, "empty"),
        ("~\n", 1, "empty"),
        ("\n- a\n- b\n", 2, "a list"),
        ("hello\n", 1, "a single value"),
        ("a: 1\nb: *nobody\n", 2, "names no anchor"),
        ("a: 1\nb: &b\n  c: *b\n", 3, "inside its own anchor"),
        ("b: &b\n  <<: *b\n", 2, "inside its own anchor"),
        ("b: &b [x, *b]\n", 1, "inside its own anchor"),
        ("a: &b 1\nb: &b [x, *b]\n", 2, "inside its own anchor"),
        (b"a: 1\nb: \xff\n", 2, "not UTF-8"),
        ("a: 1\n".encode("utf-16"), 1, "not UTF-8"),
        (b"a: 1\nb: \x01\n", 2, "does not parse"),
        (b"a: \x00\n", 1, "does not parse"),
        ("a: " + "[" * 200_000, 1, "levels of nesting"),
        ("a: " + "{a: " * 200_000, 1, "levels of nesting"),
        ("- " * 200_000, 1, "levels of nesting"),
    ],
)
def test_a_bad_file_is_a_problem_with_its_line(
    tmp_path: Path, text: str | bytes, line: int, read_word: str
) -> None:
    file = read(tmp_path, text)
    assert file.root is None
    assert file.problem is not None
    assert (file.problem.place.line, file.problem.sync) == (line, None)
    assert read_word in file.problem.read
    assert "\n" not in str(file.problem)


def test_the_text_of_a_bad_file_is_not_repeated(tmp_path: Path) -> None:
    file = read(tmp_path, "password: hunter2\nb: [hunter2\n")
    assert "hunter2" not in str(file.problem)


@pytest.mark.parametrize(
    "inner", ["[*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]", "{<<: [*a, *a, *a, *a, *a], x: *a}"]
)
def test_aliases_of_aliases_do_not_grow_without_end(tmp_path: Path, inner: str) -> None:
    lines = ["a0: &a0 {lol: lol}"]
    lines += [f"a{level}: &a{level} {inner.replace('*a', f'*a{level - 1}')}" for level in range(1, 40)]
    file = read(tmp_path, "\n".join(lines))
    assert file.problem is not None
    assert f"more than {MOST_NODES} values" in file.problem.read


def test_a_long_chain_of_aliases_is_read(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{level}: &a{level} [*a{level - 1}]" for level in range(1, 1000)]
    assert read(tmp_path, "\n".join(lines)).problem is None


def test_repeated_keys_are_kept_apart(tmp_path: Path) -> None:
    fields = root(read(tmp_path, "a: 1\nb: 2\na: 3\n"))
    assert plain(fields) == {"a": "1", "b": "2"}
    (again,) = fields.repeated
    assert (again.key, again.place.line) == ("a", 3)
    assert "first at a.yaml:1" in fields.repetition(again).read


@pytest.mark.parametrize("text", ["a: {<<: x}", "a: {<<: [x]}", "x: &x {}\na: {<<: *x, <<: *x}", "a: {<<: }"])
def test_a_merge_of_no_mapping_is_a_fault(tmp_path: Path, text: str) -> None:
    fields = root(read(tmp_path, text)).entries["a"].value
    assert isinstance(fields, Fields)
    assert len(fields.faults) == 1


def test_a_quoted_merge_key_is_an_ordinary_key(tmp_path: Path) -> None:
    assert plain(root(read(tmp_path, '"<<": x\n'))) == {"<<": "x"}


def test_keys_that_are_no_text_are_borne(tmp_path: Path) -> None:
    fields = root(read(tmp_path, "? [a, b]\n: c\n? {d: e}\n: f\ng: h\n"))
    assert plain(fields.entries["g"].value) == "h"


def _read_into(found: list[YamlFile], path: Path) -> None:
    found.append(read_yaml(path, path.name))


def test_a_folder_a_pipe_and_a_dangling_link_are_problems(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    for name in ("folder.yaml", "pipe.yaml", "link.yaml", "loop.yaml", "missing.yaml"):
        found: list[YamlFile] = []
        # In a thread, so that a reader that blocks on the pipe fails the test instead of hanging it.
        thread = threading.Thread(target=_read_into, args=(found, tmp_path / name), daemon=True)
        thread.start()
        thread.join(10)
        (file,) = found
        assert file.problem is not None
        assert file.raw is None


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    problem = read_yaml(path, "a.yaml").problem
    assert problem is not None
    assert "larger than" in problem.read


def test_a_byte_order_mark_is_borne(tmp_path: Path) -> None:
    assert plain(root(read(tmp_path, b"\xef\xbb\xbfa: 1\n"))) == {"a": "1"}
