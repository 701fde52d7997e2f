"""What a file that should be a dump is, told from its first bytes: for messages when it is something else."""

from __future__ import annotations

import zlib

from env_sync.domain.engine_descriptor import DumpFormat
from env_sync.engines.registry import DESCRIPTORS

BEGINNING = 4096
"""Bytes of a file that are enough to tell."""

OF_NO_ENGINE = (
    DumpFormat(begins=b"PK\x03\x04", name="a zip archive"),
    DumpFormat(begins=b"<?xml", name="XML"),
)
"""What is put in the place of a dump by mistake."""


def describe_format(beginning: bytes) -> str:
    """What begins so, e.g. "a dump of MySQL, gzipped"; "" where nothing known does."""
    if not beginning.startswith(b"\x1f\x8b"):
        return _named(beginning)
    try:
        # A file that ends early is no matter here, nor is what comes after its beginning.
        inside = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(beginning, BEGINNING)
    except zlib.error:
        return "gzip that cannot be read"
    return f"{_named(inside) or 'something unknown'}, gzipped"


def _named(beginning: bytes) -> str:
    of_engines = (known for descriptor in DESCRIPTORS.values() for known in descriptor.dump_formats)
    for known in (*of_engines, *OF_NO_ENGINE):
        if beginning.startswith(known.begins, known.at):
            return known.name
    return ""
