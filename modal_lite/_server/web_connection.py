"""One client's connection to a web function: its requests, one after the other, become calls."""

import asyncio
from typing import TYPE_CHECKING

from modal_lite._core.messages import Failure, FailureKind
from modal_lite._core.web import WINDOW, Piece, WebRequest, pack_request
from modal_lite._server.web_call import WebCall
from modal_lite._server.web_head import MAX_HEAD, BadRequestError, Head, parse_head
from modal_lite.exception import Error

if TYPE_CHECKING:
    from modal_lite._server.web_front import WebOrigin

WHOLE = 64 << 10
"""Bytes of a body up to which it is waited for before a container gets the request."""
LINGER = 2.0
"""Seconds in which a client that was answered early may go on sending before its connection is closed."""
_REASONS = {
    400: "Bad Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_STATUS = {FailureKind.TIMEOUT: 504, FailureKind.LOST: 502, FailureKind.CANCELLED: 503}


class WebConnection(asyncio.Protocol):
    """See `asyncio.Protocol`. Implements `Client`."""

    def __init__(self, origin: "WebOrigin") -> None:
        self._origin = origin
        self._loop = asyncio.get_running_loop()
        self._received = b""
        """What came and is not passed on: of the next request, as long as there is one under way."""
        self._call: WebCall | None = None
        """The request whose response is not complete."""
        self._answered = False
        """Bytes of the response have been written."""
        self._draining = False
        """What comes is dropped: the last response has been written."""
        self._write_paused = False
        self._addresses: tuple[tuple[str, int], tuple[str, int]] = (("", 0), ("", 0))
        self.since = self._loop.time()
        """When it last began to wait: for a request, or for a container."""

    @property
    def call(self) -> WebCall | None:
        """The request under way, None if there is none."""
        return self._call

    # --- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._addresses = transport.get_extra_info("peername")[:2], transport.get_extra_info("sockname")[:2]
        self._origin.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._origin.connections.discard(self)
        if self._call is not None:
            call, self._call = self._call, None
            call.leave()
            self._origin.withdraw(call)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        call = self._call
        if self._draining:
            return
        if call is None:
            self._received += data
            self._next()
            return
        rest = call.feed(data) if call.remaining != 0 else data
        self._received += rest
        if call.is_full or len(self._received) > MAX_HEAD:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._write_paused = False
        if self._call is not None:
            self._call.written()

    # --- requests ----------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Makes a call of the next request, if it is there."""
        try:
            head = parse_head(self._received)
        except BadRequestError as error:
            self._refuse(error.status, str(error))
            return
        if head is None:
            return
        length = head.length
        if length is not None and length <= WHOLE and not head.expects and len(self._received) < head.size + length:
            return
        try:
            self._begin(head)
        except Error as error:
            self._refuse(503, str(error))

    def _begin(self, head: Head) -> None:
        received = self._received
        available = len(received) - head.size
        count = min(available, WINDOW, available if head.length is None else head.length)
        first = received[head.size : head.size + count]
        remaining = None if head.length is None else head.length - count
        call = WebCall(*self._origin.target(), self, remaining, head.idempotent and remaining == 0)
        peer, here = self._addresses
        request = WebRequest(peer, here, remaining != 0, head.upgrade)
        self._call, self._answered = call, False
        self.since = self._loop.time()
        self._received = received = received[head.size + count :]
        try:
            self._origin.accept(call, pack_request(request, head.data + first))
        except BaseException:
            self._call = None
            raise
        if received and remaining != 0:
            self._received = call.feed(received)
            self._transport.pause_reading()

    # --- Client ------------------------------------------------------------------------------------------------------

    def respond(self, call: WebCall, piece: Piece, data: bytes) -> None:
        """See `Client`."""
        if data:
            self._answered = True
            self._transport.write(data)
        if piece is Piece.MORE:
            if call.wants_credit and not self._write_paused:
                call.written()
            return
        call.leave()
        self._call = None
        self.since = self._loop.time()
        if piece is Piece.CLOSE or call.remaining != 0:
            self._end()
            return
        self._transport.resume_reading()
        if self._received:
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._call is None and not self._transport.is_closing():
            self._next()

    def fail(self, call: WebCall, failure: Failure) -> None:
        """See `Client`."""
        call.leave()
        self._call = None
        if self._answered:
            # Nothing else tells the client that the response is not complete.
            self._transport.abort()
            return
        self._refuse(_STATUS.get(failure.kind, 500), failure.message)

    def taken(self, call: WebCall) -> None:
        """See `Client`."""
        if len(self._received) <= MAX_HEAD:
            self._transport.resume_reading()

    # --- its end -----------------------------------------------------------------------------------------------------

    def give_up(self, reason: str) -> None:
        """Answers that the request could not be served in time, and withdraws it."""
        call, self._call = self._call, None
        if call is not None:
            call.leave()
            self._origin.withdraw(call)
        self._refuse(503, reason)

    def close(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()

    def _refuse(self, status: int, text: str) -> None:
        body = f"{text}\n".encode()
        again = "Retry-After: 5\r\n" if status == 503 else ""
        self._transport.write(
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n{again}Connection: close\r\n\r\n".encode()
            + body
        )
        self._end()

    def _end(self) -> None:
        """Closes the connection once all is written, and not before a client that still sends has read it."""
        self._draining = True
        self._received = b""
        if self._transport.is_closing():
            return
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._loop.call_later(LINGER, self._transport.close)
