"""Blocking drives: stepping an implementation by hand in the thread of a caller that blocks."""

import asyncio
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from typing import Any, Generic, TypeVar

from modal_lite._core.blocks import Blocks
from modal_lite._core.crossing import Errand, advance, perform_soon, wait_blocking
from modal_lite._core.tracebacks import hide_library_frames
from modal_lite.exception import InvalidError

T = TypeVar("T")


class Drive:
    """Steps coroutines of one call, and waits for their errands."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def step(self, make: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, **kwargs: Any) -> T:
        """The result of the coroutine that `make` makes of the arguments.

        What interrupts a wait (Ctrl-C) cancels the errand and is raised in the coroutine. Nothing is lost to an
        interruption between two steps, or before the first: hence `make`.
        """
        coroutine: Any = None
        value, error = None, None
        while True:
            try:
                if coroutine is None:
                    coroutine = make(*args, **kwargs)
                value, error = self._perform(advance(coroutine, value, error)), None
            except BaseException as raised:
                if coroutine is not None and coroutine.cr_frame is not None:
                    value, error = None, raised
                elif isinstance(raised, StopIteration):
                    result: T = raised.value
                    return result
                else:
                    raise

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


def run_blocking(make: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, **kwargs: Any) -> T:
    """Runs a whole implementation in this thread: the coroutine that `make` makes of the arguments."""
    drive = Drive()
    try:
        return drive.step(make, *args, **kwargs)
    finally:
        drive.close()


def enter_blocking(make: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, **kwargs: Any) -> T:
    """`run_blocking` for what begins an async generator: that is ended when it is dropped, if nobody ends it before.

    On CPython 3.12 and 3.13, Ctrl-C at the jump of an `if` back to the head of its loop skips the `with` around them.
    """
    with _EndingDropped():
        return run_blocking(make, *args, **kwargs)


class _EndingDropped:
    """Context manager: async generators that are begun in it are ended when they are dropped."""

    def __enter__(self) -> None:
        self._before = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, _end_dropped)

    def __exit__(self, *_: object) -> None:
        sys.set_asyncgen_hooks(*self._before)


def _end_dropped(generator: AsyncGenerator[Any, Any]) -> None:
    """Ends a generator in the thread that happened to drop it: what it asks for is done, but not waited for."""
    if sys.is_finalizing():
        return  # The library has been ended, and with it all that was running.
    ending = generator.aclose()
    try:
        while True:
            perform_soon(advance(ending))
    except StopIteration:
        return


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
        with _EndingDropped():
            block = drive.step(_following, generator)
        while True:
            yield from block
            block = drive.step(_following, generator)
    except StopAsyncIteration:
        return
    except GeneratorExit:
        raise
    except BaseException as error:
        hide_library_frames(error)
        raise
    finally:
        if not sys.is_finalizing():
            drive.step(_end, generator)
            drive.close()


async def _following(generator: AsyncGenerator[T, None]) -> T:
    return await anext(generator)


async def _end(generator: AsyncGenerator[Any, None]) -> None:
    await generator.aclose()


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
