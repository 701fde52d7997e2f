"""What a file that should be a dump is, told from its first bytes: for messages when it is something else."""

from __future__ import annotations

import zlib

BEGINNING = 4096
"""Bytes of a file that are enough to tell."""

_BEGINNINGS = (
    (b"PGDMP", "an archive of pg_dump"),
    (b"\x6d\xe2\x99\x81", "an archive of mongodump"),
    (b"-- MySQL dump", "a dump of MySQL"),
    (b"-- MariaDB dump", "a dump of MariaDB"),
    (b"/*M!999999", "a dump of MariaDB"),
    (b"--\n-- PostgreSQL database dump", "a plain script of pg_dump"),
    (b"PK\x03\x04", "a zip archive"),
    (b"<?xml", "XML"),
)


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
    for start, name in _BEGINNINGS:
        if beginning.startswith(start):
            return name
    # The magic of POSIX tar, at its place in the first header.
    return "a tar archive" if beginning[257:262] == b"ustar" else ""
