"""The reference of the API, out of its OpenAPI document: what each endpoint takes and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen


@frozen(kw_only=True)
class Field:
    """One field of what is sent or answered."""

    name: str
    type: str
    what: str
    required: bool


@frozen(kw_only=True)
class Shape:
    """A named shape with its fields."""

    name: str
    what: str
    fields: tuple[Field, ...]


@frozen(kw_only=True)
class Endpoint:
    """One endpoint; `takes` and `answers` are names of shapes, with their shapes in the order of use."""

    method: str
    path: str
    what: str
    tag: str
    takes: str
    answers: str
    shapes: tuple[Shape, ...]


def endpoints(document: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    """The endpoints of an OpenAPI document, in its order."""
    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            answers = next(
                answer.get("content", {}).get("application/json", {}).get("schema", {})
                for code, answer in operation["responses"].items()
                if code.startswith("2")
            )
            taken = body.get("schema", {})
            names: dict[str, None] = {}
            for schema in (taken, answers):
                _collect(schema, document, names)
            found.append(
                Endpoint(
                    method=method.upper(),
                    path=path,
                    what=operation.get("description", ""),
                    tag=operation["tags"][0],
                    takes=_type(taken),
                    answers=_type(answers),
                    shapes=tuple(_shape(name, document) for name in names),
                )
            )
    return tuple(found)


def _shape(name: str, document: Mapping[str, Any]) -> Shape:
    schema = document["components"]["schemas"][name]
    required = schema.get("required", ())
    return Shape(
        name=name,
        what=schema.get("description", ""),
        fields=tuple(
            Field(
                name=field,
                type=_type(values),
                what=values.get("description", ""),
                required=field in required,
            )
            for field, values in schema.get("properties", {}).items()
        ),
    )


def _collect(schema: Mapping[str, Any], document: Mapping[str, Any], names: dict[str, None]) -> None:
    """Add every shape with fields that a schema names, and those that they name."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        target = document["components"]["schemas"][name]
        if name not in names and "properties" in target:
            names[name] = None
            for field in target["properties"].values():
                _collect(field, document, names)
    for inner in (*schema.get("anyOf", ()), *schema.get("prefixItems", ())):
        _collect(inner, document, names)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            _collect(schema[key], document, names)


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if reference := schema.get("$ref"):
        return str(reference.rpartition("/")[2])
    if options := schema.get("anyOf"):
        return " or ".join(_type(option) for option in options)
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"mapping of names to {_type(schema['additionalProperties'])}"
    return str(schema.get("format") or kind)
