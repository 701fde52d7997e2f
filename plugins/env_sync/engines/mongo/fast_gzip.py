"""Gzip by isal: ordinary gzip, several times as fast as zlib's."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO, cast

from isal import igzip, igzip_lib

WRONG: tuple[type[Exception], ...] = (
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    cast(type[Exception], igzip_lib.IsalError),
)
"""What reading such a stream raises where it is damaged or cut."""


def unzipped(file: Path) -> IO[bytes]:
    """What a gzip file holds, as a stream to read, for the caller to close."""
    return cast(IO[bytes], igzip.open(file, "rb"))  # type: ignore[no-untyped-call]


def zipped(file: Path, level: int) -> IO[bytes]:
    """A stream to write, for the caller to close; `level` is gzip's, 1 to 9, for which isal has fewer."""
    return cast(IO[bytes], igzip.open(file, "wb", compresslevel=max(1, level // 3)))  # type: ignore[no-untyped-call]
