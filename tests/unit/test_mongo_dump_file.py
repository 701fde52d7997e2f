"""Dumps of MongoDB: archives that are written and read again, folders in a tar, and all that can be wrong."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import json_util

from env_sync.core.cancellation import Cancellation
from env_sync.core.errors import DumpDamaged
from env_sync.engines.mongo.archive import TERMINATOR, ArchiveWriter
from env_sync.engines.mongo.definitions import Definition, Kind, from_bson, from_metadata, to_metadata
from env_sync.engines.mongo.descriptor import MAGIC
from env_sync.engines.mongo.dump_file import open_dump

PEOPLE = Definition(
    name="people",
    kind=Kind.COLLECTION,
    options={"validator": {"$jsonSchema": {"required": ["a.b"]}}},
    indexes=({"key": {"email": 1, "a.b": -1}, "name": "email", "unique": True},),
)
EMPTY = Definition(name="empty", kind=Kind.COLLECTION)
VIEW = Definition(name="view", kind=Kind.VIEW, options={"viewOn": "people", "pipeline": []})
SERIES = Definition(name="measured", kind=Kind.TIMESERIES, options={"timeseries": {"timeField": "at"}})
DOCUMENTS = [bson.encode({"_id": number, "text": "x" * 50}) for number in range(20)]


def archive(*definitions: Definition, documents: Mapping[str, list[bytes]] | None = None) -> bytes:
    """An archive, with the documents of each collection in segments of three."""
    file = io.BytesIO()
    writer = ArchiveWriter(file, "somewhere")
    writer.begin(definitions, server_version="8.2.1", concurrent=2)
    for each in definitions:
        if each.kind is Kind.VIEW:
            continue
        found = (documents or {}).get(each.name, [])
        for first in range(0, len(found), 3):
            writer.documents(each.name, b"".join(found[first : first + 3]))
        writer.end(each.name)
    return file.getvalue()


def put(folder: Path, content: bytes) -> Path:
    file = folder / "dump"
    file.write_bytes(content)
    return file


def read(file: Path) -> dict[str, list[bytes]]:
    """Every document by its collection, each read to its last value."""
    found: dict[str, list[bytes]] = {}
    for batch in open_dump(file).documents(Cancellation(), thorough=True):
        found.setdefault(batch.collection, []).append(batch.content)
    return {name: [b"".join(parts)] for name, parts in found.items()}


def folder(files: Mapping[str, bytes], *, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz" if zipped else "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


GOOD = archive(PEOPLE, EMPTY, VIEW, SERIES, documents={"people": DOCUMENTS, "measured": DOCUMENTS[:1]})


@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_written_is_read(tmp_path: Path, zipped: bool) -> None:
    file = put(tmp_path, gzip.compress(GOOD) if zipped else GOOD)
    dump = open_dump(file)
    assert (dump.database, dump.server_version, dump.tar) == ("somewhere", "8.2.1", False)
    assert dump.definitions == (PEOPLE, EMPTY, VIEW, SERIES)
    assert read(file) == {"people": [b"".join(DOCUMENTS)], "measured": [DOCUMENTS[0]]}


def test_the_bytes_are_those_of_the_format() -> None:
    assert GOOD.startswith(MAGIC)
    header = bson.decode(GOOD[4 : 4 + struct.unpack_from("<i", GOOD, 4)[0]])
    assert header["version"] == "0.1"
    assert GOOD.endswith(TERMINATOR)
    # CRC-64 as xz and Go's crc64.ECMA: its check value.
    file = io.BytesIO()
    writer = ArchiveWriter(file, "d")
    writer.documents("c", b"123456789")
    writer.end("c")
    assert bson.encode({"CRC": bson.Int64(0x995DC9BBDF1939FA - (1 << 64))})[4:-1] in file.getvalue()


def test_no_cut_is_taken_for_a_whole_dump(tmp_path: Path) -> None:
    file = put(tmp_path, GOOD)
    # Writing it anew for each cut takes longer than reading it.
    for size in reversed(range(len(GOOD))):
        os.truncate(file, size)
        with pytest.raises(DumpDamaged):
            read(file)


def test_no_flipped_bit_in_a_document_goes_unseen(tmp_path: Path) -> None:
    start = GOOD.index(DOCUMENTS[0])
    for place in range(start, start + len(DOCUMENTS[0])):
        with pytest.raises(DumpDamaged):
            read(put(tmp_path, GOOD[:place] + bytes([GOOD[place] ^ 4]) + GOOD[place + 1 :]))


def test_a_cut_gzip_is_damage(tmp_path: Path) -> None:
    zipped = gzip.compress(GOOD)
    for size in range(1, len(zipped), 37):
        with pytest.raises(DumpDamaged):
            read(put(tmp_path, zipped[:size]))


@pytest.mark.parametrize("length", [-1, 0, 4, 17 * 1024 * 1024, 2**31 - 1])
def test_a_length_that_no_document_has(tmp_path: Path, length: int) -> None:
    start = GOOD.index(DOCUMENTS[0])
    content = GOOD[:start] + struct.pack("<i", length) + GOOD[start + 4 :]
    if length == -1:
        # The terminator: what follows is no header.
        content = GOOD[:start] + TERMINATOR + GOOD[start + 4 :]
    with pytest.raises(DumpDamaged):
        read(put(tmp_path, content))


def test_documents_of_a_collection_that_is_not_listed(tmp_path: Path) -> None:
    file = io.BytesIO()
    writer = ArchiveWriter(file, "somewhere")
    writer.begin([EMPTY], server_version="8", concurrent=1)
    writer.documents("other", DOCUMENTS[0])
    writer.end("other")
    writer.end("empty")
    with pytest.raises(DumpDamaged, match="does not list"):
        read(put(tmp_path, file.getvalue()))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_folder_in_a_tar(tmp_path: Path, zipped: bool) -> None:
    file = put(
        tmp_path,
        folder(
            {
                "somewhere/people.bson": b"".join(DOCUMENTS),
                "somewhere/people.metadata.json": to_metadata(PEOPLE).encode(),
                "somewhere/a%2Fb.bson.gz": gzip.compress(DOCUMENTS[0]),
                "somewhere/view.metadata.json": to_metadata(VIEW).encode(),
                "somewhere/system.profile.bson": DOCUMENTS[0],
                "somewhere/prelude.json": b"{}",
            },
            zipped=zipped,
        ),
    )
    dump = open_dump(file)
    assert dump.database == "somewhere"
    assert {each.name: each.kind for each in dump.definitions} == {
        "people": Kind.COLLECTION,
        "view": Kind.VIEW,
        "a/b": Kind.COLLECTION,
    }
    assert PEOPLE in dump.definitions
    assert read(file) == {"people": [b"".join(DOCUMENTS)], "a/b": [DOCUMENTS[0]]}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a/x.bson": b"", "b/x.bson": b""}, "2 databases"),
        ({"x.bson": b""}, "no folder of a database"),
        ({"a/x.metadata.json": b'{"indexes": []}'}, "no documents"),
        ({"a/x.metadata.json": b"{"}, "metadata of collection x"),
        ({"a/x.bson": DOCUMENTS[0][:-3]}, "ends within"),
        ({"a/x.bson": DOCUMENTS[0][:-1] + b"\x01"}, "does not end where it says"),
        ({}, "not a dump of MongoDB"),
    ],
)
def test_folders_that_are_wrong(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    with pytest.raises(DumpDamaged, match=says):
        read(put(tmp_path, folder(files)))


def test_metadata_of_old_servers_is_read() -> None:
    text = {"indexes": [{"v": 1, "key": {"_id": 1}, "name": "_id_", "ns": "d.c"}, OLD_INDEX]}
    found = from_metadata("c", json.dumps(text))
    assert found == Definition(name="c", kind=Kind.COLLECTION, indexes=({"key": {"a": 1.0}, "name": "a_1"},))


OLD_INDEX = {"v": 1, "key": {"a": {"$numberDouble": "1.0"}}, "name": "a_1", "ns": "d.c", "background": True}


def test_metadata_says_no_value_when_it_is_wrong() -> None:
    with pytest.raises(DumpDamaged) as damage:
        from_metadata("c", '{"options": {"validator": {"email": "zq-private"}')
    assert "zq-private" not in str(damage.value)


@pytest.mark.parametrize("definition", [PEOPLE, VIEW, SERIES, EMPTY])
def test_definitions_are_kept_whole(definition: Definition) -> None:
    assert from_bson(definition.to_bson()) == definition
    assert from_metadata(definition.name, to_metadata(definition)) == definition
    read_back: dict[str, Any] = json_util.loads(to_metadata(definition))
    assert isinstance(read_back["indexes"], list)
