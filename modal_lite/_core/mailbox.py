"""Telling an event loop of the user's that what it waits for has ended."""

import asyncio
import threading
import weakref
from collections import deque


class Mailbox:
    """Futures of a caller's loop, which is woken once for as many as another thread sets meanwhile.

    Waking a loop is a system call and a switch of threads; a thousand calls awaited together are not to cost as many.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._thread = threading.get_ident()
        self._posted: deque[asyncio.Future[None]] = deque()
        self._woken = False

    def is_of(self, loop: asyncio.AbstractEventLoop) -> bool:
        """True if it is for that loop."""
        return self._loop() is loop

    def set_done(self, finished: asyncio.Future[None]) -> None:
        """Has a future of the loop set; from the loop's own thread, at once. On a closed loop, never."""
        if self._thread == threading.get_ident():
            _set(finished)
            return
        self._posted.append(finished)
        if self._woken:
            return
        loop = self._loop()
        if loop is None:
            return
        self._woken = True
        try:
            loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            self._woken = False

    def _deliver(self) -> None:
        # In this order: what is posted from here on either is seen below or wakes the loop anew.
        self._woken = False
        posted = self._posted
        while posted:
            _set(posted.popleft())


class _Here(threading.local):
    """The mailbox of the loop that runs in this thread, or that ran here last."""

    mailbox: Mailbox | None = None


_here = _Here()


def mailbox_of(loop: asyncio.AbstractEventLoop) -> Mailbox:
    """That of the running loop."""
    found = _here.mailbox
    if found is None or not found.is_of(loop):
        found = _here.mailbox = Mailbox(loop)
    return found


def _set(finished: asyncio.Future[None]) -> None:
    if not finished.done():
        try:
            finished.set_result(None)
        except RuntimeError:
            return  # Its loop was closed in the midst of waiting for it.
