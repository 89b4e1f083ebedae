"""An asyncio transport whose other end is a client of a web function."""

import asyncio
from collections import deque
from typing import Any

from modal_lite._core.payload import Payload
from modal_lite._core.web import Piece, pack_piece
from modal_lite._worker.web_exchange import Exchange

_GATHER = 64 << 10
"""Bytes from which on what was written is sent without waiting for more."""


class ExchangeTransport(asyncio.Transport):
    """Carries one request and its response for a protocol that takes it for a connection.

    What is written in one step of the protocol is sent together; a response that is complete in one step is not sent at
    all, but left for whoever waits for `ended`.

    Attributes:
        ended: Done when the response is complete.
        sends: True once bytes have been sent.
    """

    def __init__(self, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> None:
        request = exchange.request
        super().__init__({"peername": tuple(request.client), "sockname": tuple(request.server)})
        self.ended: asyncio.Future[Piece] = loop.create_future()
        self._exchange = exchange
        self._loop = loop
        self._protocol: Any = None
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._scheduled = False
        self._paused = False
        self._waiting: deque[bytes] = deque()
        """What came while reading was paused."""
        self._write_paused = False
        self._upgraded = False
        exchange.on_data = self._received
        exchange.on_room = self._room

    def begin(self, protocol: Any) -> None:
        """Connects the protocol and gives it the request."""
        self._protocol = protocol
        protocol.connection_made(self)
        self._exchange.begin()
        protocol.data_received(self._exchange.first)

    def complete(self) -> None:
        """The response is complete, and the connection may stay."""
        if not self.ended.done():
            self.ended.set_result(Piece.LAST)

    def take(self) -> Payload:
        """What was written and not sent, as the end of the response."""
        data = b"".join(self._unsent)
        self._unsent.clear()
        return pack_piece(self.ended.result(), data)

    def flush(self) -> None:
        """Sends what was written; if the response is complete, as its end."""
        data = b"".join(self._unsent)
        self._unsent.clear()
        self._unsent_bytes = 0
        self._exchange.write(data, self.ended.result() if self.ended.done() else Piece.MORE)
        if self._exchange.is_full and not self._write_paused:
            self._write_paused = True
            self._protocol.pause_writing()

    @property
    def upgraded(self) -> bool:
        """True once another protocol has taken over."""
        return self._upgraded

    def lose(self) -> None:
        """Tells the protocol that the connection is no more."""
        self._exchange.on_data = self._exchange.on_room = None
        if not self.ended.done():
            self.ended.cancel()
        self._protocol.connection_lost(None)

    # --- asyncio.Transport -------------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """See `asyncio.Transport`."""
        if self.ended.done() or not data:
            return
        self._unsent.append(bytes(data))
        self._unsent_bytes += len(data)
        if self._unsent_bytes >= _GATHER:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush_later)

    def _flush_later(self) -> None:
        self._scheduled = False
        if self._unsent and not self.ended.done():
            self.flush()

    def close(self) -> None:
        """See `asyncio.Transport`."""
        if not self.ended.done():
            self.ended.set_result(Piece.CLOSE)

    def abort(self) -> None:
        """See `asyncio.Transport`."""
        self.close()

    def is_closing(self) -> bool:
        """See `asyncio.Transport`."""
        return self.ended.done()

    def can_write_eof(self) -> bool:
        """See `asyncio.Transport`."""
        return False

    def get_write_buffer_size(self) -> int:
        """See `asyncio.Transport`."""
        return self._unsent_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `asyncio.Transport`; the limits are ours."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See `asyncio.Transport`."""
        self._protocol, self._upgraded = protocol, True

    def get_protocol(self) -> asyncio.BaseProtocol:
        """See `asyncio.Transport`."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def pause_reading(self) -> None:
        """See `asyncio.Transport`."""
        self._paused = True

    def resume_reading(self) -> None:
        """See `asyncio.Transport`."""
        if self._paused:
            self._paused = False
            if self._waiting:
                self._loop.call_soon(self._read_on)

    def is_reading(self) -> bool:
        """See `asyncio.Transport`."""
        return not self._paused

    # --- the exchange ------------------------------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        self._waiting.append(data)
        self._read_on()

    def _read_on(self) -> None:
        while self._waiting and not self._paused and not self.ended.done():
            data = self._waiting.popleft()
            self._protocol.data_received(data)
            self._exchange.taken(len(data))

    def _room(self) -> None:
        if self._write_paused:
            self._write_paused = False
            self._protocol.resume_writing()
