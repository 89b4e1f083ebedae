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

T = TypeVar("T")

_get_library_loop: Callable[[], asyncio.AbstractEventLoop] | None = None


def set_library_loop(get: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Tells where the library's loop is; called once by the wrapper layer, which owns it."""
    global _get_library_loop
    _get_library_loop = get


def library_loop() -> asyncio.AbstractEventLoop:
    """The loop that everything with a socket lives on."""
    assert _get_library_loop is not None, "the wrapper layer is not loaded"
    return _get_library_loop()


def call_soon(function: Callable[..., object], *args: object) -> None:
    """Runs a function on the library's loop soon, without waiting for it; on a closed loop, never."""
    if sys.is_finalizing():
        return  # Asking for the loop would start it anew, in a thread that never runs.
    try:
        library_loop().call_soon_threadsafe(function, *args)
    except RuntimeError:
        return


class _Mailbox:
    """Callbacks for a loop from other threads, which wake it once for as many as come meanwhile.

    Waking a loop is a system call and a switch of threads; a thousand calls awaited together are not to cost as many.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._posted: deque[Callable[[], object]] = deque()
        self._woken = False

    def post(self, callback: Callable[[], object]) -> None:
        """Has the loop call it. Raises RuntimeError if the loop is closed."""
        self._posted.append(callback)
        if self._woken:
            return
        loop = self._loop()
        if loop is None:
            raise RuntimeError("the loop is gone")
        self._woken = True
        try:
            loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            self._woken = False
            raise

    def _deliver(self) -> None:
        # In this order: what is posted from here on either is seen below or wakes the loop anew.
        self._woken = False
        posted = self._posted
        while posted:
            posted.popleft()()


_mailboxes: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Mailbox]" = weakref.WeakKeyDictionary()


def _mailbox(loop: asyncio.AbstractEventLoop) -> _Mailbox:
    found = _mailboxes.get(loop)
    if found is None:
        found = _mailboxes.setdefault(loop, _Mailbox(loop))
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
    """A coroutine function to be called elsewhere; await it once.

    The coroutine is made where it runs: one that Ctrl-C kept from getting there would complain of never being awaited.
    """

    __slots__ = ("make", "on_library_loop")

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]], on_library_loop: bool) -> None:
        self.make = make
        self.on_library_loop = on_library_loop

    def __await__(self) -> Generator[Any, Any, T]:
        # A drive is only the one that steps us if no other loop was started below it: user code that it runs may well
        # call asyncio.run().
        if _current.active and _current.loop is asyncio._get_running_loop():
            result: T = yield self
            return result
        if self.on_library_loop:
            return (yield from wait_async(self.make).__await__())
        return (yield from self.make().__await__())


def on_loop(function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> Errand[T]:
    """Calls the coroutine function on the library's loop."""
    return Errand(functools.partial(function, *arguments), on_library_loop=True)


def of_user(function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> Errand[T]:
    """Calls the user's coroutine function in the caller's loop, or in a private one if the caller blocks."""
    return Errand(functools.partial(function, *arguments), on_library_loop=False)


class _Task(Generic[T]):
    """A coroutine on its way to the library's loop, as a task there; `on_end` is called even if it never starts."""

    __slots__ = ("_make", "_on_end", "ended", "task")

    def __init__(
        self, make: Callable[[], Coroutine[Any, Any, T]], on_end: Callable[["asyncio.Task[T] | None"], None]
    ) -> None:
        self._make = make
        self._on_end = on_end
        self.ended = False
        self.task: asyncio.Task[T] | None = None

    def start(self) -> None:
        if not self.ended:
            self.task = asyncio.get_running_loop().create_task(self._make())
            self.task.add_done_callback(self._end)

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()
        elif not self.ended:
            self._end(None)

    def _end(self, task: "asyncio.Task[T] | None") -> None:
        self.ended = True
        self._on_end(task)


def wait_blocking(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs the coroutine on the library's loop and waits for it here. An interruption (Ctrl-C) cancels it first."""
    loop = library_loop()
    if asyncio._get_running_loop() is loop:
        raise RuntimeError("a blocking call on the library's own event loop would wait for itself")
    ended = threading.Lock()
    ended.acquire()
    errand = _Task(make, lambda _: ended.release())
    try:
        loop.call_soon_threadsafe(errand.start)
        ended.acquire()
    except BaseException:
        loop.call_soon_threadsafe(errand.cancel)
        if not errand.ended:  # else the interruption may have come when the lock was ours already
            ended.acquire()
        _retrieve(errand.task)
        raise
    assert errand.task is not None
    return errand.task.result()


async def wait_async(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs the coroutine on the library's loop and awaits it here. Cancelling this cancels it there."""
    here, loop = asyncio.get_running_loop(), library_loop()
    if here is loop:
        return await make()
    finished: asyncio.Future[asyncio.Task[T] | None] = here.create_future()

    def arrived(task: asyncio.Task[T] | None) -> None:
        if not finished.done():
            finished.set_result(task)
        else:
            _retrieve(task)

    mailbox = _mailbox(here)

    def ended(task: asyncio.Task[T] | None) -> None:
        try:
            mailbox.post(functools.partial(arrived, task))
        except RuntimeError:  # the caller's loop is closed: nobody is left to be told
            _retrieve(task)

    errand = _Task(make, ended)
    try:
        _mailbox(loop).post(errand.start)
        task = await finished
    except BaseException:
        loop.call_soon_threadsafe(errand.cancel)
        raise
    assert task is not None
    return task.result()


def _retrieve(task: "asyncio.Task[Any] | None") -> None:
    """Takes note of a task's exception that nobody waits for, so that asyncio does not report it as lost."""
    if task is not None and not task.cancelled():
        task.exception()
