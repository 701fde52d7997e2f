import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from env_sync.core.errors import NotUnderstood
from env_sync.core.failure import described
from env_sync.core.serialization import from_plain, to_plain
from env_sync.domain.manifest import Parent, Transformation
from env_sync.domain.report import Result, Skip
from env_sync.engines.base.contract import CopyState, Dump, Holder, Stamp
from env_sync.pipeline.results import Downloaded, Started
from tests.unit.values import moment

PARENT = Parent(
    environment="production",
    key="signon/2026-11-22T010000Z-signon.gz",
    sha256="aa",
    transformations=(Transformation(name="a.sql", sha256="bb"),),
    pulled_into="staging",
)
DUMP = Dump(
    key="signon/2026-11-23T010000Z-signon.gz",
    file=Path("/somewhere/dump"),
    size=5,
    sha256="cc",
    environment="staging",
    data_time=moment("2026-11-22 01:00"),
    born_in="production",
    parents=(PARENT, PARENT),
)
STAMP = Stamp(
    state=CopyState.SANITISED,
    holder=Holder(run="r", group="g", attempt="a"),
    sync="pull_signon",
    environment="integration",
    source_environment="staging",
    dump_key=DUMP.key,
    dump_sha256="cc",
    data_time=DUMP.data_time,
    born_in="production",
    parents=(PARENT,),
    transformations=PARENT.transformations,
    changed=moment("2026-11-23 03:00"),
)
VALUES = [DUMP, STAMP, Skip(reason="x", result=Result.WARNING), Started(attempt="a", started=DUMP.data_time)]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_come_back_through_json_as_they_were(value: Any) -> None:
    assert from_plain(type(value), json.loads(json.dumps(to_plain(value)))) == value


def test_plain_data_is_what_json_knows() -> None:
    assert to_plain(DUMP) == {
        "key": "signon/2026-11-23T010000Z-signon.gz",
        "file": "/somewhere/dump",
        "size": 5,
        "sha256": "cc",
        "environment": "staging",
        "data_time": "2026-11-22T01:00:00+00:00",
        "born_in": "production",
        "parents": [
            {
                "environment": "production",
                "key": "signon/2026-11-22T010000Z-signon.gz",
                "sha256": "aa",
                "transformations": [{"name": "a.sql", "sha256": "bb"}],
                "pulled_into": "staging",
                "before": [],
                "reason": "",
            }
        ]
        * 2,
        "transformations": [],
    }


def test_moments_are_utc() -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    started = Started(attempt="a", started=dt.datetime(2026, 11, 23, 3, tzinfo=zone))
    assert to_plain(started)["started"] == "2026-11-23T01:00:00+00:00"
    read = from_plain(Started, {"attempt": "a", "started": "2026-11-23T03:00:00+02:00"})
    assert (read.started, read.started.tzinfo) == (moment("2026-11-23 01:00"), dt.UTC)
    assert from_plain(Started, {"attempt": "a", "started": "2026-11-23T01:00:00"}) == read


def test_fields_that_are_not_known_are_ignored() -> None:
    assert from_plain(Skip, {"reason": "x", "colour": "red"}) == Skip(reason="x")


@pytest.mark.parametrize(
    "data", [None, [], "text", {}, {"attempt": "a"}, {"attempt": "a", "started": 5}, {"started": "x"}]
)
def test_data_of_another_kind_is_refused_without_repeating_it(data: Any) -> None:
    with pytest.raises(NotUnderstood, match=r"stored as Started cannot be read .*Clear the whole") as refusal:
        from_plain(Started, data)
    assert "text" not in str(refusal.value)
    # It is told as it is, whoever raises it where nobody expected it.
    assert described(refusal.value).startswith("NotUnderstood: ")


def test_a_missing_field_is_refused() -> None:
    data = to_plain(DUMP)
    del data["data_time"]
    with pytest.raises(ValueError, match="stored as Downloaded"):
        from_plain(Downloaded, data)
