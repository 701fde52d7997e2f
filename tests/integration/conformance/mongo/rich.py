"""A database with everything in it that the engine knows: types, names, options, kinds and indexes."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

import bson
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from pymongo.database import Database
from pymongo.errors import OperationFailure

from tests.integration.conformance.subject import PRIVATE

MOMENT = dt.datetime(2026, 3, 29, 1, 30, 0, 1000, tzinfo=dt.UTC)
VALUES: Mapping[str, list[Any]] = {
    "double": [0.1, -0.0, float("inf"), float("-inf"), 1.7976931348623157e308, 5e-324],
    "not a number": [float("nan")],
    "string": ["", "ünïcode 😀 \u202e", "two\r\nlines", "nul\0inside", "$dollar.and.dots", "'quo''ted\""],
    "object": [{}, {"a.b": 1, "$c": {"": None}}],
    "array": [[], [[], [1, [2]]], [None, "a", 1.5]],
    "binary": [
        *(b"", bytes(range(256)), Binary(b"\x01\x02", 128), Binary(b"old", 2)),
        *(Binary.from_uuid(uuid.UUID(int=7)), Binary(bytes(16), 5), Binary(b"sensitive", 8)),
    ],
    "objectId": [ObjectId("0123456789abcdef01234567")],
    "bool": [True, False],
    "date": [MOMENT, dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, tzinfo=dt.UTC)],
    "null": [None],
    "regex": [Regex("^a.*é", "imx")],
    "javascript": [Code("function() { return 1; }"), Code("x", {"x": 1})],
    "int": [0, -(2**31), 2**31 - 1],
    "long": [Int64(1), Int64(-(2**63)), Int64(2**63 - 1)],
    "timestamp": [Timestamp(1, 1), Timestamp(4294967295, 4294967295)],
    "decimal": [Decimal128("NaN"), Decimal128("-Infinity"), Decimal128("1.10"), Decimal128("9.99E+6144")],
    "minKey": [MinKey()],
    "maxKey": [MaxKey()],
    "reference": [DBRef("people", 1), DBRef("people", ObjectId("0" * 24), "elsewhere")],
}
"""Values of every type that BSON has and the driver writes, by the name that the server gives it."""
LARGEST = 16 * 1024 * 1024
DEEP = 90
ODD_NAMES = ("with space", "dots.in.it", "ünïcode", "UPPER", "-", "a/b\\c", '"quoted"', "long" * 40)
INDEXES: Mapping[str, dict[str, Any]] = {
    "compound": {"key": {"a": 1, "b.c": -1}},
    "sparse": {"key": {"s": 1}, "sparse": True},
    "unique in part": {
        "key": {"u": 1},
        "unique": True,
        "partialFilterExpression": {"u": {"$exists": True}},
    },
    "lapsing": {"key": {"lapses": 1}, "expireAfterSeconds": 3600},
    "sphere": {"key": {"place": "2dsphere"}},
    "plane": {"key": {"point": "2d"}, "min": -500, "max": 500},
    "hidden": {"key": {"h": 1}, "hidden": True},
    "wildcard": {"key": {"$**": 1}},
    "collated": {"key": {"name": 1}, "collation": {"locale": "fr", "strength": 1}},
}
PLAIN_TRANSFORMATION = f"""\
# The same where updates cannot be pipelines.
- update: people
  updates:
    - q: {{}}
      u:
        $set: {{email: nobody@example.com}}
      multi: true
- delete: letters
  deletes:
    - {{q: {{to: {{$regex: "{PRIVATE}"}}}}, limit: 0}}
- update: cases
  updates:
    - q: {{}}
      u:
        $set: {{applicant.name: A. N. Other}}
      multi: true
"""
TRANSFORMATION = f"""\
# Takes every personal value out of what the suite makes.
- update: people
  updates:
    - q: {{}}
      u:
        - $set: {{email: {{$concat: ["user-", {{$toString: "$_id"}}, "@example.com"]}}}}
      multi: true
- delete: letters
  deletes:
    - {{q: {{to: {{$regex: "{PRIVATE}"}}}}, limit: 0}}
- aggregate: cases
  pipeline:
    - {{$match: {{}}}}
    - {{$set: {{"applicant.name": "A. N. Other", opened: {{$date: "2026-01-01T00:00:00Z"}}}}}}
    - {{$merge: {{into: cases, on: _id, whenMatched: replace}}}}
- insert: letters
  documents:
    - {{_id: {{$oid: "00000000000000000000000a"}}, to: nobody}}
