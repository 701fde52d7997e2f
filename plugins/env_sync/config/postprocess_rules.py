"""Every rule by its name, with its parameters: how each is read from hieradata, and what it is for."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from env_sync.config.suggestion import did_you_mean
from env_sync.config.sync_fields import SyncField
from env_sync.config.values import Reader, mapping_of, read_names, read_text
from env_sync.config.yaml_nodes import Fields, Items, Node, shorten
from env_sync.domain.invalid_value import WrongValue
from env_sync.domain.postprocess.postprocess import Postprocess
from env_sync.domain.postprocess.redact_last_part import RedactLastPart
from env_sync.domain.postprocess.replace_text import Replacement, ReplaceText
from env_sync.domain.postprocess.rewrite_domain import DomainException, RewriteDomain

DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]")
SQL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")
COLLECTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
NO_RULE = "none"
"""Stands for a rule where a database needs none in an environment."""


@frozen(kw_only=True)
class Rule:
    """One rule; `make` is given the parameters that are written, by name."""

    make: type[Postprocess]
    doc: str
    parameters: Mapping[str, SyncField]


def read_domain(node: Node) -> str:
    """Read the name of a domain, of two parts or more."""
    text = read_text(node)
    if DOMAIN.fullmatch(text) is None:
        raise WrongValue("write a domain in lower case, such as `integration.example.gov.uk`")
    return text


def _read_name(node: Node, *, pattern: re.Pattern[str], right: str, dots: int = 0) -> str:
    text = read_text(node)
    parts = text.split(".") if dots else [text]
    if len(parts) > dots + 1 or any(pattern.fullmatch(part) is None for part in parts):
        raise WrongValue(right)
    return text


read_table: Reader[str] = functools.partial(
    _read_name,
    pattern=SQL_NAME,
    right="write a table's name, or a schema, `.` and its name, without quotes",
    dots=1,
)
read_column: Reader[str] = functools.partial(
    _read_name, pattern=SQL_NAME, right="write a column's name without quotes"
)
read_collection: Reader[str] = functools.partial(
    _read_name,
    pattern=COLLECTION_NAME,
    right="write a collection's name: letters, digits, `_`, `-`, `.`",
)
# One within a field would never be found, and what it is to protect would be left as it is.
read_field: Reader[str] = functools.partial(
    _read_name,
    pattern=FIELD_NAME,
    right="write the name of a field of the document itself: letters, digits, `_`, `-`",
)


def read_replaced(node: Node) -> str:
    """Read text that stands in SQL."""
    text = read_text(node)
    if "\\" in text:
        raise WrongValue("write it without backslashes, which engines read in different ways")
    return text


def _all(reader: Reader[str]) -> Reader[tuple[str, ...]]:
    """A reader of one name or a list of them."""

    def read(node: Node) -> tuple[str, ...]:
        for each in node.items if isinstance(node, Items) else (node,):
            reader(each)
        names = read_names(node)
        if not names:
            raise WrongValue("write at least one")
        return names

    return read


def _part(node: Fields, name: str, reader: Reader[Any]) -> Any:
    entry = node.entries.get(name)
    if entry is None:
        raise WrongValue(f"line {node.place.line}: add `{name}`")
    try:
        return reader(entry.value)
    except WrongValue as error:
        raise WrongValue(f"for `{name}` in line {entry.place.line}, {error}") from None


def _only(node: Fields, names: tuple[str, ...]) -> None:
    for fault in (*node.faults, *(node.repetition(each) for each in node.repeated)):
        raise WrongValue(f"line {fault.place.line}: {fault.read}; {fault.right}")
    for key, entry in node.entries.items():
        if key not in names:
            listed = ", ".join(f"`{each}`" for each in names)
            raise WrongValue(
                f"`{shorten(key)}` in line {entry.place.line} is none of {listed}.{did_you_mean(key, names)}"
            )


def read_replacements(node: Node) -> tuple[Replacement, ...]:
    """Read a list of replacements."""
    if not isinstance(node, Items) or not node.items:
        raise WrongValue("write a list of mappings with `columns`, `from` and `to`")
    found = []
    for each in node.items:
        if not isinstance(each, Fields):
            raise WrongValue(f"line {each.place.line}: write a mapping with `columns`, `from` and `to`")
        _only(each, ("columns", "from", "to"))
        found.append(
            Replacement(
                columns=_part(each, "columns", _all(read_column)),
                old=_part(each, "from", read_replaced),
                new=_part(each, "to", read_replaced),
            )
        )
    return tuple(found)


def read_exceptions(node: Node) -> Mapping[str, DomainException]:
    """Read domains by backend: one domain, or a mapping with `from` and `to`."""

    def read(value: Node) -> DomainException:
        if not isinstance(value, Fields):
            return DomainException(old="", new=read_domain(value))
        _only(value, ("from", "to"))
        old = _part(value, "from", read_domain) if "from" in value.entries else ""
        return DomainException(old=old, new=_part(value, "to", read_domain))

    return mapping_of(read)(node)


RULES: Mapping[str, Rule] = {
    RewriteDomain.rule: Rule(
        make=RewriteDomain,
        doc="In the URLs of a collection of backends the domain of the environment above becomes that "
        "of this one. What that domain is, one backend tells: it is what follows the backend's own id in "
        "its host. URLs in other domains stay. It fails where that backend is not there just once, or where "
        "a URL is none.",
        parameters={
            "to": SyncField(
                reader=read_domain, values="domain", doc="The domain of this environment.", default=None
            ),
            "found_from": SyncField(
                reader=read_text,
                values="id of a backend",
                doc="The backend whose host tells the domain of the environment above.",
                default="`static`",
            ),
            "collection": SyncField(
                reader=read_collection,
                values="name",
                doc="The collection of backends.",
                default="`backends`",
            ),
            "id_field": SyncField(
                reader=read_field,
                values="name of a field",
                doc="Which field is a backend's id.",
                default="`backend_id`",
            ),
            "url_field": SyncField(
                reader=read_field,
                values="name of a field",
                doc="Which field is its URL.",
                default="`backend_url`",
            ),
            "exceptions": SyncField(
                reader=read_exceptions,
                values="mapping of ids of backends to a domain, or to `from` and `to`",
                doc="Backends that get another domain; with `from`, instead of another one. Their URLs must "
                "be in it, or in the domain of the environment above.",
                default="none",
            ),
        },
    ),
    ReplaceText.rule: Rule(
        make=ReplaceText,
        doc="In columns of a table text becomes other text, one replacement after another. It fails where "
        "the table or a column is not there.",
        parameters={
            "table": SyncField(
                reader=read_table, values="name, or schema and name", doc="The table.", default=None
            ),
            "replacements": SyncField(
                reader=read_replacements,
                values="list of `columns`, `from` and `to`",
                doc="What is replaced by what, in which columns. Upper and lower case differ.",
                default=None,
            ),
        },
    ),
    RedactLastPart.rule: Rule(
        make=RedactLastPart,
        doc="In documents that not everybody may see, what follows the last `/` of a path "
        "becomes `redacted-` and a hash of the document's `_id`. It fails where such a path is no text, or "
        "one is left, and where no document at all has a path.",
        parameters={
            "collection": SyncField(
                reader=read_collection, values="name", doc="The collection.", default=None
            ),
            "path_field": SyncField(
                reader=read_field, values="name of a field", doc="Which field is the path.", default=None
            ),
            "limited_by": SyncField(
                reader=_all(read_field),
                values="name of a field, or a list",
                doc="A document is limited where one of these fields is there and not empty.",
                default=None,
            ),
        },
    ),
}
