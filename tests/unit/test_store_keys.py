import datetime as dt

import pytest

from env_sync.core.errors import InvalidRequest, NameRefused
from env_sync.planning.timestamps import parse_timestamp
from env_sync.store.dump_keys import (
    dump_key,
    dump_of_manifest,
    is_dump_key,
    manifest_key,
    parse_dump_key,
    pointer_key,
)

WHEN = dt.datetime(2026, 11, 23, 1, 2, 3, tzinfo=dt.UTC)
NAMES = [
    "licensify",
    "licensify-refdata",
    "content_data_admin_production",
    "Mixed.Case-1.2",
    "latest",
    "2026",
    "2026-11-23T010203Z-licensify",
    "2026-11-23T01:02:03",
    "archive.gz",
    "naïve-日本",
    "with space",
    "-",
]


def test_keys_as_others_read_them() -> None:
    assert dump_key("postgresql", WHEN, "licensify") == "postgresql/2026-11-23T010203Z-licensify.gz"
    assert pointer_key("postgresql", "licensify") == "postgresql/latest-licensify.txt"
    assert (
        manifest_key("postgresql/2026-11-23T010203Z-licensify.gz")
        == "env_sync_manifests/postgresql/2026-11-23T010203Z-licensify.json"
    )


@pytest.mark.parametrize(
    ("path", "folder"),
    [("", ""), ("/", ""), ("p", "p/"), ("/p/", "p/"), ("/X-ray/", "X-ray/"), ("deep/er", "deep/er/")],
)
def test_slashes_around_a_path_make_no_difference(path: str, folder: str) -> None:
    assert dump_key(path, WHEN, "a") == f"{folder}2026-11-23T010203Z-a.gz"
    assert pointer_key(path, "a") == f"{folder}latest-a.txt"


@pytest.mark.usefixtures("far_from_utc")
def test_the_machines_own_zone_makes_no_difference() -> None:
    assert dump_key("p", WHEN, "a") == "p/2026-11-23T010203Z-a.gz"
    for style in ("2026-11-23T010203Z", "2026-11-23T01:02:03"):
        parsed = parse_dump_key("p", f"p/{style}-a.gz")
        assert parsed is not None
        assert parsed.timestamp.isoformat() == "2026-11-23T01:02:03+00:00"
    for text in ("2026-11-23T01:02:03", "2026-11-23T02:02:03+01:00"):
        assert parse_timestamp(text).isoformat() == "2026-11-23T01:02:03+00:00"


def test_time_of_another_zone_is_turned_into_utc_and_no_zone_is_refused() -> None:
    paris = dt.timezone(dt.timedelta(hours=1))
    assert dump_key("p", WHEN.astimezone(paris), "a") == "p/2026-11-23T010203Z-a.gz"
    with pytest.raises(ValueError, match="zone"):
        dump_key("p", WHEN.replace(tzinfo=None), "a")


@pytest.mark.parametrize("path", ["", "p", "/p/", "deep/er"])
@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_read_as_it_was_written(path: str, name: str) -> None:
    key = dump_key(path, WHEN, name)
    parsed = parse_dump_key(path, key)
    assert parsed is not None
    assert (parsed.timestamp, parsed.database) == (WHEN, name)
    assert dump_of_manifest(manifest_key(key)) == key


@pytest.mark.parametrize("name", NAMES)
def test_the_scripts_keys_are_read(name: str) -> None:
    parsed = parse_dump_key("p", f"p/2026-11-23T01:02:03-{name}.gz")
    assert parsed is not None
    assert (parsed.timestamp, parsed.database) == (WHEN, name)


@pytest.mark.parametrize(
    "key",
    [
        "p/latest-licensify.txt",
        "p/",
        "p/licensify.gz",
        "p/2026-11-23T010203Z-.gz",
        "p/2026-11-23T010203Z-a.gz.part",
        "p/2026-13-23T010203Z-a.gz",
        "p/2026-11-23T250203Z-a.gz",
        "p/2026-11-23T01:02:03Z-a.gz",
        "p/2026-11-23T010203-a.gz",
        "p/٢٠٢٦-11-23T010203Z-a.gz",
        "p/x/2026-11-23T010203Z-a.gz",
        "q/2026-11-23T010203Z-a.gz",
        "pp/2026-11-23T010203Z-a.gz",
        "2026-11-23T010203Z-a.gz",
    ],
)
def test_what_is_not_a_dump_under_this_path_is_none(key: str) -> None:
    assert parse_dump_key("p", key) is None


@pytest.mark.parametrize("name", ["", "a/b"])
def test_names_that_a_key_cannot_hold(name: str) -> None:
    with pytest.raises(NameRefused, match=f"^{name!r} cannot be part"):
        dump_key("p", WHEN, name)
    with pytest.raises(NameRefused, match=f"^{name!r} cannot be part"):
        pointer_key("p", name)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T010203Z",
        "2026-11-23T01:02:03",
        "2026-11-23T01:02:03Z",
        " 2026-11-23T02:02:03+01:00 ",
        "2026-11-22T20:02:03-0500",
    ],
)
def test_timestamps_as_people_give_them(text: str) -> None:
    assert parse_timestamp(text) == WHEN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "2026-11-23",
        "2026-11-23T01",
        "2026-02-30T010203Z",
        "2026-11-23T010203",
        "20261123T010203Z",
        "2026-11-23T01:02:03.5",
        "0001-01-01T00:00:00+23:00",
        "2026-11-23T01:02:03+99:00",
    ],
)
def test_other_timestamps_are_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InvalidRequest, match="2026-11-23T010203Z or"):
        parse_timestamp(text)


@pytest.mark.parametrize(
    ("key", "is_one"),
    [
        ("2026-11-23T010203Z-signon.gz", True),
        ("2026-11-23T01:02:03-signon.gz", True),
        ("any/path/2026-11-23T010203Z-signon.gz", True),
        ("/2026-11-23T010203Z-signon.gz", True),
        ("2026-11-23T010203Z-signon.gz/photo.png", False),
        ("2026-11-23T010203Z-signon.tar", False),
        ("archive/photos.gz", False),
        ("2026-02-30T010203Z-signon.gz", False),
        ("", False),
    ],
)
def test_a_dump_is_known_by_its_key_under_whatever_path(key: str, *, is_one: bool) -> None:
    assert is_dump_key(key) is is_one
