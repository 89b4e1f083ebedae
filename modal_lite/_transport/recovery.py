"""What a client sends again to a server that was started anew: calls whose results it is about to take."""

from bisect import bisect_right
from collections.abc import Iterator

import msgspec

from modal_lite._core.messages import Encoding
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import (
    AnyRequest,
    CallKind,
    ExchangeChunk,
    ForgetCall,
    NextValues,
    OpenMap,
    OutputBatch,
    StartCall,
)
from modal_lite.exception import ConnectionError


class _Chunk:
    """Inputs that were sent and have not all had results."""

    def __init__(self, request: ExchangeChunk, payload: Payload) -> None:
        self.request = request
        self.payload = payload
        self.left = request.count
        self.done: list[tuple[int, int]] = []

    def remaining(self) -> list[tuple[int, int]]:
        ranges, at = [], self.request.start
        for start, stop in sorted(self.done):
            if start > at:
                ranges.append((at, start))
            at = stop
        if at < self.request.start + self.request.count:
            ranges.append((at, self.request.start + self.request.count))
        return ranges


class _Map:
    """A map under way."""

    def __init__(self, request: OpenMap) -> None:
        self.request = request
        self.starts: list[int] = []
        self.chunks: dict[int, _Chunk] = {}
        self.closed = False

    def sent(self, request: ExchangeChunk, payload: Payload) -> None:
        if request.count:
            self.starts.append(request.start)
            self.chunks[request.start] = _Chunk(request, payload)
        self.closed |= request.closed

    def came(self, start: int, count: int) -> None:
        at = bisect_right(self.starts, start) - 1
        chunk = self.chunks[self.starts[at]]
        chunk.left -= count
        chunk.done.append((start, start + count))
        if not chunk.left:
            del self.chunks[self.starts.pop(at)]

    def again(self) -> Iterator[tuple[AnyRequest, Payload]]:
        yield self.request, EMPTY
        for start in self.starts:
            chunk = self.chunks[start]
            yield (
                msgspec.structs.replace(
                    chunk.request, closed=False, wait=False, awaited=None, ranges=chunk.remaining()
                ),
                chunk.payload,
            )
        if self.closed:
            # Closed in a request of its own: no input may come after it.
            yield ExchangeChunk(self.request.call_id, 0, 0, Encoding.CALL, True, False, None, [(0, 0)]), EMPTY


class Recovery:
    """Follows the requests of one client, and their answers."""

    def __init__(self) -> None:
        self._maps: dict[str, _Map] = {}
        self._generators: dict[str, tuple[StartCall, Payload]] = {}
        """Those that have delivered nothing yet."""

    def asked(self, request: AnyRequest, payload: Payload) -> None:
        """The client makes this request."""
        match request:
            case OpenMap() if request.kind is CallKind.MAPPED:
                self._maps[request.call_id] = _Map(request)
            case ExchangeChunk() if (found := self._maps.get(request.call_id)) is not None:
                found.sent(request, payload)
            case StartCall() if request.kind is CallKind.GENERATOR:
                self._generators[request.call_id] = request, payload
            case ForgetCall():
                self._maps.pop(request.call_id, None)
                self._generators.pop(request.call_id, None)

    def answered(self, request: AnyRequest, batch: OutputBatch) -> None:
        """These outputs have come."""
        match request:
            case ExchangeChunk() if (found := self._maps.get(request.call_id)) is not None:
                for output in batch.outputs:
                    found.came(output.start, output.count)
                if batch.finished:
                    del self._maps[request.call_id]
            case NextValues():
                self._generators.pop(request.call_id, None)

    def calls_again(self) -> Iterator[tuple[AnyRequest, Payload]]:
        """What brings the calls back, in order; the answers do not matter."""
        for found in self._maps.values():
            yield from found.again()
        yield from self._generators.values()

    def again(self, request: AnyRequest, payload: Payload) -> tuple[AnyRequest, Payload]:
        """An open request as it is to be made once more, after `calls_again`.

        Raises:
            ConnectionError: It makes no sense any more.
        """
        match request:
            case ExchangeChunk() if request.call_id in self._maps:
                return msgspec.structs.replace(request, start=0, count=0), EMPTY
            case NextValues() if request.call_id not in self._generators:
                raise ConnectionError(
                    "The server was started anew while a generator ran on it. It had delivered values, so it cannot be "
                    "run again without delivering them twice."
                )
            case StartCall() | OpenMap():
                return msgspec.structs.replace(request, again=True), payload
        return request, payload

    def is_brought_back(self, request: AnyRequest) -> bool:
        """True for the requests that `calls_again` repeats: they are answered by its success."""
        match request:
            case OpenMap():
                return request.call_id in self._maps
            case StartCall():
                return request.call_id in self._generators
        return False
