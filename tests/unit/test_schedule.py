import datetime as dt

import pytest

from env_sync.domain.settings import Window
from env_sync.planning.schedule import closing, due, last_opening, next_opening, opening_cron
from tests.unit.values import moment


def window(text: str) -> Window:
    opens, closes = text.split("-")
    return Window(opens=dt.time.fromisoformat(opens), closes=dt.time.fromisoformat(closes))


NIGHT = window("22:00-08:00")
MORNING = window("01:30-06:00")


def at(text: str) -> dt.time:
    return dt.time.fromisoformat(text)


def test_the_run_starts_when_the_window_opens() -> None:
    assert opening_cron(NIGHT) == "0 22 * * *"
    assert opening_cron(MORNING) == "30 1 * * *"


@pytest.mark.parametrize(
    ("time", "hours"), [("22:00", 0), ("23:30", 1.5), ("00:00", 2), ("07:59", 9 + 59 / 60), ("21:00", 23)]
)
def test_a_night_is_counted_from_the_opening_of_its_window(time: str, hours: float) -> None:
    assert NIGHT.into(at(time)) == dt.timedelta(hours=hours)


@pytest.mark.parametrize(
    ("text", "time", "inside"),
    [
        ("22:00-08:00", "22:00", True),
        ("22:00-08:00", "00:00", True),
        ("22:00-08:00", "07:59", True),
        ("22:00-08:00", "08:00", False),
        ("22:00-08:00", "21:59", False),
        ("01:30-06:00", "01:30", True),
        ("01:30-06:00", "01:29", False),
        ("01:30-06:00", "06:00", False),
        ("01:30-06:00", "23:00", False),
        ("05:00-05:00", "04:59", True),
        ("00:00-00:00", "12:00", True),
    ],
)
def test_a_window_holds_its_opening_but_not_its_closing(text: str, time: str, inside: bool) -> None:
    assert window(text).holds(at(time)) is inside


@pytest.mark.parametrize(
    ("opened", "time", "text", "zone", "expected"),
    [
        # Across midnight: before it the same day, after it the next.
        ("2026-11-23 22:00", "22:00", "22:00-08:00", "UTC", "2026-11-23 22:00"),
        ("2026-11-23 22:00", "23:40", "22:00-08:00", "UTC", "2026-11-23 23:40"),
        ("2026-11-23 22:00", "00:00", "22:00-08:00", "UTC", "2026-11-24 00:00"),
        ("2026-11-23 22:00", "21:00", "22:00-08:00", "UTC", "2026-11-24 21:00"),
        ("2026-12-31 22:00", "03:00", "22:00-08:00", "UTC", "2027-01-01 03:00"),
        # A window within one day.
        ("2026-11-23 01:30", "03:00", "01:30-06:00", "UTC", "2026-11-23 03:00"),
        ("2026-11-23 01:30", "01:00", "01:30-06:00", "UTC", "2026-11-24 01:00"),
        # 22:00 in London is 21:00 UTC in summer.
        ("2026-07-01 21:00", "03:00", "22:00-08:00", "Europe/London", "2026-07-02 02:00"),
        # London, 29 March 2026: at 01:00 UTC the clock jumps from 01:00 to 02:00.
        ("2026-03-28 22:00", "00:59", "22:00-08:00", "Europe/London", "2026-03-29 00:59"),
        ("2026-03-28 22:00", "01:00", "22:00-08:00", "Europe/London", "2026-03-29 01:00"),
        ("2026-03-28 22:00", "01:30", "22:00-08:00", "Europe/London", "2026-03-29 01:30"),
        ("2026-03-28 22:00", "02:00", "22:00-08:00", "Europe/London", "2026-03-29 01:00"),
        ("2026-03-28 22:00", "03:00", "22:00-08:00", "Europe/London", "2026-03-29 02:00"),
        # London, 25 October 2026: at 01:00 UTC the clock goes back from 02:00 to 01:00.
        ("2026-10-24 21:00", "00:30", "22:00-08:00", "Europe/London", "2026-10-24 23:30"),
        ("2026-10-24 21:00", "01:30", "22:00-08:00", "Europe/London", "2026-10-25 00:30"),
        ("2026-10-24 21:00", "02:00", "22:00-08:00", "Europe/London", "2026-10-25 02:00"),
        # Lord Howe Island (UTC+10:30) moves by half an hour: on 4 October 2026 from 02:00 to 02:30 ...
        ("2026-10-03 11:30", "02:15", "22:00-08:00", "Australia/Lord_Howe", "2026-10-03 15:45"),
        ("2026-10-03 11:30", "03:00", "22:00-08:00", "Australia/Lord_Howe", "2026-10-03 16:00"),
        # ... and on 5 April 2026 from 02:00 back to 01:30.
        ("2026-04-04 11:00", "01:45", "22:00-08:00", "Australia/Lord_Howe", "2026-04-04 14:45"),
        ("2026-04-04 11:00", "02:00", "22:00-08:00", "Australia/Lord_Howe", "2026-04-04 15:30"),
    ],
)
def test_when_a_sync_is_due(opened: str, time: str, text: str, zone: str, expected: str) -> None:
    assert due(moment(opened), at(time), window(text), zone) == moment(expected)


def test_the_night_is_that_of_the_zone_not_of_utc() -> None:
    # In Auckland (UTC+13) the window opens at 09:00 UTC of what is the 23rd in both; in Los Angeles
    # (UTC-8) at 06:00 UTC of the 24th, which is still the evening of the 23rd.
    assert due(moment("2026-11-23 09:00"), at("02:00"), NIGHT, "Pacific/Auckland") == moment(
        "2026-11-23 13:00"
    )
    assert due(moment("2026-11-24 06:00"), at("23:00"), NIGHT, "America/Los_Angeles") == moment(
        "2026-11-24 07:00"
    )


@pytest.mark.parametrize(
    ("now", "opened", "closes", "opens_next"),
    [
        ("2026-11-24 23:00", "2026-11-24 22:00", "2026-11-25 08:00", "2026-11-25 22:00"),
        ("2026-11-24 22:00", "2026-11-24 22:00", "2026-11-25 08:00", "2026-11-25 22:00"),
        ("2026-11-24 21:59", "2026-11-23 22:00", "2026-11-24 08:00", "2026-11-24 22:00"),
        ("2026-11-24 12:00", "2026-11-23 22:00", "2026-11-24 08:00", "2026-11-24 22:00"),
    ],
)
def test_the_window_before_and_after_a_moment(now: str, opened: str, closes: str, opens_next: str) -> None:
    assert last_opening(moment(now), NIGHT, "UTC") == moment(opened)
    assert closing(moment(opened), NIGHT, "UTC") == moment(closes)
    assert next_opening(moment(now), NIGHT, "UTC") == moment(opens_next)


def test_a_window_keeps_to_the_clock_on_the_wall_where_the_clock_changes() -> None:
    """In London summer time ends on 25 October 2026 at 02:00."""
    opened = last_opening(moment("2026-10-24 23:00"), NIGHT, "Europe/London")
    assert opened == moment("2026-10-24 21:00")
    assert closing(opened, NIGHT, "Europe/London") == moment("2026-10-25 08:00")
    assert next_opening(opened, NIGHT, "Europe/London") == moment("2026-10-25 22:00")


def test_a_window_within_one_day_closes_on_that_day() -> None:
    opened = last_opening(moment("2026-11-24 03:00"), MORNING, "UTC")
    assert (opened, closing(opened, MORNING, "UTC")) == (
        moment("2026-11-24 01:30"),
        moment("2026-11-24 06:00"),
    )
