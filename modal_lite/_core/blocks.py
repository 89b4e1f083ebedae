"""Streams that move in blocks: what a streaming method's implementation returns."""

import logging
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

T = TypeVar("T")

logger = logging.getLogger("modal_lite")


class Blocks(AsyncGenerator[T, None]):
    """An async generator of elements that is fed by an async generator of lists.

    Awaiting a list costs as much as awaiting an element, so the wrapper layer takes the lists and yields from them.
    Single use; nothing runs before the first step.

    Args:
        make: makes the async generator of lists.
        name: what to call it in the warning that is logged when it is dropped without having been iterated.
        blocking_hint: what to say to who iterates it, blocking, inside an event loop; empty if that is allowed.
    """

    def __init__(self, make: Callable[[], AsyncGenerator[list[T], None]], name: str, blocking_hint: str = "") -> None:
        self.blocking_hint = blocking_hint
        self._make: Callable[[], AsyncGenerator[list[T], None]] | None = make
        self._flat: AsyncGenerator[T, None] | None = None
        # No __del__: that is run for what was iterated, too, and a Ctrl-C that comes just then would be lost in it.
        self._warning = weakref.finalize(self, _warn, name)

    def iterate(self) -> AsyncGenerator[list[T], None]:
        """The async generator of lists; an empty one after the first time."""
        make = self._make
        self.discard()
        return _nothing() if make is None else make()

    def discard(self) -> None:
        """It will not be iterated, and that is no mistake."""
        self._warning.detach()
        self._make = None

    async def _elements(self) -> AsyncGenerator[T, None]:
        blocks = self.iterate()
        try:
            async for block in blocks:
                for element in block:
                    yield element
        finally:
            await blocks.aclose()

    def _started(self) -> AsyncGenerator[T, None]:
        if self._flat is None:
            self._flat = self._elements()
        return self._flat

    async def asend(self, value: None) -> T:
        return await self._started().asend(value)

    async def athrow(self, *error: Any) -> T:
        return await self._started().athrow(*error)


def _warn(name: str) -> None:
    logger.warning(
        "The results of %s were never consumed, so it was never executed. Iterate over them, or use for_each.", name
    )


async def _nothing() -> AsyncGenerator[list[Any], None]:
    empty: list[list[Any]] = []
    for block in empty:
        yield block
