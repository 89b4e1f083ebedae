"""One connection between a client and a server, once it carries frames: what is read, and what waits to be written.

Of the frames sent in one turn of the loop the first is written at once, so that whoever waits for it can begin; the
others follow together when the turn ends.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from modal_lite._core.payload import Buffer
from modal_lite._transport.frames import FrameDecoder, ProtocolError, views

PIECE = 256 << 10
"""Bytes that are handed to the connection at a time: it copies what it cannot send at once."""


class Line(asyncio.BufferedProtocol):
    """Takes over a connection from the protocol that has opened it, which is still told of its end.

    Args:
        transport: The connection.
        types: The union of messages to accept.
        on_frame: Takes each message and its body, in order; nothing comes after `close`.

    Attributes:
        ended: Has a result once the connection has ended, or what broke it: an OSError or a ProtocolError.
        heard: Something has come since this was set to False.
    """

    def __init__(self, transport: asyncio.Transport, types: Any, on_frame: Callable[[Any, memoryview], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.heard = False
        self._transport = transport
        self._decoder = FrameDecoder(types)
        self._on_frame = on_frame
        self._unsent: deque[memoryview] = deque()
        self._in_turn = False
        self._paused = False
        self._closed = False
        self._opener = transport.get_protocol()
        transport.set_protocol(self)
        transport.resume_reading()

    def write(self, frame: list[Buffer]) -> None:
        """Writes a frame in its turn. Its buffers must not change until they have been sent."""
        self._unsent.extend(views(frame))
        if not self._in_turn:
            self._in_turn = True
            self._loop.call_soon(self._end_turn)
            self._write_what_fits()

    def close(self) -> None:
        """Ends the connection, for no fault of it; what the system has not taken is dropped. Safe to call again."""
        self._write_what_fits()
        self._end(None)

    def fail(self, error: Exception) -> None:
        """Ends the connection for this reason."""
        self._end(error)

    # --- asyncio's protocol ------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._decoder.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        self._decoder.received(nbytes)
        self._read()

    def feed(self, data: bytes) -> None:
        """Takes in what came with the answer that opened the connection."""
        for message, body in self._decoder.feed(data):
            self._on_frame(message, body)

    def pause_writing(self) -> None:
        """The other side is slower than this one."""
        self._paused = True

    def resume_writing(self) -> None:
        """The connection takes more."""
        self._paused = False
        self._write_what_fits()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._end(exc)
        self._opener.connection_lost(exc)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        self.heard = True
        try:
            for message, body in self._decoder.frames():
                if self._closed:
                    return
                self._on_frame(message, body)
        except ProtocolError as error:
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = True
        self._unsent.clear()
        self._transport.abort()
        if self.ended.done():
            return  # Whoever waited for it was cancelled.
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)

    def _end_turn(self) -> None:
        self._in_turn = False
        self._write_what_fits()

    def _write_what_fits(self) -> None:
        while self._unsent and not self._paused and not self._closed:
            self._transport.write(self._next_piece())

    def _next_piece(self) -> Buffer:
        unsent = self._unsent
        head = unsent[0]
        if len(head) >= PIECE:
            unsent[0] = head[PIECE:]
            if not unsent[0]:
                unsent.popleft()
            return head[:PIECE]
        unsent.popleft()
        if not unsent:
            return head
        parts, room = [head], PIECE - len(head)
        while unsent and len(unsent[0]) <= room:
            room -= len(unsent[0])
            parts.append(unsent.popleft())
        return b"".join(parts)
