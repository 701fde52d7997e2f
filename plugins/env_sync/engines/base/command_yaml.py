"""YAML in which `on`, `no`, `1:30` and 2026-01-01 are what they look like: text."""

from __future__ import annotations

import re
from typing import Any

import yaml

TAGS = {
    "null": (r"^(?:null|~|)$", ["n", "~", ""]),
    "bool": (r"^(?:true|false)$", list("tf")),
    "int": (r"^-?(?:0|[1-9][0-9]*)$", list("-0123456789")),
    "float": (r"^-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$", list("-0123456789")),
    "merge": (r"^<<$", ["<"]),
}


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, which would quietly undo the first."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if len(set(keys)) < len(keys):
            raise yaml.constructor.ConstructorError(
                None, None, "a key stands twice in one mapping", node.start_mark
            )
        return super().construct_mapping(node, deep)


for _name, (_pattern, _first) in TAGS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(_pattern), _first)


def load(content: bytes) -> tuple[Any, list[int]]:
    """The value of the document, and in which line each of its items begins, from 1, where it is a list.

    Raises yaml.YAMLError, ValueError, RecursionError.
    """
    node = yaml.compose(content, Loader=_Loader)
    lines = [item.start_mark.line + 1 for item in node.value] if isinstance(node, yaml.SequenceNode) else []
    return yaml.load(content, Loader=_Loader), lines
