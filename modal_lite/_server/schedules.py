"""Which deployed functions run by themselves, and when: a pure machine, told the time in seconds since the epoch.

The next run is counted from the last one as it was planned, so that delays do not add up. If the time of the one after
it has passed as well, because the server was down or the machine slept, what was missed runs once, and the next run is
counted from then.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from modal_lite._core.requests import DeployedFunction, Schedule
from modal_lite._core.stored import StoredSchedule
from modal_lite.exception import InvalidError
from modal_lite.schedule import Cron, Period

logger = logging.getLogger("modal_lite.server")


def understood(schedule: Schedule) -> Period | Cron:
    """The schedule, checked. Raises InvalidError if it makes no sense, here and now."""
    if schedule.cron is not None:
        return Cron(*schedule.cron)
    try:
        return msgspec.convert(schedule.period, Period)
    except msgspec.ValidationError as error:
        raise InvalidError(f"This is no schedule: {error}.") from None


def spelled(schedule: Schedule) -> str:
    """The schedule as somebody would write it."""
    if schedule.cron is not None:
        return f"Cron({schedule.cron[0]!r}, {schedule.cron[1]!r})"
    fields = schedule.period or {}
    return f"Period({', '.join(f'{name}={value!r}' for name, value in fields.items())})"


def check_schedules(functions: Iterable[DeployedFunction]) -> None:
    """Raises InvalidError for a schedule that makes no sense, or that was never to run."""
    for function in functions:
        if function.schedule is not None:
            next_run(understood(function.schedule), 0.0)


def next_run(schedule: Period | Cron, since: float) -> float:
    """When the schedule is due for the first time after `since`. Raises InvalidError if it never is."""
    return schedule.next_after(datetime.fromtimestamp(since, UTC)).timestamp()


class _Entry:
    """A function with a schedule."""

    def __init__(self, stored: StoredSchedule) -> None:
        self.schedule = understood(stored.schedule)
        self.stored = stored
        self.next: float | None = None
        self.plan()

    def plan(self) -> None:
        """Finds the next run; None once the calendar has no such time any more."""
        try:
            self.next = next_run(self.schedule, self.stored.since)
        except InvalidError as error:
            logger.error("the schedule of %s ends: %s", self.stored.function_id, error)
            self.next = None


class Schedules:
    """The schedules of all deployed apps, by the lasting ids of their functions."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def load(self, stored: Iterable[StoredSchedule]) -> None:
        """Takes up what was stored, in the place of what was known.

        What cannot be understood any more, for its time zone is gone, does not run.
        """
        self._entries.clear()
        for each in stored:
            try:
                self._entries[each.function_id] = _Entry(each)
            except InvalidError as error:
                logger.error("the schedule of %s is ignored: %s", each.function_id, error)

    def replace(
        self, app_id: str, functions: Iterable[DeployedFunction], now: float
    ) -> tuple[list[StoredSchedule], list[str]]:
        """An app has these functions from now on.

        A schedule that stays as it was goes on as if nothing had been deployed; one that is new or changed is counted
        from now.

        Returns:
            The schedules to be stored, and the ids of the functions that have none any more.
        """
        wanted = {f.definition.function_id: f.schedule for f in functions if f.schedule is not None}
        dropped = [key for key, entry in self._entries.items() if entry.stored.app_id == app_id and key not in wanted]
        for function_id in dropped:
            del self._entries[function_id]
        changed = []
        for function_id, schedule in wanted.items():
            known = self._entries.get(function_id)
            if known is None or known.stored.schedule != schedule:
                new = StoredSchedule(function_id, app_id, schedule, now)
                if known is not None:
                    new = msgspec.structs.replace(new, last=known.stored.last, call_id=known.stored.call_id)
                self._entries[function_id] = _Entry(new)
                changed.append(new)
        return changed, dropped

    def due(self, now: float) -> list[str]:
        """The functions that are to run now, longest due first."""
        found = [(entry.next, key) for key, entry in self._entries.items() if entry.next is not None]
        return [function_id for planned, function_id in sorted(found) if planned <= now]

    def ran(self, function_id: str, call_id: str, now: float) -> StoredSchedule:
        """A function that was due runs, by this call. Returns what is to be stored with the call."""
        entry = self._entries[function_id]
        planned = entry.next
        assert planned is not None
        entry.stored = msgspec.structs.replace(entry.stored, since=planned, last=planned, call_id=call_id)
        entry.plan()
        if entry.next is not None and entry.next <= now:
            entry.stored = msgspec.structs.replace(entry.stored, since=now)
            entry.plan()
        return entry.stored

    def next_time(self, app_id: str | None = None) -> float | None:
        """When a function, of this app if one is given, is due next; None if none will be."""
        entries = [entry for entry in self._entries.values() if app_id is None or entry.stored.app_id == app_id]
        return min((entry.next for entry in entries if entry.next is not None), default=None)

    def find(self, function_id: str) -> tuple[StoredSchedule, float | None] | None:
        """How far the schedule of a function has come, and its next run; None if it has no schedule."""
        entry = self._entries.get(function_id)
        return None if entry is None else (entry.stored, entry.next)
