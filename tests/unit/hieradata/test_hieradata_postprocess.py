"""How the parameters of each postprocess are read, and what is said of those that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from env_sync.config.fields import read_fields
from env_sync.config.postprocess_rules import (
    RULES,
    read_collection,
    read_column,
    read_domain,
    read_exceptions,
    read_field,
    read_replaced,
    read_replacements,
    read_table,
)
from env_sync.config.yaml_nodes import Fields, Node
from env_sync.config.yaml_reader import read_yaml
from env_sync.domain.invalid_value import WrongValue
from env_sync.domain.postprocess.replace_text import Replacement
from env_sync.domain.postprocess.rewrite_domain import DomainException

DOMAIN = "write a domain in lower case, such as `integration.example.gov.uk`"
TABLE = "write a table's name, or a schema, `.` and its name, without quotes"
COLUMN = "write a column's name without quotes"
COLLECTION = "write a collection's name: letters, digits, `_`, `-`, `.`"
FIELD = "write the name of a field of the document itself: letters, digits, `_`, `-`"


@pytest.fixture
def node(tmp_path: Path) -> Callable[[str], Node]:
    """The value that a text of YAML is, from line 2 of a file on."""

    def read(text: str) -> Node:
        file = tmp_path / "common.yaml"
        file.write_text("value:\n" + "".join(f"  {line}\n" for line in text.splitlines()))
        root = read_yaml(file, "common.yaml").root
        assert root is not None
        return root.entries["value"].value

    return read


@pytest.mark.parametrize(
    ("reader", "names"),
    [
        (read_domain, ["integration.example.gov.uk", "a.bc", "1-a.b-2.c-9", "x" * 63 + ".io", "a.b.c9"]),
        (read_table, ["people", "app.people", "_a$1._B$2", "x" * 63 + "." + "x" * 63]),
        (read_column, ["email", "_a$1", "x" * 63]),
        (read_collection, ["backends", "_a", "router.backends-2"]),
        (read_field, ["_id", "backend-url", "A9"]),
        (read_replaced, ["it's", "www.example/%", '"x"']),
    ],
)
def test_names_that_fit(node: Callable[[str], Node], reader: Callable[[Node], str], names: list[str]) -> None:
    for name in names:
        quoted = "'" + name.replace("'", "''") + "'"
        assert reader(node(quoted)) == name


@pytest.mark.parametrize(
    ("reader", "right", "names"),
    [
        (
            read_domain,
            DOMAIN,
            [
                "example",
                "Example.com",
                "a..bc",
                "-a.bc",
                "a-.bc",
                "a.b",
                "a.1b",
                "a.b-",
                "x" * 64 + ".io",
                ".a.bc",
            ],
        ),
        (read_table, TABLE, ["a.b.c", "1a", "a-b", "a.", ".a", "a b", "x" * 64, "a.1"]),
        (read_column, COLUMN, ["a.b", "1a", "a b", "x" * 64]),
        (read_collection, COLLECTION, ["1a", "a b", ".a", "a$"]),
        (read_field, FIELD, ["a.b", "1a", "a$", "-a"]),
        (read_replaced, "write it without backslashes, which engines read in different ways", ["a\\b"]),
    ],
)
def test_names_that_do_not_fit(
    node: Callable[[str], Node], reader: Callable[[Node], str], right: str, names: list[str]
) -> None:
    for name in names:
        with pytest.raises(WrongValue) as error:
            reader(node(f"'{name}'"))
        assert str(error.value) == right


def test_replacements_are_read_in_their_order(node: Callable[[str], Node]) -> None:
    text = "- {columns: [a, b, a], from: x, to: y}\n- {columns: c, from: 'it''s', to: its}"
    assert read_replacements(node(text)) == (
        Replacement(columns=("a", "b"), old="x", new="y"),
        Replacement(columns=("c",), old="it's", new="its"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "write a list of mappings with `columns`, `from` and `to`"),
        ("{columns: a, from: b, to: c}", "write a list of mappings with `columns`, `from` and `to`"),
        (
            "- {columns: a, from: b, to: c}\n- a",
            "line 3: write a mapping with `columns`, `from` and `to`",
        ),
        ("- {columns: a, from: b}", "line 2: add `to`"),
        ("- {columns: a, to: b}", "line 2: add `from`"),
        ("- from: a\n  to: b", "line 2: add `columns`"),
        ("- from: a\n  to: b\n  columns: []", "for `columns` in line 4, write at least one"),
        ("- from: a\n  to: b\n  columns: [a, b.c]", f"for `columns` in line 4, {COLUMN}"),
        (
            "- columns: a\n  from: a\\b\n  to: c",
            "for `from` in line 3, write it without backslashes, which engines read in different ways",
        ),
        (
            "- columns: a\n  from: a\n  to: b\\c",
            "for `to` in line 4, write it without backslashes, which engines read in different ways",
        ),
        (
            "- columns: a\n  from: a\n  too: b",
            "`too` in line 4 is none of `columns`, `from`, `to`. Did you mean `to`?",
        ),
        (
            f"- columns: a\n  from: a\n  to: b\n  {'x' * 61}: b",
            f"`{'x' * 60}...` in line 5 is none of `columns`, `from`, `to`.",
        ),
        (
            "- columns: a\n  from: a\n  from: b\n  to: c",
            "line 4: `from` is defined twice (first at common.yaml:3); keep one of the two",
        ),
        (
            "- columns: a\n  <<: b\n  from: a\n  to: c",
            "line 3: `<<` is given `b`; write an alias of a mapping, `<<: *anchor`",
        ),
    ],
)
def test_what_is_wrong_with_replacements(node: Callable[[str], Node], text: str, said: str) -> None:
    with pytest.raises(WrongValue) as error:
        read_replacements(node(text))
    assert str(error.value) == said


def test_exceptions_are_a_domain_or_one_instead_of_another(node: Callable[[str], Node]) -> None:
    text = "a: one.example.com\nb: {to: two.example.com}\nc: {from: old.example.com, to: new.example.com}"
    assert read_exceptions(node(text)) == {
        "a": DomainException(old="", new="one.example.com"),
        "b": DomainException(old="", new="two.example.com"),
        "c": DomainException(old="old.example.com", new="new.example.com"),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: b", DOMAIN),
        ("a: {from: old.example.com}", "line 2: add `to`"),
        ("a: {from: old, to: new.example.com}", f"for `from` in line 2, {DOMAIN}"),
        ("a: {from: old.example.com, to: new}", f"for `to` in line 2, {DOMAIN}"),
        (
            "a: {form: old.example.com, to: new.example.com}",
            "`form` in line 2 is none of `from`, `to`. Did you mean `from`?",
        ),
    ],
)
def test_what_is_wrong_with_exceptions(node: Callable[[str], Node], text: str, said: str) -> None:
    with pytest.raises(WrongValue) as error:
        read_exceptions(node(text))
    assert str(error.value).endswith(said)


@pytest.mark.parametrize(
    ("rule", "parameter", "good", "read", "bad", "said"),
    [
        ("rewrite_domain", "to", "a.example", "a.example", "a", DOMAIN),
        ("rewrite_domain", "found_from", "any thing", "any thing", "[a]", "write one value"),
        ("rewrite_domain", "collection", "a.b", "a.b", "1", COLLECTION),
        ("rewrite_domain", "id_field", "a", "a", "a.b", FIELD),
        ("rewrite_domain", "url_field", "a", "a", "a.b", FIELD),
        (
            "rewrite_domain",
            "exceptions",
            "{a: b.example}",
            {"a": DomainException(old="", new="b.example")},
            "{a: b}",
            DOMAIN,
        ),
        ("replace_text", "table", "a.b", "a.b", "a.b.c", TABLE),
        (
            "replace_text",
            "replacements",
            "[{columns: a, from: b, to: c}]",
            (Replacement(columns=("a",), old="b", new="c"),),
            "[]",
            "write a list of mappings",
        ),
        ("redact_last_part", "collection", "a.b", "a.b", "1", COLLECTION),
        ("redact_last_part", "path_field", "a", "a", "a.b", FIELD),
        ("redact_last_part", "limited_by", "[a, b]", ("a", "b"), "[a, b.c]", FIELD),
        ("redact_last_part", "limited_by", "a", ("a",), "[]", "write at least one"),
    ],
)
def test_each_parameter_is_read_as_what_it_is(
    node: Callable[[str], Node], rule: str, parameter: str, good: str, read: Any, bad: str, said: str
) -> None:
    def parameters(value: str) -> Fields:
        written = node(f"{parameter}: {value}")
        assert isinstance(written, Fields)
        return written

    assert read_fields(parameters(good).place, parameters(good), RULES[rule].parameters).values == {
        parameter: read
    }
    wrong = read_fields(parameters(bad).place, parameters(bad), RULES[rule].parameters)
    assert wrong.values == {}
    assert any(said in fault.right for fault in wrong.faults)
