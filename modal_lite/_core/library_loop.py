"""The library's event loop, run by whoever waits for it.

Everything with a socket lives on one event loop. A thread of its own, the keeper, runs it. But waking a thread costs
more than all else that a call needs, and two threads that share one GIL more than that. So the keeper rests while
nothing is under way, and whoever makes a call then runs the loop until the answer is there:

* a caller that blocks, in its own thread (`run_here`);
* the event loop of a caller that awaits, whenever there is something to do (`Guest`).

asyncio binds a loop to no thread; it asks that one thread at a time runs it, which `_turn` sees to. The keeper comes
back when somebody else waits, and when nobody has run the loop for a while, a shorter one while work is under way.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Protocol

from modal_lite._core.deferred_signals import DeferredSignals
from modal_lite._core.guest import Guest, GuestDismissedError, PausingSelector

REST = 0.05
"""Seconds without anyone running the loop after which the keeper does. Each of its looks costs a switch of threads."""
WATCH = 0.005
"""The same while work is under way, of a map whose caller takes a block of results after the other, say."""
WORK = 0.25
"""Seconds that the keeper stays with work under way once it had to take over; then a caller may run the loop again."""


class Awaited(Protocol):
    """Something that a caller waits for, under way on the library's loop."""

    ended: bool


class LibraryLoop:
    """The loop, its keeper, and who else runs it.

    Attributes:
        loop: For what runs on it. Others hand it functions with `post`.
    """

    def __init__(self) -> None:
        self._selector = PausingSelector()
        self._runner = asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(self._selector))
        self.loop = self._runner.get_loop()
        self._turn = threading.Lock()
        """Held by the thread that runs the loop."""
        self._turns = 0
        self._resting = False
        self._called = threading.Lock()
        """Free once the resting keeper is to look whether it is needed. No Event: a signal handler that raises in the
        midst of setting one leaves it broken."""
        self._called.acquire()
        self._waits_for_turn = False
        self._watching = False
        """True while it rests for WATCH seconds at most."""
        self._works_until: float | None = None
        """Until when it keeps work that callers have left to it; None if it has none."""
        self._keeping = False
        self._awaited: set[Awaited] = set()
        self._runs_for: Awaited | None = None
        self._guest: Guest | None = None
        self._work: list[Callable[[], bool]] = []
        self._closing = False
        self._keeper = threading.Thread(target=self._keep, name="modal_lite", daemon=True)
        self._keeper.start()

    def close(self) -> None:
        """Cancels what is left on the loop and ends it and its thread."""
        self._closing = True
        self.post(self.loop.stop)
        self._call_keeper()
        self._keeper.join()

    def add_work(self, is_under_way: Callable[[], bool]) -> None:
        """Has the loop run while the function returns True, even if no caller waits; it may rest for WATCH seconds."""
        self._work.append(is_under_way)

    # --- any thread --------------------------------------------------------------------------------------------------

    def post(self, function: Callable[..., object], *args: object) -> None:
        """Has the function called on the loop soon. Raises RuntimeError if the loop is closed."""
        self.loop.call_soon_threadsafe(function, *args)
        # A guest is told by the loop's own wake-up; a caller that leaves the loop looks whom it leaves behind.
        if self._resting and self._present_guest() is None and not self._turn.locked():
            self._call_keeper()

    def begin(self, awaited: Awaited) -> None:
        """Somebody is about to wait for something on the loop, until `end` is called for it."""
        self._awaited.add(awaited)

    def run_here(self, awaited: Awaited, start: Callable[[Callable[..., object]], None]) -> bool:
        """Runs the loop in this thread until the awaited has ended, signals being handled in between.

        Args:
            awaited: What the caller waits for.
            start: Given what calls a function as if on the loop, starts it, unless that was done before.

        Returns:
            False if another thread runs the loop, or this one runs another loop.
        """
        if self._present_guest() is not None or asyncio._get_running_loop() is not None:
            return False
        while not awaited.ended:
            with DeferredSignals(self._stop_soon):
                if not self._resting or not self._turn.acquire(blocking=False):
                    return False
                try:
                    self._turns += 1
                    self._runs_for = awaited
                    start(self._call)
                    if not awaited.ended:
                        self.loop.run_forever()
                finally:
                    self._runs_for = None
                    self._turn.release()
                    self._leave()
        return True

    def guest(self, loop: asyncio.AbstractEventLoop) -> Guest | None:
        """The running loop of this thread as what runs the library's; None if another thread runs that."""
        guest = self._present_guest()
        if guest is not None:
            return guest if guest.loop is loop else None
        if not self._resting or not self._turn.acquire(blocking=False):
            return None
        try:
            if self._resting:
                self._turns += 1
                self._guest = Guest(self, loop, self._selector)
        except (NotImplementedError, OSError):
            return None  # A loop that cannot watch descriptors.
        finally:
            self._turn.release()
        return self._guest

    def dismiss_guest(self, loop: asyncio.AbstractEventLoop) -> None:
        """This thread is about to block in the midst of the guest's loop."""
        if self.has_guest(loop):
            self._dismiss_guest()
            self._call_keeper()

    def has_guest(self, loop: asyncio.AbstractEventLoop) -> bool:
        """True if the given loop is the one that runs the library's."""
        return self._guest is not None and self._guest.loop is loop

    def _present_guest(self) -> Guest | None:
        guest = self._guest
        if guest is not None and not guest.loop.is_running():
            self._dismiss_guest()
            return None
        return guest

    def _dismiss_guest(self) -> None:
        guest, self._guest = self._guest, None
        if guest is not None:
            for function in guest.posted():
                self.loop.call_soon_threadsafe(function)

    # --- the thread that runs the loop -------------------------------------------------------------------------------

    def end(self, awaited: Awaited) -> None:
        """What somebody waited for has ended; called on the loop, or before it was started."""
        self._awaited.discard(awaited)
        if self._runs_for is awaited:
            self.loop.stop()
        elif self._keeping:
            # Set before it looks, as others look after they have posted: one of the two sees the other.
            self._resting = True
            if self._awaited or self._has_work():
                self._resting = False
            else:
                self.loop.stop()

    def run_as_guest(self, guest: Guest) -> float | None:
        """Runs what is ready. Returns the seconds to the next timer, None if there is none.

        Raises:
            GuestDismissedError: Another thread is to run the loop from now on.
        """
        with DeferredSignals(lambda: None):
            if self._guest is not guest or not self._turn.acquire(blocking=False):
                if self._guest is guest:
                    self._guest = None
                raise GuestDismissedError
            try:
                self._turns += 1
                asyncio._set_running_loop(self.loop)
                for function in guest.posted():
                    function()
                asyncio._set_running_loop(None)
                return self._selector.run_ready(self.loop)
            finally:
                asyncio._set_running_loop(guest.loop)
                self._turn.release()

    def _leave(self) -> None:
        if self._waits_for_turn or self._awaited or (not self._watching and self._work_is_under_way()):
            self._call_keeper()

    def _has_work(self) -> bool:
        if self._works_until is not None and self.loop.time() < self._works_until and self._work_is_under_way():
            return True
        self._works_until = None
        return False

    def _work_is_under_way(self) -> bool:
        return any(is_under_way() for is_under_way in self._work)

    def _call(self, function: Callable[[], object]) -> None:
        asyncio._set_running_loop(self.loop)
        try:
            function()
        finally:
            asyncio._set_running_loop(None)

    def _call_keeper(self) -> None:
        try:
            self._called.release()
        except RuntimeError:
            return  # It has been called already.

    def _stop_soon(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)

    # --- the keeper --------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        with self._runner:
            while not self._closing:
                # Before it has the turn: nobody else may take that again and again.
                self._resting = False
                with self._turn:
                    self._dismiss_guest()
                    self._works_until = self.loop.time() + WORK if self._work_is_under_way() else None
                    self._keeping = True
                    self.loop.run_forever()
                    self._keeping = False
                self._rest()

    def _rest(self) -> None:
        """Returns when the loop is to be run by this thread."""
        unattended = False
        while True:
            turns = self._turns
            self._watching = self._guest is None and self._work_is_under_way()
            if self._called.acquire(timeout=WATCH if self._watching else REST) and self._is_needed():
                return
            self._wait_for_turn()
            guest = self._guest  # Another thread may dismiss it at any moment.
            if turns != self._turns:
                unattended = False
            elif guest is None or not self._awaited:
                return
            elif guest.is_behind() or self._selector.is_ready():
                # Seen twice: what came a moment ago is no sign that the guest's loop is blocked.
                if unattended:
                    return
                unattended = True

    def _is_needed(self) -> bool:
        return self._closing or (self._present_guest() is None and bool(self._awaited))

    def _wait_for_turn(self) -> None:
        """Returns when no blocking caller runs the loop."""
        self._waits_for_turn = True
        # Looked at after it was set: a caller that leaves looks the other way round.
        while self._runs_for is not None:
            self._called.acquire()
        self._waits_for_turn = False


_current: LibraryLoop | None = None
_creation = threading.Lock()


def library() -> LibraryLoop:
    """The library's loop of this process, started on first use."""
    if _current is None:
        _create()
    assert _current is not None
    return _current


def close_library() -> None:
    """Ends the library's loop, if there is one. It is never called while anything needs it."""
    global _current
    if _current is not None:
        ending, _current = _current, None
        ending.close()


def _create() -> None:
    global _current
    with DeferredSignals(lambda: None), _creation:
        if _current is None:
            _current = LibraryLoop()


def _after_fork() -> None:
    # The loop's thread is the parent's, and its selector shared with it.
    global _current, _creation
    _current, _creation = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
