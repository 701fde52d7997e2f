"""Transformations of MongoDB: what is read, and what is refused before anything is run."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

import bson
import pytest

from env_sync.core.errors import TransformationFailed
from env_sync.engines.mongo.transformation import Read, read_transformations, unknown_collections

GOOD = """\
# A comment.
- update: users
  updates:
    - {q: {}, u: {$set: {on: off, moment: {$date: "2026-01-01T00:00:00Z"}, n: {$numberLong: "5"}}},
       multi: true}
- delete: sessions
  deletes: [{q: {_id: {$oid: "0123456789abcdef01234567"}}, limit: 0}]
- aggregate: users
  pipeline: [{$match: {}}, {$merge: {into: people, on: _id}}]
"""


def read(folder: Path, text: str) -> Read:
    file = folder / "sanitise.yaml"
    file.write_text(text)
    [found] = read_transformations([file])
    return found


def test_commands_with_their_lines_and_values(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.said.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert [(each.name, each.line, each.collections) for each in found.commands] == [
        ("update", 2, ("users",)),
        ("delete", 6, ("sessions",)),
        ("aggregate", 8, ("users", "people")),
    ]
    update, delete, aggregate = found.commands
    # YAML 1.1 would make booleans of them.
    assert update.body["updates"][0]["u"] == {
        "$set": {"on": "off", "moment": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "n": bson.Int64(5)}
    }
    assert delete.body["deletes"][0]["q"] == {"_id": bson.ObjectId("0123456789abcdef01234567")}
    assert aggregate.body["pipeline"][-1] == {"$merge": {"into": "people", "on": "_id"}}
    assert [name for _, name in unknown_collections([found], {"users"})] == ["sessions", "people"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: it is no list"),
        ("update: users", "line 1: it is no list"),
        ("- {update: users", "it is no YAML"),
        ("- {update: users, update: users}", "a key stands twice"),
        ("- update", "line 1: it is no command"),
        ("\n- {drop: users}", "line 2: a command must begin with one of"),
        ("- {dropDatabase: 1}", "must begin with one of"),
        ("- {renameCollection: a.b, to: c.d}", "must begin with one of"),
        ("- {createUser: me, pwd: x, roles: []}", "must begin with one of"),
        ("- {update: users, updates: []}", "`updates` must be a list"),
        ("- {update: users, updates: [{q: {}, u: {}}]}", "multi: true"),
        ("- {delete: users, deletes: [{q: {}}]}", "limit: 0"),
        ("- {update: system.js, updates: [{q: {}, u: {}, multi: true}]}", "cannot be changed"),
        ("- {delete: env_sync.stamp, deletes: [{q: {}, limit: 0}]}", "cannot be changed"),
        ("- {update: users, writeConcern: {w: 0}, updates: [{q: {}, u: {}, multi: true}]}", "writeConcern"),
        ("- {aggregate: users, pipeline: [{$match: {}}]}", "must end in"),
        ("- {aggregate: users, pipeline: [{$out: other}]}", "must end in"),
        ("- {aggregate: users, pipeline: [{$merge: {into: {db: live, coll: users}}}]}", "of this database"),
        ("- {aggregate: 1, pipeline: []}", "must name a collection"),
        ("- {insert: users, documents: [{_id: {$oid: short}}]}", "no Extended JSON"),
        ("- !!python/object:os.system {}", "it is no YAML"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(TransformationFailed, match=says) as failed:
        read(tmp_path, text)
    assert "sanitise.yaml" in str(failed.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TransformationFailed, match="could not be read"):
        read_transformations([tmp_path / "missing.yaml"])
