"""What callers wait for on the library's loop: coroutines, and things that call back."""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from modal_lite._core.library_loop import LibraryLoop

T = TypeVar("T")


class Operation(Generic[T]):
    """What a caller waits for, on its way to the library's loop and there; all but `post` is called on that loop.

    Attributes:
        ended: True once it has its result, or was cancelled before it was started.
    """

    __slots__ = ("_library", "_make", "_on_end", "_posted", "_result", "ended")
    _result: T | BaseException

    def __init__(
        self, library: LibraryLoop, make: Callable[..., Any], on_end: Callable[["Operation[T]"], None]
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


class Task(Operation[T]):
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


class Direct(Operation[T]):
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
