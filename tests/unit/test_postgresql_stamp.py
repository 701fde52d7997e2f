import json

import pytest
from attrs import evolve

from env_sync.domain.manifest import Transformation
from env_sync.engines.base.contract import CopyState, Holder, Stamp
from env_sync.engines.base.history import Promoted, Returned
from env_sync.engines.postgresql.metadata import MARK, Closed, Comment, WasLive, take_apart, understood
from tests.unit.values import moment

HOLDER = Holder(run="env_sync_integration/tonight", group="pull_signon", attempt="a")
STAMP = Stamp(
    state=CopyState.SANITISED,
    holder=HOLDER,
    sync="pull_signon",
    environment="integration",
    source_environment="staging",
    dump_key="signon/2026-11-23T220000Z-signon.gz",
    dump_sha256="0" * 64,
    data_time=moment("2026-11-23 22:00"),
    born_in="production",
    parents=(),
    transformations=(Transformation(name="sanitise.sql", sha256="1" * 64),),
    changed=moment("2026-11-24 03:05"),
)
WAS_LIVE = WasLive(database="signon", oid=16384, environment="integration", until=moment("2026-11-24 03:06"))
CLOSED = Closed(row="742", memberships=9, taken_away=4, members=0, database=16385)
PROMOTED = Promoted(at=moment("2026-11-24 03:06"), unavailable=0.2, first=False)
RETURNED = Returned(holder=HOLDER, at=moment("2026-11-24 09:00"), unavailable=0.1)


@pytest.mark.parametrize("person", ["", "Ask the team\nbefore you touch this."])
@pytest.mark.parametrize(
    "comment",
    [
        Comment(person="", stamp=None),
        Comment(person="", stamp=STAMP),
        Comment(person="", stamp=STAMP, closed=Closed(row="742", memberships=9)),
        Comment(person="", stamp=STAMP, closed=CLOSED),
        Comment(person="", stamp=STAMP, promoted=PROMOTED),
        Comment(person="", stamp=STAMP, promoted=PROMOTED, returned=RETURNED),
        Comment(person="", stamp=STAMP, promoted=PROMOTED, was_live=WAS_LIVE),
        # What was live before the first pull.
        Comment(person="", stamp=None, was_live=WAS_LIVE),
        Comment(person="", stamp=None, returned=RETURNED),
    ],
)
def test_a_comment_is_read_as_it_was_written(comment: Comment, person: str) -> None:
    comment = evolve(comment, person=person)
    assert take_apart(comment.text()) == comment
    assert understood(comment.text()) == comment


@pytest.mark.parametrize(
    "said",
    [
        "{not json",
        "[]",
        "7",
        "null",
        json.dumps({"state": "sanitised"}),
        json.dumps({"was_live": {"database": "signon"}}),
        json.dumps({"was_live": None}),
        json.dumps({"state": "sanitised", "was_live": {"database": "signon"}}),
    ],
)
def test_what_cannot_be_read_says_nothing(said: str) -> None:
    assert take_apart(f"A person\n{MARK}{said}") == Comment(person="A person", stamp=None)
    with pytest.raises(ValueError, match=r"."):
        understood(f"A person\n{MARK}{said}")


def test_a_mark_beside_a_broken_stamp_is_none() -> None:
    plain = json.loads(Comment(person="", stamp=STAMP, was_live=WAS_LIVE).text().removeprefix(MARK))
    del plain["dump_key"]
    assert take_apart(MARK + json.dumps(plain)) == Comment(person="", stamp=None)


def test_how_an_earlier_version_closed_a_copy_is_read() -> None:
    plain = json.loads(Comment(person="", stamp=STAMP, closed=CLOSED).text().removeprefix(MARK))
    plain["closed"] = {"row": "742", "memberships": 9}
    assert take_apart(MARK + json.dumps(plain)).closed == Closed(row="742", memberships=9)
