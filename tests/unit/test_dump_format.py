from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from env_sync.engines.dump_format import BEGINNING, describe_format

SQL = b"-- MySQL dump 10.13  Distrib 8.0.36, for Linux\n"


def tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("licensify/users.bson"))
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", ""),
        (b"anything else", ""),
        (b"PGDMP\x01\x0e", "an archive of pg_dump"),
        (b"\x6d\xe2\x99\x81 and more", "an archive of mongodump"),
        (SQL, "a dump of MySQL"),
        (b"--\n-- PostgreSQL database dump\n--\n", "a plain script of pg_dump"),
        (tar(), "a tar archive"),
        (gzip.compress(SQL, mtime=0), "a dump of MySQL, gzipped"),
        (gzip.compress(b"/*M!999999\\- enable the sandbox mode */", mtime=0), "a dump of MariaDB, gzipped"),
        (gzip.compress(tar(), mtime=0), "a tar archive, gzipped"),
        (gzip.compress(SQL * 100_000, mtime=0)[:300], "a dump of MySQL, gzipped"),
        (gzip.compress(bytes(10_000_000), mtime=0), "something unknown, gzipped"),
        (b"\x1f\x8b\xff\xff nonsense", "gzip that cannot be read"),
    ],
)
def test_a_file_is_told_from_its_first_bytes(content: bytes, told: str) -> None:
    assert describe_format(content[:BEGINNING]) == told
