import datetime as dt
import json
from typing import Any

import attrs
import pytest

from env_sync.core.errors import DumpDamaged
from env_sync.domain.manifest import Manifest, Parent, Transformation, from_json, to_json

WHEN = dt.datetime(2026, 11, 23, 1, 2, 3, 456, tzinfo=dt.UTC)
MANIFEST = Manifest(
    environment="staging",
    sync="push_a",
    run="env_sync_staging/scheduled",
    dbms="postgresql",
    database="naïve",
    engine_version="16.2",
    server_version="15.4",
    key="p/2026-11-23T010203Z-naïve.gz",
    size=3,
    sha256="ab" * 32,
    started=WHEN,
    finished=WHEN + dt.timedelta(seconds=1),
    data_time=WHEN - dt.timedelta(days=1),
    born_in="production",
    parents=(
        Parent(
            environment="production",
            key="p/1.gz",
            sha256="cd" * 32,
            transformations=(Transformation(name="a.sql", sha256="ef" * 32),),
            pulled_into="staging",
        ),
    ),
    transformations=(Transformation(name="b.sql", sha256="12" * 32),),
)
PLAIN: dict[str, Any] = json.loads(to_json(MANIFEST))


def test_read_as_it_was_written() -> None:
    assert from_json(to_json(MANIFEST), key="k") == MANIFEST
    assert from_json(to_json(MANIFEST).encode(), key="k") == MANIFEST


def test_times_are_written_in_utc_and_must_have_a_zone() -> None:
    paris = dt.timezone(dt.timedelta(hours=1))
    assert PLAIN["started"] == "2026-11-23T01:02:03.000456Z"
    assert to_json(attrs.evolve(MANIFEST, started=WHEN.astimezone(paris))) == to_json(MANIFEST)
    with pytest.raises(ValueError, match="zone"):
        to_json(attrs.evolve(MANIFEST, started=WHEN.replace(tzinfo=None)))


def test_fields_of_a_later_version_are_ignored() -> None:
    assert from_json(json.dumps({**PLAIN, "colour": "blue"}), key="k") == MANIFEST


@pytest.mark.parametrize("text", ["", "[]", "null", "7", "{", "[" * 100_000, b"\xff\xfe{"])
def test_what_is_no_json_object_is_damage_at_that_key(text: str | bytes) -> None:
    with pytest.raises(DumpDamaged, match=r"s3://b/k\.json"):
        from_json(text, key="s3://b/k.json")


@pytest.mark.parametrize("number", [0, 2, 10**30])
def test_unknown_format_names_both(number: int) -> None:
    with pytest.raises(DumpDamaged, match=f"k is of format {number}, .* reads format 1"):
        from_json(json.dumps({**PLAIN, "format": number, "size": "moved"}), key="k")


NO_PARENTS: tuple[object, ...] = (None, "abc", {}, [1], [{}], [None])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("format", value) for value in ("1", True, None)),
        *(("size", value) for value in ("3", 3.0, True, None)),
        *(("sync", value) for value in (None, 3, ["a"])),
        *(("parents", value) for value in NO_PARENTS),
        *(("started", value) for value in ("2026-11-23T01:02:03", "yesterday", 1, None)),
    ],
)
def test_wrong_value_is_damage_and_named_by_its_field(field: str, value: object) -> None:
    with pytest.raises(DumpDamaged, match=rf"manifest\.{field}"):
        from_json(json.dumps({**PLAIN, field: value}), key="k")


NEWER = {"consistent", "read_from", "sanitised", "reason"}
"""Fields that manifests of earlier versions lack."""


def test_a_manifest_of_an_earlier_version_is_read() -> None:
    earlier = {name: value for name, value in PLAIN.items() if name not in NEWER}
    read = from_json(json.dumps(earlier), key="k")
    assert (read.consistent, read.read_from) == (True, "")


@pytest.mark.parametrize("field", sorted(PLAIN.keys() - NEWER))
def test_every_field_is_needed(field: str) -> None:
    with pytest.raises(DumpDamaged, match=rf"manifest\.{field}"):
        from_json(json.dumps({name: value for name, value in PLAIN.items() if name != field}), key="k")
