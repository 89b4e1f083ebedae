"""Blocking drives: stepping an implementation by hand in the thread of a caller that blocks."""

import asyncio
import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from typing import Any, Generic, TypeVar

from modal_lite._core.blocks import Blocks
from modal_lite._core.crossing import Errand, Stepping, wait_blocking
from modal_lite._core.tracebacks import hide_library_frames
from modal_lite.exception import InvalidError

T = TypeVar("T")


class Drive:
    """Steps coroutines of one call, and waits for their errands."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def step(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result. What interrupts a wait (Ctrl-C) cancels the errand and is raised in the coroutine."""
        resume: Callable[[], Any] = functools.partial(coroutine.send, None)
        while True:
            try:
                with Stepping():
                    errand = resume()
            except StopIteration as stop:
                value: T = stop.value
                return value
            try:
                answer = self._perform(errand)
            except BaseException as error:
                resume = functools.partial(coroutine.throw, error)
            else:
                resume = functools.partial(coroutine.send, answer)

    def close(self) -> None:
        """Ends the private loop, if an async iterable of the user's needed one."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _perform(self, errand: Errand[Any]) -> Any:
        if not isinstance(errand, Errand):
            raise RuntimeError(f"a blocking call cannot wait for {errand!r}; use the .aio form")
        if errand.operation is not None:
            return wait_blocking(errand)
        if asyncio._get_running_loop() is not None:  # a notebook's cell, say
            raise InvalidError(
                "A blocking call cannot use async iterables inside a running event loop. Use the .aio form here."
            )
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(errand.make())


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a whole implementation in this thread."""
    drive = Drive()
    try:
        return drive.step(coroutine)
    finally:
        drive.close()


class BlockingIterable(Generic[T]):
    """What the blocking form of a streaming method returns: single use, for `for` loops and for `async for`.

    Nothing happens before it is iterated. Leaving the loop early cancels what is in flight.
    """

    def __init__(self, blocks: Blocks[T]) -> None:
        self._blocks = blocks
        self._iterator: Generator[T, None, None] | None = None

    def __iter__(self) -> Iterator[T]:
        if self._iterator is None:
            try:
                if self._blocks.blocking_hint and inside_event_loop():
                    self._blocks.discard()
                    raise InvalidError(self._blocks.blocking_hint)
            except BaseException as error:
                hide_library_frames(error)
                raise
            self._iterator = _elements(self._blocks)
        return self._iterator

    def __next__(self) -> T:
        return next(iter(self))

    def __aiter__(self) -> AsyncGenerator[T, None]:
        return elements(self._blocks)

    def close(self) -> None:
        """Ends the iteration and cancels what is in flight. Safe to call again."""
        if self._iterator is not None:
            self._iterator.close()
        else:
            self._blocks.discard()


def _elements(blocks: Blocks[T]) -> Generator[T, None, None]:
    # It knows nothing of the iterable that holds it: as a cycle the two would outlive a loop that is left early.
    drive = Drive()
    generator = blocks.iterate()
    try:
        while True:
            try:
                block = drive.step(generator.__anext__())
            except StopAsyncIteration:
                return
            yield from block
    except GeneratorExit:
        raise
    except BaseException as error:
        hide_library_frames(error)
        raise
    finally:
        if not sys.is_finalizing():
            drive.step(generator.aclose())
            drive.close()


async def elements(blocks: Blocks[T]) -> AsyncGenerator[T, None]:
    """The `.aio` form: the elements, in the caller's own event loop."""
    generator = blocks.iterate()
    try:
        async for block in generator:
            for element in block:
                yield element
    except GeneratorExit:
        raise
    except BaseException as error:
        hide_library_frames(error)
        raise
    finally:
        await generator.aclose()


def inside_event_loop() -> bool:
    """True in code that an event loop runs, except directly in a notebook's cell, where users expect blocking."""
    if asyncio._get_running_loop() is None:
        return False
    if "IPython" not in sys.modules:
        return True
    frame = sys._getframe(1)
    while frame.f_back is not None:
        if frame.f_globals.get("__name__", "").startswith("IPython.core.interactiveshell"):
            return False
        if frame.f_code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
            return True
        frame = frame.f_back
    return True
