"""Crossing between event loops and threads.

An implementation runs in its caller's thread. It awaits `on_loop(function, …)` for what belongs on the library's
loop, and `of_user(function, …)` for an async iterable of the user's. Under asyncio the first crosses to the library's
loop and the second is just awaited. Under a blocking drive (`modal_lite/_drive.py`) both are handed to the drive as
errands, which it waits for in the caller's thread.
"""

import asyncio
import functools
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

from modal_lite._core.library_loop import LibraryLoop, library

T = TypeVar("T")


def call_soon(function: Callable[..., object], *args: object) -> None:
    """Runs a function on the library's loop soon, without waiting for it; on a closed loop, never."""
    if sys.is_finalizing():
        return  # Asking for the loop would start it anew, in a thread that never runs.
    try:
        library().post(function, *args)
    except RuntimeError:
        return


class _Mailbox:
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
            if not finished.done():
                finished.set_result(None)
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
            finished = posted.popleft()
            if not finished.done():
                finished.set_result(None)


class _Here(threading.local):
    """The mailbox of the loop that runs in this thread, or that ran here last."""

    mailbox: _Mailbox | None = None


_here = _Here()


def _mailbox(loop: asyncio.AbstractEventLoop) -> _Mailbox:
    """That of the running loop."""
    found = _here.mailbox
    if found is None or not found.is_of(loop):
        found = _here.mailbox = _Mailbox(loop)
    return found


class _CurrentDrive(threading.local):
    """Whether this thread is stepping an implementation by hand, and under which running loop."""

    active = False
    loop: asyncio.AbstractEventLoop | None = None


_current = _CurrentDrive()


class Stepping:
    """Context manager: this thread steps an implementation by hand."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = _current.active, _current.loop
        _current.active, _current.loop = True, asyncio._get_running_loop()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        _current.active, _current.loop = self._before


class Errand(Generic[T]):
    """Something to be done elsewhere; await it once.

    Args:
        make: Makes the coroutine where it is to run, or starts what needs none; a coroutine that Ctrl-C kept from
            getting there would complain of never being awaited.
        operation: How it is done on the library's loop; None if it is for the user's.
    """

    __slots__ = ("make", "operation")

    def __init__(self, make: Callable[..., Any], operation: "type[_Operation[T]] | None") -> None:
        self.make = make
        self.operation = operation

    def __await__(self) -> Generator[Any, Any, T]:
        # A drive is only the one that steps us if no other loop was started below it: user code that it runs may well
        # call asyncio.run().
        if _current.active and _current.loop is asyncio._get_running_loop():
            return self._hand_to_drive()
        coroutine: Coroutine[Any, Any, T]
        coroutine = self.make() if self.operation is None else _wait_async(self.operation, self.make)
        return coroutine.__await__()

    def _hand_to_drive(self) -> Generator[Any, Any, T]:
        result: T = yield self
        return result


def on_loop(function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> Errand[T]:
    """Calls the coroutine function on the library's loop."""
    return Errand(functools.partial(function, *arguments), _Task)


def directly(function: Callable[..., Any], *arguments: object) -> Errand[Any]:
    """Calls the function on the library's loop, with a callback for the result as one more argument.

    It returns what cancels it; without a coroutine it is the short way for what happens often.
    """
    return Errand(functools.partial(function, *arguments), _Direct)


def of_user(function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> Errand[T]:
    """Calls the user's coroutine function in the caller's loop, or in a private one if the caller blocks."""
    return Errand(functools.partial(function, *arguments), None)


class _Operation(Generic[T]):
    """What a caller waits for, on its way to the library's loop and there; all but `post` is called on that loop.

    Attributes:
        ended: True once it has its result, or was cancelled before it was started.
    """

    __slots__ = ("_library", "_make", "_on_end", "_posted", "_result", "ended")
    _result: T | BaseException

    def __init__(
        self, library: LibraryLoop, make: Callable[..., Any], on_end: Callable[["_Operation[T]"], None]
    ) -> None:
        self._library = library
        self._make = make
        self._on_end = on_end
        self._posted = False
        self.ended = False

    def post(self, post: Callable[[Callable[[], None]], object]) -> None:
        """Has it started, by the first of the ways that are tried."""
        if not self._posted:
            self._posted = True
            post(self.start)

    def start(self) -> None:
        """Begins it, unless it was cancelled before."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Ends it."""
        raise NotImplementedError

    def result(self) -> T:
        """Its result, once it has ended. Raises what it raised."""
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result

    def _end(self, result: T | BaseException) -> None:
        if not self.ended:
            self._result = result
            self.ended = True
            self._on_end(self)
            self._library.end(self)


class _Task(_Operation[T]):
    """A coroutine, as a task."""

    __slots__ = ("_task",)

    def start(self) -> None:
        if not self.ended:
            self._task: asyncio.Task[T] | None = asyncio.get_running_loop().create_task(self._make())
            self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        task = getattr(self, "_task", None)
        if task is not None:
            task.cancel()
        else:
            self._end(asyncio.CancelledError())

    def _done(self, task: asyncio.Task[T]) -> None:
        # Let go of here, on the loop: what Python runs when a task is freed loses what a signal handler raises in it.
        self._task = None
        if task.cancelled():
            self._end(asyncio.CancelledError())
        else:
            error = task.exception()
            self._end(task.result() if error is None else error)


class _Direct(_Operation[T]):
    """Something that calls back."""

    __slots__ = ("_cancel",)

    def start(self) -> None:
        self._cancel: Callable[[], None] | None = None
        if self.ended:
            return
        try:
            cancel = self._make(self._done)
        except Exception as error:
            self._done(error)
        else:
            if not self.ended:
                self._cancel = cancel

    def cancel(self) -> None:
        cancel = getattr(self, "_cancel", None)
        if cancel is not None:
            cancel()
        self._done(asyncio.CancelledError())

    def _done(self, result: T | BaseException) -> None:
        # Each knows of the other: let go of here, they need no garbage collector.
        self._cancel = None
        self._end(result)


def wait_blocking(errand: Errand[T]) -> T:
    """Has an errand done on the library's loop and waits for it here. An interruption (Ctrl-C) cancels it first."""
    here, there = asyncio._get_running_loop(), library()
    if here is there.loop:
        raise RuntimeError("a blocking call on the library's own event loop would wait for itself")
    ended = threading.Lock()
    ended.acquire()
    assert errand.operation is not None
    operation = errand.operation(there, errand.make, lambda _: ended.release())
    try:
        there.begin(operation)
        if not there.run_here(operation, operation.post):
            if here is not None:
                there.dismiss_guest(here)
            operation.post(there.post)
            ended.acquire()
    except BaseException:
        there.post(operation.cancel)
        if not operation.ended:  # else the interruption may have come when the lock was ours already
            ended.acquire()
        raise
    return operation.result()


async def _wait_async(kind: type[_Operation[T]], make: Callable[..., Any]) -> T:
    """Has it done on the library's loop and awaits it here. Cancelling this cancels it there."""
    here, there = asyncio.get_running_loop(), library()
    finished: asyncio.Future[None] = here.create_future()
    set_done = _mailbox(here).set_done
    operation = kind(there, make, lambda _: set_done(finished))
    try:
        there.begin(operation)
        if here is there.loop:
            operation.start()
        else:
            guest = there.guest(here)
            operation.post(guest.post if guest is not None else there.post)
        await finished
    except BaseException:
        there.post(operation.cancel)
        raise
    return operation.result()
