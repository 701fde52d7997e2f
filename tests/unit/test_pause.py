import datetime as dt
import json

import pytest

from env_sync.domain.pause import Pause, pause_key, read_pause, write_pause
from tests.unit.values import moment

NOON = moment("2026-11-23 12:00")


def test_the_variable_of_a_pause() -> None:
    assert pause_key("integration", "pull_signon") == "env_sync_pause_integration_pull_signon"


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_no_text_is_no_pause(text: str | None) -> None:
    assert read_pause(text) is None


def test_a_pause_is_read_as_people_write_it() -> None:
    assert read_pause('{"by": "ada", "why": "load test", "until": "2026-12-01T09:00"}') == Pause(
        by="ada", why="load test", until=moment("2026-12-01 09:00")
    )


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("2026-12-01T09:00", "2026-12-01 09:00"),
        ("2026-12-01 09:00:30Z", "2026-12-01 09:00:30"),
        ("2026-12-01T09:00+02:00", "2026-12-01 07:00"),
        ("2026-12-01", "2026-12-01 00:00"),
    ],
)
def test_moments_without_a_zone_are_utc(until: str, expected: str) -> None:
    pause = read_pause(json.dumps({"by": "a", "why": "b", "until": until}))
    assert pause is not None
    assert pause.until == moment(expected)


@pytest.mark.parametrize("until", [None, ""])
def test_a_pause_without_an_end_holds_until_it_is_resumed(until: str | None) -> None:
    pause = read_pause(json.dumps({"by": "ada", "why": "broken", "until": until}))
    assert pause is not None
    assert pause.active(moment("2999-01-01 00:00"))
    assert str(pause) == "paused by ada until it is resumed: broken"


def test_a_pause_ends_by_itself() -> None:
    pause = Pause(by="ada", why="load test", until=NOON)
    assert pause.active(NOON - dt.timedelta(seconds=1))
    assert not pause.active(NOON)
    assert str(pause) == "paused by ada until 2026-11-23 12:00 UTC: load test"


def test_fields_that_are_missing_are_said_to_be() -> None:
    assert str(read_pause("{}")) == "paused by somebody until it is resumed: no reason given"


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "[]",
        '"paused"',
        "paused",
        "{",
        '{"until": "tomorrow"}',
        '{"until": "2026-13-01"}',
        '{"until": true}',
        '{"until": {}}',
        '{"until": "9999-12-31T23:59-05:00"}',
        '{"since": "0001-01-01T00:00+05:00"}',
        "[" * 100_000,
    ],
)
def test_a_record_that_cannot_be_read_pauses_and_says_what_to_write(text: str) -> None:
    pause = read_pause(text)
    assert pause is not None
    assert not pause.readable
    assert pause.active(moment("2999-01-01 00:00"))
    assert "cannot be read" in str(pause)
    assert '"until": "2026-12-01T09:00"' in str(pause)


@pytest.mark.parametrize("until", [None, moment("2026-12-01 09:00")])
def test_what_is_written_is_read_again(until: dt.datetime | None) -> None:
    pause = Pause(by='A "B"', why="ä\nb", since=NOON, until=until)
    assert read_pause(write_pause(pause)) == pause


def test_the_written_text_can_be_edited_by_people() -> None:
    assert write_pause(Pause(by="ada", why="x", since=NOON, until=moment("2026-12-01 09:00"))) == (
        '{\n  "by": "ada",\n  "why": "x",\n  "since": "2026-11-23T12:00:00Z",\n'
        '  "until": "2026-12-01T09:00:00Z"\n}'
    )
