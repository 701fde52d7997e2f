"""Published files, which hold nothing personal: a directory of attachments, and buckets of assets."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from sandbox.demo.seed import SEED, SUBJECTS
from sandbox.s3 import S3Server

NAME = "attachments"
HOST = "attachments-files"
"""The name in hieradata of where the directory is."""
FILES = 200
OBJECTS = 120


def make_directory(root: Path, *, filled: bool) -> None:
    """Make the directory anew, in `root`, with or without files in it."""
    shutil.rmtree(root, ignore_errors=True)
    live = root / NAME
    live.mkdir(parents=True)
    for name, content in _published(FILES) if filled else ():
        file = live / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)


def fill_bucket(s3: S3Server, bucket: str) -> None:
    """Put the assets of production into a bucket."""
    client = s3.client()
    for name, content in _published(OBJECTS):
        client.put_object(Bucket=bucket, Key=f"media/{name}", Body=content, ContentType="text/csv")


def _published(count: int) -> Iterator[tuple[str, bytes]]:
    """Paths and contents, the same ones each time."""
    numbers = random.Random(SEED)
    for number in range(count):
        subject = SUBJECTS[number % len(SUBJECTS)].lower().replace(" ", "-")
        lines = [f"{year},{numbers.randrange(10**6)}" for year in range(2000, 2026)]
        yield f"{subject}/table-{number}.csv", "\n".join(["year,number", *lines]).encode()
