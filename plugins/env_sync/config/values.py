"""Readers of single values: a node becomes a value of one type, or WrongValue says what is right.

Numbers and booleans are read from the text as written, so that YAML 1.1 cannot turn `08`, `1:30` or
`no` into something that nobody meant.
"""

from __future__ import annotations

import datetime as dt
import re
import shlex
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import TypeVar

from env_sync.config.suggestion import did_you_mean
from env_sync.config.yaml_nodes import Fields, Items, Node, Scalar, shorten
from env_sync.core.addresses import is_web_address
from env_sync.domain.duration import RIGHT as DURATION_RIGHT
from env_sync.domain.duration import format_duration, parse_duration
from env_sync.domain.invalid_value import WrongValue
from env_sync.domain.settings import Window

T = TypeVar("T")
Reader = Callable[[Node], T]

BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""S3's rules for the names of buckets."""
ONE_BUCKET = "write the bucket's name alone: 3 to 63 lower-case letters, digits, `-` and `.`"
REPOSITORY_NAME = re.compile(r'[^\s#\\/*?"<>|,]+')
"""Elasticsearch's rules for the names of snapshot repositories."""
CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
COMPRESSION = re.compile(r"none|gzip:[1-9]")
NOT_ZONES = ("localtime", "posixrules", "Factory")
"""Files beside the zones that depend on the machine or hold no zone."""
PRIVATE_ACLS = ("private", "bucket-owner-read", "bucket-owner-full-control")
"""The canned ACLs under which nobody but the two accounts can read a dump."""


def read_text(node: Node) -> str:
    """Read one line of text, quoted or bare; neither empty nor with spaces around it."""
    if not isinstance(node, Scalar):
        raise WrongValue("write one value")
    if node.tag is not None:
        raise WrongValue(f"remove the tag `{shorten(node.tag)}`")
    if node.is_null or not node.text:
        raise WrongValue("write a value or remove the key")
    if not node.text.isprintable() or node.text != node.text.strip():
        raise WrongValue("write it without control characters and without spaces around it")
    return node.text


def read_crontab_text(node: Node) -> str:
    """Read a crontab field's text; a YAML list becomes a crontab list, as Puppet's cron takes it."""
    if isinstance(node, Items):
        return ",".join(read_text(each) for each in node.items)
    return read_text(node)


def read_boolean(node: Node) -> bool:
    """Read a boolean in any of YAML 1.1's spellings, quoted or bare."""
    text = read_text(node).lower()
    if text in ("true", "yes", "on"):
        return True
    if text in ("false", "no", "off"):
        return False
    raise WrongValue("write `true` or `false`")


def whole_number(lowest: int, highest: int) -> Reader[int]:
    """Return a reader of decimal whole numbers within two bounds, both included."""

    def read(node: Node) -> int:
        text = read_text(node)
        if re.fullmatch(r"[0-9]{1,9}", text) and lowest <= int(text) <= highest:
            return int(text)
        raise WrongValue(f"write a whole number from {lowest} to {highest}")

    return read


def read_ratio(node: Node) -> float:
    """Read a share between 0 and 1."""
    text = read_text(node)
    if re.fullmatch(r"0|0?\.[0-9]{1,9}|0\.|1(\.0{0,9})?", text):
        return float(text)
    raise WrongValue("write a number from 0 to 1, such as `0.5`")


def duration(shortest: dt.timedelta = dt.timedelta(0)) -> Reader[dt.timedelta]:
    """Return a reader of durations no shorter than `shortest`."""

    def read(node: Node) -> dt.timedelta:
        value = parse_duration(read_text(node))
        if value < shortest:
            raise WrongValue(f"{DURATION_RIGHT}, {format_duration(shortest)} or more")
        return value

    return read


def one_of(choices: Iterable[str]) -> Reader[str]:
    """Return a reader of one word out of some."""
    known = tuple(choices)

    def read(node: Node) -> str:
        text = read_text(node)
        if text not in known:
            listed = ", ".join(f"`{each}`" for each in known)
            raise WrongValue(f"write one of {listed}.{did_you_mean(text, known)}")
        return text

    return read


def optional(reader: Reader[T]) -> Reader[T | None]:
    """Return a reader that reads an explicit null as None."""

    def read(node: Node) -> T | None:
        return None if isinstance(node, Scalar) and node.is_null else reader(node)

    return read


def mapping_of(reader: Reader[T], keys: Iterable[str] | None = None) -> Reader[Mapping[str, T]]:
    """Return a reader of a mapping whose values `reader` reads; `keys` are those allowed, if not any."""
    known = None if keys is None else tuple(keys)

    def read(node: Node) -> Mapping[str, T]:
        if not isinstance(node, Fields):
            raise WrongValue("write a mapping, one `name: value` a line")
        for fault in (*node.faults, *(node.repetition(each) for each in node.repeated)):
            raise WrongValue(f"line {fault.place.line}: {fault.read}; {fault.right}")
        values = {}
        for key, entry in node.entries.items():
            if known is not None and key not in known:
                listed = ", ".join(f"`{each}`" for each in known)
                raise WrongValue(f"`{shorten(key)}` is none of {listed}.{did_you_mean(key, known)}")
            try:
                values[key] = reader(entry.value)
            except WrongValue as error:
                raise WrongValue(f"for `{shorten(key)}` in line {entry.place.line}, {error}") from None
        return values

    return read


