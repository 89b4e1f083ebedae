"""When a deployed function runs by itself: vocabulary, without any clock."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import msgspec

from modal_lite.exception import InvalidError

__all__ = ["Cron", "Period"]


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A time between runs, for `@app.function(schedule=Period(hours=6))`. Everything is added up.

    Attributes:
        years: Calendar years.
        months: Calendar months; one that has no such day ends with its last one instead.
        weeks: Times seven days.
        days: Times 24 hours.
        hours: Whole hours.
        minutes: Whole minutes.
        seconds: May be a fraction.

    Raises:
        InvalidError: A value is of the wrong type or negative, or all of them are 0.
    """

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    hours: int = 0
    minutes: int = 0
    seconds: float = 0

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        for name, value in values.items():
            kinds = int | float if name == "seconds" else int
            if not isinstance(value, kinds) or isinstance(value, bool) or not 0 <= value < 1e9:
                what = "a number" if name == "seconds" else "an int"
                raise InvalidError(f"Period({name}={value!r}): must be {what} of at least 0.")
        if not any(values.values()):
            raise InvalidError("Period() has no length: write Period(days=1), for example.")

    def next_after(self, previous: datetime) -> datetime:
        """When the next run is, in UTC.

        Args:
            previous: The last one, or the start of it all; with a time zone.

        Raises:
            InvalidError: `previous` has no time zone, or the next is beyond the year 9999.
        """
        from calendar import monthrange  # here, for few programs need it

        start = _aware(previous).astimezone(UTC)
        months = start.year * 12 + start.month - 1 + self.years * 12 + self.months
        year, month = months // 12, months % 12 + 1
        try:
            day = min(start.day, monthrange(year, month)[1])
            return start.replace(year=year, month=month, day=day) + timedelta(
                weeks=self.weeks, days=self.days, hours=self.hours, minutes=self.minutes, seconds=self.seconds
            )
        except (ValueError, OverflowError):
            raise InvalidError(f"{self} after {previous} is beyond the calendar.") from None


class Cron(msgspec.Struct, frozen=True):
    """Times in the notation of cron, for `@app.function(schedule=Cron("30 9 * * 1-5", timezone="Europe/Berlin"))`.

    Where clocks are put forward, what falls into the gap runs right after it; where they are put back, what falls into
    the hour that comes twice runs once; unless its minute or hour begins with `*`, then it follows the clock's hand.

    Attributes:
        cron_string: Five fields: minute, hour, day of the month, month, day of the week (0 or 7 is Sunday). Each is
            `*`, a number, a range `1-5`, a list `1,15`, or one with a step `*/10`; months and days of the week have
            names, too.
        timezone: A name of the IANA database. Default: "UTC".

    Raises:
        InvalidError: One of them cannot be understood, or there is no such day.
    """

    cron_string: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        given: Any = self.cron_string
        if not isinstance(given, str) or len(given.split()) != 5:
            raise InvalidError(
                f"Cron({given!r:.100}): must have five fields: minute, hour, day of the month, month, day of the week, "
                'such as "0 9 * * 1-5".'
            )
        self.next_after(datetime(2000, 1, 1, tzinfo=UTC))

    def next_after(self, previous: datetime) -> datetime:
        """The first of the times after `previous`, in UTC.

        Args:
            previous: With a time zone, whichever.

        Raises:
            InvalidError: `previous` has no time zone, or there is no such time within 50 years.
        """
        from cronsim import CronSim, CronSimError  # here, for few programs need it

        start = _aware(previous).astimezone(self._zone())
        try:
            return next(CronSim(self.cron_string, start)).astimezone(UTC)
        except CronSimError as error:
            raise InvalidError(f"Cron({self.cron_string!r}): {error}.") from None
        except StopIteration:
            raise InvalidError(f"Cron({self.cron_string!r}): there is no such time.") from None

    def _zone(self) -> tzinfo:
        from zoneinfo import ZoneInfo

        try:
            return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)
        except (LookupError, ValueError, TypeError, OSError):
            raise InvalidError(
                f"Cron(timezone={self.timezone!r:.100}): there is no such time zone on this machine; they look like "
                '"Europe/Berlin" (`pip install tzdata` brings them).'
            ) from None


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise InvalidError(f"{moment} has no time zone: write datetime.now(UTC), for example.")
    return moment
