"""Schedules are validated where they are written, and tell when the next run is."""

import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_lite import Cron, Period
from modal_lite.exception import InvalidError


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("period", "previous", "expected"),
    [
        (Period(seconds=0.5), utc(2025, 1, 1), datetime(2025, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        (Period(minutes=90), utc(2025, 12, 31, 23), utc(2026, 1, 1, 0, 30)),
        (Period(weeks=1, days=1, hours=1), utc(2025, 2, 27), utc(2025, 3, 7, 1)),
        (Period(months=1), utc(2025, 1, 31), utc(2025, 2, 28)),
        (Period(months=1), utc(2024, 1, 31), utc(2024, 2, 29)),
        (Period(months=13), utc(2025, 12, 15, 8), utc(2027, 1, 15, 8)),
        (Period(years=1), utc(2024, 2, 29), utc(2025, 2, 28)),
        (Period(years=1, months=1, days=1), utc(2025, 1, 30), utc(2026, 3, 1)),
    ],
)
def test_the_next_run_after_a_period(period: Period, previous: datetime, expected: datetime) -> None:
    assert period.next_after(previous) == expected


def test_a_period_counts_in_utc_whatever_the_zone() -> None:
    previous = datetime(2025, 3, 1, 1, tzinfo=timezone(timedelta(hours=5)))  # still February in UTC
    found = Period(months=1).next_after(previous)
    assert found == utc(2025, 3, 28, 20)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Period() has no length: write Period(days=1), for example."),
        ({"hours": 0}, "Period() has no length: write Period(days=1), for example."),
        ({"days": 1.5}, "Period(days=1.5): must be an int of at least 0."),
        ({"hours": -1}, "Period(hours=-1): must be an int of at least 0."),
        ({"minutes": True}, "Period(minutes=True): must be an int of at least 0."),
        ({"seconds": -0.1}, "Period(seconds=-0.1): must be a number of at least 0."),
        ({"seconds": float("nan")}, "Period(seconds=nan): must be a number of at least 0."),
        ({"seconds": "1"}, "Period(seconds='1'): must be a number of at least 0."),
    ],
)
def test_periods_that_are_none(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Period(**arguments)
    assert str(caught.value) == message


def test_a_period_takes_names_only_and_ends_with_the_calendar() -> None:
    with pytest.raises(TypeError):
        Period(1)  # type: ignore[misc]
    with pytest.raises(InvalidError, match="is beyond the calendar"):
        Period(years=8000).next_after(utc(2025, 1, 1))


@pytest.mark.parametrize(
    ("cron", "previous", "expected"),
    [
        (Cron("* * * * *"), utc(2025, 1, 1, 0, 0, 30), utc(2025, 1, 1, 0, 1)),
        (Cron("0 0 * * *"), utc(2025, 1, 1), utc(2025, 1, 2)),
        (Cron("*/20 9-10 * * 1-5"), utc(2025, 1, 3, 10, 40), utc(2025, 1, 6, 9)),
        (Cron("30 6 1,15 * *"), utc(2025, 1, 1, 6, 30), utc(2025, 1, 15, 6, 30)),
        (Cron("0 12 29 feb *"), utc(2025, 1, 1), utc(2028, 2, 29, 12)),
        (Cron("0 0 * * 7"), utc(2025, 1, 1), utc(2025, 1, 5)),
        # Both days given: either is enough.
        (Cron("0 0 13 * fri"), utc(2025, 1, 1), utc(2025, 1, 3)),
        # By the clock of a place: an hour earlier in summer.
        (Cron("0 9 * * *", timezone="Europe/Berlin"), utc(2025, 1, 1), utc(2025, 1, 1, 8)),
        (Cron("0 9 * * *", timezone="Europe/Berlin"), utc(2025, 7, 1), utc(2025, 7, 1, 7)),
        (Cron("15 0 * * *", timezone="Asia/Kathmandu"), utc(2025, 1, 1), utc(2025, 1, 1, 18, 30)),
    ],
)
def test_the_next_time_of_cron(cron: Cron, previous: datetime, expected: datetime) -> None:
    found = cron.next_after(previous)
    assert found == expected
    assert found.tzinfo is UTC


def times(cron: Cron, start: datetime, count: int) -> list[datetime]:
    found = []
    for _ in range(count):
        start = cron.next_after(start)
        found.append(start)
    return found


def test_what_falls_into_the_gap_of_spring_runs_right_after_it() -> None:
    # Berlin, 30 March 2025: 02:00 becomes 03:00, which is 01:00 UTC.
    found = times(Cron("30 2 * * *", timezone="Europe/Berlin"), utc(2025, 3, 29), 3)
    assert found == [utc(2025, 3, 29, 1, 30), utc(2025, 3, 30, 1), utc(2025, 3, 31, 0, 30)]


def test_what_falls_into_the_double_hour_of_autumn_runs_once() -> None:
    # Berlin, 26 October 2025: 03:00 becomes 02:00, at 01:00 UTC.
    found = times(Cron("30 2 * * *", timezone="Europe/Berlin"), utc(2025, 10, 25), 3)
    assert found == [utc(2025, 10, 25, 0, 30), utc(2025, 10, 26, 0, 30), utc(2025, 10, 27, 1, 30)]


@pytest.mark.parametrize("start", [utc(2025, 3, 30), utc(2025, 10, 25, 23)])
def test_what_runs_at_any_hour_goes_on_through_changes_of_the_clock(start: datetime) -> None:
    found = times(Cron("*/30 * * * *", timezone="Europe/Berlin"), start, 8)
    assert found == [start + timedelta(minutes=30 * (n + 1)) for n in range(8)]


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(["30 2 * * *", "*/7 * * * *", "15 */6 1,31 * *", "0 0 * * sun"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)
def test_time_only_goes_forwards(start: datetime, cron_string: str, zone: str) -> None:
    cron = Cron(cron_string, timezone=zone)
    found = times(cron, start, 3)
    assert start < found[0] < found[1] < found[2]
    # Whatever moment before it is asked from, the next time is the same.
    assert cron.next_after(start + (found[0] - start) / 2) == found[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("* * * *",), r"Cron\('\* \* \* \*'\): must have five fields"),
        (("* * * * * *",), "must have five fields"),
        (("@daily",), "must have five fields"),
        ((5,), r"Cron\(5\): must have five fields"),
        (("61 * * * *",), r"Cron\('61 \* \* \* \*'\): Bad minute\."),
        (("0 0 31 2 *",), r"Cron\('0 0 31 2 \*'\): Bad day-of-month\."),
        (("0 0 * * *", "Mars/Olympus"), r"Cron\(timezone='Mars/Olympus'\): there is no such time zone"),
        (("0 0 * * *", "../etc"), r"there is no such time zone"),
        (("0 0 * * *", None), r"there is no such time zone"),
    ],
)
def test_crons_that_are_none(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        Cron(*arguments)


def test_a_moment_without_a_zone_is_refused() -> None:
    for schedule in (Period(days=1), Cron("0 0 * * *")):
        with pytest.raises(InvalidError, match="has no time zone"):
            schedule.next_after(datetime(2025, 1, 1))


def test_schedules_are_values() -> None:
    for schedule in (Period(days=1), Cron("0 0 * * *", timezone="Europe/Berlin")):
        assert pickle.loads(pickle.dumps(schedule)) == schedule
