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
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from modal_lite._core.library_loop import library
from modal_lite._core.mailbox import mailbox_of
from modal_lite._core.operations import Direct, Operation, Task

T = TypeVar("T")


def call_soon(function: Callable[..., object], *args: object) -> None:
    """Runs a function on the library's loop soon, without waiting for it; on a closed loop, never."""
    if sys.is_finalizing():
        return  # Asking for the loop would start it anew, in a thread that never runs.
    try:
        library().post(function, *args)
    except RuntimeError:
        return


def call_when_run(function: Callable[..., object], *args: object) -> None:
    """Runs a function on the library's loop when that runs next anyway, without waking a thread for it."""
    if sys.is_finalizing():
        return
    try:
        library().loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        return


class _CurrentDrive(threading.local):
    """Whether this thread is stepping an implementation by hand, and under which running loop."""

    active = False
    loop: asyncio.AbstractEventLoop | None = None


_current = _CurrentDrive()


def advance(
    coroutine: Coroutine[Any, Any, Any], value: object = None, error: BaseException | None = None
) -> "Errand[Any]":
    """Steps an implementation by hand, in this thread, to its next errand.

    Ctrl-C may be raised here when the implementation has handed out its errand: that one is lost then, and the
    implementation still waits for it.

    Args:
        coroutine: The implementation.
        value: What its last errand came to.
        error: What it raised instead.
    """
    before, loop = (_current.active, _current.loop), asyncio._get_running_loop()
    try:
        _current.active, _current.loop = True, loop
        errand: Errand[Any] = coroutine.send(value) if error is None else coroutine.throw(error)
        return errand
    finally:
        # No function of Python's is called for it: each would be a place where Ctrl-C leaves this undone.
        _current.active, _current.loop = before


class Errand(Generic[T]):
    """Something to be done elsewhere; await it once.

    Args:
        make: Makes the coroutine where it is to run, or starts what needs none; a coroutine that Ctrl-C kept from
            getting there would complain of never being awaited.
        operation: How it is done on the library's loop; None if it is for the user's.
    """

    __slots__ = ("make", "operation")

    def __init__(self, make: Callable[..., Any], operation: "type[Operation[T]] | None") -> None:
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
    return Errand(functools.partial(function, *arguments), Task)


def directly(function: Callable[..., Any], *arguments: object) -> Errand[Any]:
    """Calls the function on the library's loop, with a callback for the result as one more argument.

    It returns what cancels it; without a coroutine it is the short way for what happens often.
    """
    return Errand(functools.partial(function, *arguments), Direct)


def of_user(function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> Errand[T]:
    """Calls the user's coroutine function in the caller's loop, or in a private one if the caller blocks."""
    return Errand(functools.partial(function, *arguments), None)


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


def perform_soon(errand: Errand[Any]) -> None:
    """Has an errand done on the library's loop, without waiting for it; on a closed loop, never."""
    assert errand.operation is not None
    there = library()
    operation = errand.operation(there, errand.make, lambda _: None)
    there.begin(operation)
    try:
        operation.post(there.post)
    except RuntimeError:
        return


async def _wait_async(kind: type[Operation[T]], make: Callable[..., Any]) -> T:
    """Has it done on the library's loop and awaits it here. Cancelling this cancels it there."""
    here, there = asyncio.get_running_loop(), library()
    finished: asyncio.Future[None] = here.create_future()
    set_done = mailbox_of(here).set_done
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
