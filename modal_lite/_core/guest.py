"""Running the library's loop in slices, from within another event loop."""

import asyncio
import os
import select
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modal_lite._core.library_loop import LibraryLoop

_ROUNDS = 32
"""Rounds of the library's loop that a guest runs before its own callbacks get their turn."""
_TOGETHER = 32
"""Functions that a guest runs at once: containers are to begin while the caller's loop is busy making more calls."""


class GuestDismissedError(Exception):
    """The guest's loop is no longer the one to run the library's."""


class Guest:
    """The event loop of a caller that awaits, and that runs the library's loop when there is something to do there."""

    def __init__(self, library: "LibraryLoop", loop: asyncio.AbstractEventLoop, selector: "PausingSelector") -> None:
        self.loop = loop
        self._library = library
        self._selector = selector
        self._pid = os.getpid()
        self._posted: deque[Callable[[], object]] = deque()
        self._step_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        loop.add_reader(selector.fileno(), self._step)

    def post(self, function: Callable[[], object]) -> None:
        """Has the function called on the library's loop, with all that is posted in the same turn of this one."""
        self._posted.append(function)
        if len(self._posted) >= _TOGETHER:
            self._step()
        elif not self._step_is_due:
            self._step_is_due = True
            self.loop.call_soon(self._step)

    def posted(self) -> Iterator[Callable[[], object]]:
        """Takes out what is posted."""
        while True:
            try:
                function = self._posted.popleft()
            except IndexError:
                return
            yield function

    def is_behind(self) -> bool:
        """True if there is something that should have been run already. For any thread."""
        return bool(self._posted) or (self._due is not None and self._due < time.monotonic())

    def _step(self) -> None:
        if self._pid != os.getpid():
            return  # A fork: the library's loop is its parent's.
        self._step_is_due = False
        try:
            pause = self._library.run_as_guest(self)
        except GuestDismissedError:
            self._leave()
            return
        self._set_timer(pause)

    def _set_timer(self, pause: float | None) -> None:
        due = None if pause is None else time.monotonic() + pause
        if due is None or (self._due is not None and self._due <= due and self._timer is not None):
            return  # One that comes too early does no harm.
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.loop.call_later(pause or 0, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = self._due = None
        self._step()

    def _leave(self) -> None:
        if not self._library.has_guest(self.loop):  # Else another guest watches for the same loop.
            self.loop.remove_reader(self._selector.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for function in self.posted():  # since the dismissal
            self._library.post(function)


class PausingSelector(selectors.DefaultSelector):
    """A selector that can keep its loop from waiting."""

    def __init__(self) -> None:
        super().__init__()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rounds = 0
        self._pause: float | None = None

    def is_ready(self) -> bool:
        """True if there is something to do. For any thread."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def run_ready(self, loop: asyncio.AbstractEventLoop) -> float | None:
        """Runs the loop until it would have to wait. Returns for how long it would have, None for an event."""
        self._loop, self._rounds, self._pause = loop, _ROUNDS, 0
        try:
            loop.run_forever()
        finally:
            self._loop = None
        return self._pause

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors.BaseSelector.select`."""
        if self._loop is None:
            return super().select(timeout)
        events: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        self._rounds -= 1
        if not events and timeout != 0:
            self._pause = timeout
            self._loop.stop()
        elif not self._rounds:
            self._loop.stop()
        return events