"""


def fill_small(
    database: Database[Any], generation: str, rows: int, *, private: bool, unique: bool = True
) -> None:
    """What `Subject.fill` asks for, with the collections that the transformation names."""
    domain = f"{PRIVATE}.example" if private else "example.com"
    database.people.insert_many(
        {
            "_id": number,
            "generation": generation,
            "email": f"{generation}-{number}@{domain}",
            # Not to be compressed: some scenarios need a dump of some size. More documents take longer.
            "noise": "".join(
                hashlib.sha256(f"{generation}{number}{part}".encode()).hexdigest() for part in range(4)
            ),
        }
        for number in range(1, rows + 1)
    )
    database.people.create_index("email", unique=unique)
    database.people.create_index("generation")
    database.notes.insert_one({"note": "first"})
    fill_named(database)


def fill_named(database: Database[Any]) -> None:
    """What the transformation names beside people."""
    database.letters.insert_many(
        {"_id": n, "to": f"{PRIVATE}-{n}" if n % 2 else "the office"} for n in range(4)
    )
    database.cases.insert_many(
        {"_id": n, "applicant": {"name": f"{PRIVATE} {n}"}, "status": "open"} for n in range(3)
    )


def fill_rich(database: Database[Any]) -> None:
    """Everything at once. Indexes are on few documents: building them is slow here."""
    rows = [value for values in VALUES.values() for value in values]
    database["every type"].insert_many({"_id": number, "value": value} for number, value in enumerate(rows))
    for value in rows:
        # As an _id as well, where the server lets it be one, and once for those that are equal.
        with contextlib.suppress(OperationFailure):
            database["every id"].insert_one({"_id": value})
    assert database["every id"].count_documents({}) > 30
    nested: dict[str, Any] = {"end": True}
    for _ in range(DEEP):
        nested = {"n": [nested]} if len(nested) % 2 else {"n": nested}
    database.extremes.insert_one({"_id": "deep", "nested": nested})
    database.extremes.insert_one({"_id": "empty"})
    room = LARGEST - len(bson.encode({"_id": "largest", "text": ""}))
    database.extremes.insert_one({"_id": "largest", "text": "x" * room})
    for number, name in enumerate(ODD_NAMES):
        database[name].insert_one({"_id": number})
    database.command("create", "capped", capped=True, size=4096, max=10)
    database.capped.insert_many({"_id": number} for number in range(20, 5, -1))
    database.command(
        "create",
        "validated",
        validator={
            "$jsonSchema": {"required": ["a.b", "kind"], "properties": {"kind": {"enum": ["x", "y"]}}}
        },
        validationLevel="strict",
        validationAction="error",
    )
    database.command("insert", "validated", documents=[{"_id": 1}], bypassDocumentValidation=True)
    database.command("create", "french", collation={"locale": "fr", "strength": 2})
    database.french.insert_one({"_id": "é"})
    database.command("create", "clustered", clusteredIndex={"key": {"_id": 1}, "unique": True})
    database.clustered.insert_many({"_id": number} for number in range(3))
    database.command("create", "empty")
    database.command("create", "measured", timeseries={"timeField": "at", "metaField": "sensor"})
    database.measured.insert_many(
        {"_id": number, "at": MOMENT + dt.timedelta(seconds=number), "sensor": 1, "value": number}
        for number in range(10)
    )
    database.command("create", "open cases", viewOn="cases", pipeline=[{"$match": {"status": "open"}}])
    database.command("create", "view of a view", viewOn="open cases", pipeline=[{"$project": {"_id": 1}}])
    database.indexed.insert_many(
        {
            "_id": number,
            "a": number,
            "u": number,
            "place": {"type": "Point", "coordinates": [number, 1]},
            "point": [number, 2],
            "name": f"n{number}",
        }
        for number in range(5)
    )
    for name, index in INDEXES.items():
        database.command("createIndexes", "indexed", indexes=[{"name": name, **index}])
    database.people.insert_many({"_id": n, "email": f"{n}@{PRIVATE}.example"} for n in range(20))
    database.people.create_index("email", unique=True)
    fill_named(database)


def change_rich(database: Database[Any]) -> None:
    """Change documents in each of its corners; can be done again."""
    database.people.update_many({}, {"$inc": {"version": 1}})
    database.indexed.update_many({}, {"$inc": {"a": 1}})
    database.letters.insert_one({"to": f"{PRIVATE}-more"})
    database["dots.in.it"].insert_one({"again": True})
    database.capped.insert_one({"again": True})
    database.measured.insert_one({"at": MOMENT, "sensor": 2, "value": 1.5})
    database["every type"].update_one({"_id": 0}, {"$inc": {"value": 1}})


def add_rich(database: Database[Any]) -> None:
    """Collections, a view, an index and options that it did not have; some are of another kind now."""
    database.added.insert_one({"_id": 1})
    database.added.create_index("x")
    database.command("create", "added view", viewOn="added", pipeline=[])
    database.indexed.create_index("name", name="by name")
    database.command("collMod", "empty", validator={"x": {"$exists": True}}, validationLevel="moderate")
    database.drop_collection("view of a view")
    database["view of a view"].insert_one({"_id": "a collection now"})
