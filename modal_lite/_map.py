"""The map pipeline: chunks of inputs out, blocks of results back, ordered or as they come.

Consumer-driven: a step pulls a chunk of inputs, exchanges it for the outputs that are there, and yields these. What is
pulled but not yet yielded stays within a window, whatever the speeds; memory does not depend on the number of inputs.
Nothing here is per input but the caller's own iteration and pickling.
"""

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from modal_lite import output
from modal_lite._client import _Client
from modal_lite._core.ids import new_id
from modal_lite._core.requests import CallKind, Output
from modal_lite._inputs import Chunk, InputSource
from modal_lite._results import failure_of, values_and_errors_of, values_of
from modal_lite.exception import Error, ExecutionError, UserCodeException

WINDOW = 1000
"""Inputs that may be pulled and not yet yielded."""
WINDOW_BYTES = 64 << 20
"""About how many bytes may be under way: for large inputs or results the window shrinks, down to MIN_WINDOW."""
MIN_WINDOW = 16
_WINDOW_SHARE = 4
"""A chunk is at most this fraction of the window, so that containers have work while the next one is made."""
_SMALL_COUNT, _SMALL_BYTES = 16, 4 << 10
"""Inputs, and bytes, that travel together even if leases are to be smaller: they are cut from it."""


async def map_blocks(
    client: _Client,
    function_id: str,
    tag: str,
    source: InputSource,
    ordered: bool,
    return_exceptions: bool,
    wrap: bool,
    method: str = "",
) -> AsyncGenerator[list[Any], None]:
    """The results of the function for each input of the source, in blocks.

    Raises the first failure, after the results before it, unless `return_exceptions`. Closing it cancels what is in
    flight.
    """
    manager = output.current()
    progress = manager.map_started(tag) if manager is not None else None
    exchange = _Exchange(client, source)
    outputs: _Outputs = _Ordered() if ordered else _AsTheyCome()
    try:
        await exchange.open(function_id, method)
        while not exchange.finished:
            for block in outputs.take(await exchange.step(outputs.awaited)):
                values, failed, error = _held(block, return_exceptions, wrap)
                exchange.window.saw(block)
                if progress is not None:
                    progress.pulled(exchange.window.pulled)
                    progress.advance(block.count, failed)
                if values:
                    yield values
                if error is not None:
                    raise error
    finally:
        exchange.close()
        if progress is not None:
            progress.close(source.exhausted)
        await source.close()


class _Exchange:
    """Chunks of inputs for outputs, a step at a time.

    Attributes:
        finished: Every input has been pulled and every output handed out.
        window: How much is under way.
    """

    def __init__(self, client: _Client, source: InputSource) -> None:
        self.finished = False
        self.window = _Window()
        self._client = client
        self._source = source
        self._call_id = new_id("fc")
        self._chunk_size = 1
        self._closed = False

    async def open(self, function_id: str, method: str) -> None:
        """Starts the call."""
        self._chunk_size = await self._client.open_map(self._call_id, function_id, CallKind.MAPPED, method)

    def close(self) -> None:
        """Gives the call up: what is unfinished is cancelled."""
        self._client.forget_call(self._call_id)

    async def step(self, awaited: int | None) -> list[Output]:
        """Sends a chunk, if there is room for one, and takes the outputs that are there; waits if there is none.

        What it waits for is the output that starts with input `awaited`, or any.
        """
        source, window = self._source, self.window
        outputs: list[Output] = []
        chunk = _NO_CHUNK
        wanted = self._wanted()
        if wanted:
            chunks = await source.next_chunks(wanted)
            # More than one only if some input does not pickle; that one is an output already.
            for another in chunks:
                window.pulled += another.count
                if another.failure is not None:
                    outputs.append(Output(another.start, another.count, another.failure))
                    continue
                if chunk.count:
                    outputs += await self._send(chunk, closes=False, wait=False)
                chunk = another
        closes, self._closed = source.exhausted and not self._closed, source.exhausted
        return outputs + await self._send(chunk, closes, wait=not self._wanted() and not outputs, awaited=awaited)

    def _wanted(self) -> int:
        """How many inputs are to be pulled now; 0 if none.

        The first ones fill the window. Later, room for less than a whole chunk does not count: inputs that replace
        results one by one would travel so, too.
        """
        room, count = self.window.room(self._source.mean_bytes), self._next_count()
        if self._source.exhausted or (room < count and self.window.yielded):
            return 0
        return max(0, min(room, count))

    def _next_count(self) -> int:
        """How many inputs the next chunk is to have."""
        bytes_each = max(1.0, self._source.mean_bytes)
        count = max(self._chunk_size, min(_SMALL_COUNT, int(_SMALL_BYTES / bytes_each)))
        return max(1, min(count, self.window.size // _WINDOW_SHARE))

    async def _send(self, chunk: Chunk, closes: bool, wait: bool, awaited: int | None = None) -> list[Output]:
        batch = await self._client.exchange(
            self._call_id, chunk.start, chunk.count, self._source.encoding, chunk.payload, closes, wait, awaited
        )
        self._chunk_size, self.finished = batch.chunk_size, batch.finished
        return batch.outputs


_NO_CHUNK = Chunk(0, 0)


def _held(block: Output, return_exceptions: bool, wrap: bool) -> tuple[list[Any], int, BaseException | None]:
    """The block's results as the caller wants them, how many of them are failures, and what to raise after them."""
    if block.failure is not None:
        failure = failure_of(block)
        if not return_exceptions:
            return [], block.count, failure
        own = not isinstance(failure, Error)
        return [UserCodeException(failure) if own and wrap else failure] * block.count, block.count, None
    try:
        return values_of(block), 0, None
    except ExecutionError:
        values = values_and_errors_of(block)
    bad = [i for i, value in enumerate(values) if type(value) is ExecutionError]
    if return_exceptions or not bad:
        return values, len(bad), None
    return values[: bad[0]], 1, values[bad[0]]


class _Window:
    """How many more inputs may be pulled."""

    def __init__(self) -> None:
        self.pulled = 0
        self.yielded = 0
        self.size = WINDOW
        self._result_bytes = 0.0

    def saw(self, block: Output) -> None:
        """Takes results into account that are about to be yielded."""
        self.yielded += block.count
        sample = block.payload.nbytes / block.count
        self._result_bytes += 0.3 * (sample - self._result_bytes)

    def room(self, input_bytes: float) -> int:
        """Inputs that may be pulled now, given the mean size of one in bytes."""
        each = max(input_bytes, self._result_bytes)
        self.size = WINDOW if each * WINDOW <= WINDOW_BYTES else max(MIN_WINDOW, int(WINDOW_BYTES / each))
        return self.size - (self.pulled - self.yielded)


class _Outputs(Protocol):
    """Decides when an output may be yielded."""

    @property
    def awaited(self) -> int | None:
        """The input that the output begins with for which all others wait; None if there is no such thing."""

    def take(self, arrived: list[Output]) -> list[Output]:
        """Takes outputs in, gives those whose turn it is."""


class _AsTheyCome:
    awaited = None

    def take(self, arrived: list[Output]) -> list[Output]:
        return arrived


class _Ordered:
    def __init__(self) -> None:
        self.awaited = 0
        self._held: dict[int, Output] = {}

    def take(self, arrived: list[Output]) -> list[Output]:
        held = self._held
        for block in arrived:
            held[block.start] = block
        ready = []
        while self.awaited in held:
            block = held.pop(self.awaited)
            ready.append(block)
            self.awaited += block.count
        return ready