def read_names(node: Node) -> tuple[str, ...]:
    """Read one name or a list of them; each is kept once."""
    nodes = node.items if isinstance(node, Items) else (node,)
    return tuple(dict.fromkeys(read_text(each) for each in nodes))


def read_hooks(node: Node) -> tuple[str, ...]:
    """Read commands or URLs, as names are read; a command must be one as a shell splits it.

    Its first word is told in logs, so what may be a URL by mistake, or a variable, is none.
    """
    hooks = read_names(node)
    for hook in hooks:
        try:
            words = shlex.split(hook)
        except ValueError:
            raise WrongValue("close every quote: a command is split into words as by a shell") from None
        if not words:
            raise WrongValue("write a command or a URL")
        if is_web_address(hook):
            continue
        if "://" in words[0]:
            raise WrongValue("write a URL that begins with `https://` or `http://`, without quotes in it")
        if "=" in words[0].partition("/")[0]:
            raise WrongValue(
                "write a command that begins with a program, not with a variable: no shell reads it"
            )
    return hooks


def read_tables(node: Node) -> tuple[str, ...]:
    """Read a list of tables, or their names in one text with commas; each is kept once."""
    if isinstance(node, Items):
        return read_names(node)
    names = [each.strip() for each in read_text(node).split(",")]
    if "" in names:
        raise WrongValue("write table names with one comma between them")
    return tuple(dict.fromkeys(names))


def read_window(node: Node) -> Window:
    """Read a part of the day, `HH:MM-HH:MM`, which may cross midnight."""
    opens, separator, closes = read_text(node).partition("-")
    first, last = CLOCK.fullmatch(opens.strip()), CLOCK.fullmatch(closes.strip())
    if not separator or first is None or last is None:
        raise WrongValue("write `HH:MM-HH:MM`, such as `22:00-08:00`")
    window = Window(opens=dt.time(int(first[1]), int(first[2])), closes=dt.time(int(last[1]), int(last[2])))
    if window.opens == window.closes:
        raise WrongValue("the window must close at another time than it opens")
    return window


def read_zone(node: Node) -> str:
    """Read the name of an IANA time zone that this machine knows."""
    text = read_text(node)
    try:
        if text not in NOT_ZONES:
            zoneinfo.ZoneInfo(text)
            return text
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        # Unknown, outside the folder of zones, or one of its folders: said below.
        pass
    suggestion = did_you_mean(text, zoneinfo.available_timezones())
    raise WrongValue(f"write an IANA time zone such as `Europe/London`.{suggestion}")


def read_bucket(node: Node) -> str:
    """Read the name of an S3 bucket."""
    text = read_text(node)
    if BUCKET_NAME.fullmatch(text) is None:
        raise WrongValue(ONE_BUCKET)
    return text


def read_bucket_or_repository(node: Node) -> str:
    """Read the name of an S3 bucket, or of a snapshot repository, which has more liberties."""
    text = read_text(node)
    if REPOSITORY_NAME.fullmatch(text) is None:
        raise WrongValue(f"{ONE_BUCKET}; or the snapshot repository's")
    return text


def read_bucket_pattern(node: Node) -> str:
    """Read the pattern of the names of buckets of dumps; `{environment}` is the only placeholder."""
    text = read_text(node)
    # With nothing around the placeholder every bucket would look like a bucket of dumps.
    literal = text.replace("{environment}", "", 1)
    if not literal or BUCKET_NAME.fullmatch(text.replace("{environment}", "any", 1)) is None:
        raise WrongValue("write a bucket's name, with `{environment}` once where the environment's stands")
    return text


def read_key_prefix(node: Node) -> str:
    """Read the folder of a bucket, without a slash at its ends."""
    text = read_text(node)
    if any(each in ("", ".", "..") for each in text.split("/")):
        raise WrongValue("write a folder of the bucket, without `/` at its start or end")
    return text


def read_folder(node: Node) -> PurePosixPath:
    """Read an absolute folder of this machine, other than `/`."""
    text = read_text(node)
    folder = PurePosixPath(text)
    if not folder.is_absolute() or ".." in folder.parts or len(folder.parts) < 2:
        raise WrongValue("write an absolute folder, such as `/tmp/publishing_api`")
    return folder


def read_compression(node: Node) -> str:
    """Read how dumps are compressed."""
    text = read_text(node)
    if COMPRESSION.fullmatch(text) is None:
        raise WrongValue("write `none`, or `gzip:1` to `gzip:9`")
    return text


def read_acl(node: Node) -> str:
    """Read a canned ACL; those that let others read dumps are refused."""
    return one_of(PRIVATE_ACLS)(node)
