"""The map pipeline: chunks of inputs out, blocks of results back, ordered or as they come.

Consumer-driven: a step pulls a chunk of inputs, exchanges it for the outputs that are there, and yields these. What is pulled
but not yet yielded stays within a window, whatever the speeds; memory does not depend on the number of inputs.
Nothing here is per input but the caller's own iteration and pickling.
"""

from collections.abc import AsyncGenerator
from typing import Any

from modal_lite import output
from modal_lite._client import _Client
from modal_lite._core.ids import new_id
from modal_lite._core.payload import EMPTY
from modal_lite._core.requests import CallKind, Output
from modal_lite._inputs import InputSource
from modal_lite._results import failure_of, values_of
from modal_lite.exception import Error, UserCodeException

WINDOW = 1000
"""Inputs that may be pulled and not yet yielded."""
WINDOW_BYTES = 64 << 20
"""About how many bytes of inputs and results may be under way; the window shrinks for large ones, down to MIN_WINDOW."""
MIN_WINDOW = 16
_WINDOW_SHARE = 4
"""A chunk is at most this fraction of the window, so that containers have work while the next one is made."""


async def map_blocks(
    client: _Client,
    function_id: str,
    tag: str,
    source: InputSource,
    ordered: bool,
    return_exceptions: bool,
    wrap: bool,
) -> AsyncGenerator[list[Any], None]:
    """The results of the function for each input of the source, in blocks.

    Raises the first failure, after the results before it, unless `return_exceptions`. Closing it cancels what is in flight.
    """
    call_id = new_id("fc")
    manager = output.current()
    progress = manager.map_started(tag) if manager is not None else None
    window = _Window()
    outputs: _Outputs = _Ordered() if ordered else _AsTheyCome()
    try:
        chunk_size = await client.open_map(call_id, function_id, CallKind.MAPPED)
        closed = finished = False
        while not finished:
            local: list[Output] = []
            chunk = None
            room = window.room(source.mean_bytes)
            if room > 0 and not source.exhausted:
                limit = max(1, min(chunk_size, room, window.size // _WINDOW_SHARE))
                chunks = await source.next_chunks(limit)
                window.pulled += sum(c.count for c in chunks)
                # Only what does not pickle makes more than one chunk, so these extra exchanges are rare.
                local = [Output(c.start, c.count, c.failure) for c in chunks if c.failure is not None]
                whole = [c for c in chunks if c.failure is None]
                for early in whole[:-1]:
                    batch = await client.exchange(
                        call_id, early.start, early.count, source.encoding, early.payload, closed=False, wait=False
                    )
                    local.extend(batch.outputs)
                chunk = whole[-1] if whole else None
            close, closed = source.exhausted and not closed, source.exhausted
            wait = not local and (closed or window.room(source.mean_bytes) <= 0)
            batch = await client.exchange(
                call_id,
                chunk.start if chunk else 0,
                chunk.count if chunk else 0,
                source.encoding,
                chunk.payload if chunk else EMPTY,
                closed=close,
                wait=wait,
            )
            chunk_size, finished = batch.chunk_size, batch.finished
            for block in outputs.take([*local, *batch.outputs]):
                values, failed = _held(block, return_exceptions, wrap)
                window.yielded += block.count
                window.saw(block)
                if progress is not None:
                    progress.pulled(window.pulled)
                    progress.advance(block.count, failed)
                yield values
    finally:
        client.forget_call(call_id)
        if progress is not None:
            progress.close(source.exhausted)
        await source.close()


def _held(block: Output, return_exceptions: bool, wrap: bool) -> tuple[list[Any], int]:
    """The block's results as the caller wants them, and how many of them are failures."""
    if block.failure is None:
        try:
            return values_of(block), 0
        except Error as error:
            if not return_exceptions:
                raise
            return [error] * block.count, block.count
    failure = failure_of(block)
    if not return_exceptions:
        raise failure
    own = not isinstance(failure, Error)
    held = UserCodeException(failure) if own and wrap else failure
    return [held] * block.count, block.count


class _Window:
    """How many more inputs may be pulled."""

    def __init__(self) -> None:
        self.pulled = 0
        self.yielded = 0
        self.size = WINDOW
        self._result_bytes = 0.0

    def saw(self, block: Output) -> None:
        """Takes the size of results into account."""
        sample = block.payload.nbytes / block.count
        self._result_bytes += 0.3 * (sample - self._result_bytes)

    def room(self, input_bytes: float) -> int:
        """Inputs that may be pulled now, given the mean size of one in bytes."""
        each = max(input_bytes, self._result_bytes)
        self.size = WINDOW if each * WINDOW <= WINDOW_BYTES else max(MIN_WINDOW, int(WINDOW_BYTES / each))
        return self.size - (self.pulled - self.yielded)


class _Outputs:
    """Decides when an output may be yielded."""

    def take(self, arrived: list[Output]) -> list[Output]:
        """Takes outputs in, gives those whose turn it is."""
        raise NotImplementedError


class _AsTheyCome(_Outputs):
    def take(self, arrived: list[Output]) -> list[Output]:
        return arrived


class _Ordered(_Outputs):
    def __init__(self) -> None:
        self._next = 0
        self._held: dict[int, Output] = {}

    def take(self, arrived: list[Output]) -> list[Output]:
        held = self._held
        for block in arrived:
            held[block.start] = block
        ready = []
        while self._next in held:
            block = held.pop(self._next)
            ready.append(block)
            self._next += block.count
        return ready
