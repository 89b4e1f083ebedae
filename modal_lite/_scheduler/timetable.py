"""What is to be looked at later: one heap of times.

A container has one valid entry, the one of its `check_at`; an input that waits for its retry has one until its call is
cancelled; a function has one for each failed start, and one while its inputs may prove slow enough for more containers.
Entries that something earlier made void stay in the heap until they come up, or until there are as many of them as of
the others.
"""

import heapq
from typing import TypeAlias

from modal_lite._scheduler import policy
from modal_lite._scheduler.records import Call, Container, Function, InputRange, Lease

SLACK = 256
"""Void entries that the timetable may hold beside as many as there are others."""

Entry: TypeAlias = Container | Function | tuple[Call, InputRange]
"""A container to be checked, a function that may start containers again, or inputs to be tried again."""


class Timetable:
    """Entries by the time when they are due; of those due at the same time, the oldest first."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Entry]] = []
        self._limit = SLACK
        self._number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def next_deadline(self) -> float | None:
        """When something is due at the earliest; None if nothing waits for time."""
        return self._entries[0][0] if self._entries else None

    def add(self, due: float, what: Entry) -> None:
        """Enters what is to be looked at."""
        if len(self._entries) >= self._limit:
            self._entries = [entry for entry in self._entries if _is_valid(entry[2], entry[0])]
            heapq.heapify(self._entries)
            self._limit = 2 * len(self._entries) + SLACK
        self._number += 1
        heapq.heappush(self._entries, (due, self._number, what))

    def look_again(self, container: Container) -> None:
        """Makes sure that the container is looked at when it may need something by then."""
        self._look_again(container, policy.next_check(container))

    def look_again_at(self, lease: Lease) -> None:
        """As `look_again` at the lease's container, if nothing but the lease has changed.

        Where inputs share a container, the others of them, perhaps a thousand, are not gone through.
        """
        container = lease.container
        shares = container.function.shares
        self._look_again(container, policy.next_check_of(lease) if shares else policy.next_check(container))

    def _look_again(self, container: Container, due: float | None) -> None:
        if due is not None and (container.check_at is None or due < container.check_at):
            container.check_at = due
            self.add(due, container)

    def delay(self, call: Call, again: InputRange, due: float) -> None:
        """Keeps inputs until the time of their retry."""
        call.delayed += again.stop - again.start
        self.add(due, (call, again))

    def delayed_inputs(self, call: Call) -> list[InputRange]:
        """The call's inputs that wait for the time of their retry."""
        if not call.delayed:
            return []
        waiting = (entry[2] for entry in self._entries)
        return [what[1] for what in waiting if isinstance(what, tuple) and what[0] is call]

    def take_due(self, now: float) -> Entry | None:
        """Takes out the next entry that is due; None if none is."""
        entries = self._entries
        while entries and entries[0][0] <= now:
            due, _, what = heapq.heappop(entries)
            if not _is_valid(what, due):
                continue
            if isinstance(what, Container):
                what.check_at = None
            elif isinstance(what, tuple):
                call, again = what
                call.delayed -= again.stop - again.start
            return what
        return None


def _is_valid(what: Entry, due: float) -> bool:
    """False for an entry that something earlier replaced, or whose call was cancelled."""
    if isinstance(what, Container):
        return what.check_at == due
    return isinstance(what, Function) or not what[0].cancelled
