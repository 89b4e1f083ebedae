"""The clock of the schedules: waits until a function is due and has it called."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from modal_lite._server.schedules import Schedules

LOOK = 30.0
"""Seconds between two looks at the clock at least: it may be set, and it goes on while the machine sleeps."""


class Firing:
    """Has functions called when they are due.

    Args:
        schedules: Says which, and when.
        fire: Makes the call of one of them, which must not be due afterwards.
    """

    def __init__(self, schedules: Schedules, fire: Callable[[str, float], Awaitable[None]]) -> None:
        self._schedules = schedules
        self._fire = fire
        self._changed = asyncio.Event()
        self._stopped = False

    def changed(self) -> None:
        """There are other schedules than before."""
        self._changed.set()

    def stop(self) -> None:
        """Nothing is called any more."""
        self._stopped = True
        self._changed.set()

    async def run(self) -> None:
        """Runs until it is stopped or cancelled."""
        while not self._stopped:
            self._changed.clear()
            now = time.time()
            for function_id in self._schedules.due(now):
                await self._fire(function_id, now)
            due = self._schedules.next_time()
            wait = LOOK if due is None else min(LOOK, due - time.time())
            try:
                async with asyncio.timeout(max(0.0, wait)):
                    await self._changed.wait()
            except TimeoutError:
                pass
