"""A conversation that goes on over several connections, one after the other.

Frames are numbered in either direction by counting, and kept until the other side has said that it has them. After a
connection is lost each side tells on the next one how many it has, and gets the others again. What is sent are pieces
of one stream of frames, in binary WebSocket messages of limited size; text messages are counts of frames received.
"""

import asyncio
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, Protocol

import msgspec

from modal_lite._core.payload import EMPTY, Buffer, Payload
from modal_lite._transport.frames import FrameDecoder, ProtocolError, encode, views

PIECE = 256 << 10
"""Bytes of a WebSocket message at most."""
ACKNOWLEDGE_FRAMES = 32
ACKNOWLEDGE_BYTES = 256 << 10
"""So many frames, or bytes, are received before the other side is told."""


class WebSocket(Protocol):
    """A WebSocket of aiohttp's, a client's or a server's."""

    def send_bytes(self, data: Any) -> Coroutine[Any, Any, None]:
        """Sends a binary message; returns when there is room for another."""

    def send_str(self, data: str) -> Coroutine[Any, Any, None]:
        """Sends a text message."""

    def receive(self) -> Coroutine[Any, Any, Any]:
        """The next message: its `data` is of type bytes or str, anything else is the end."""


class Outgoing:
    """Frames that the other side may not have."""

    def __init__(self) -> None:
        self._frames: deque[list[Buffer]] = deque()
        self._dropped = 0

    def add(self, frame: list[Buffer]) -> None:
        """Keeps a frame, the next in order."""
        self._frames.append(frame)

    def acknowledged(self, count: int) -> None:
        """The other side has so many frames. Raises ProtocolError if there never were so many."""
        if not self._dropped <= count <= self._dropped + len(self._frames):
            raise ProtocolError(f"{count} frames acknowledged, of {self._dropped + len(self._frames)}")
        while self._dropped < count:
            self._frames.popleft()
            self._dropped += 1

    def __iter__(self) -> Iterator[list[Buffer]]:
        return iter(self._frames)


class Session:
    """One side of the conversation. Belongs to the loop that uses it.

    Args:
        types: The union of messages that this side accepts.
        on_message: Takes each message and its body, once, in order.

    Attributes:
        received: Frames that this side has.
    """

    def __init__(self, types: Any, on_message: Callable[[Any, memoryview], None]) -> None:
        self.received = 0
        self._types = types
        self._on_message = on_message
        self._outgoing = Outgoing()
        self._line: _Line | None = None

    @property
    def connected(self) -> bool:
        """True while there is a connection."""
        return self._line is not None

    def send(self, message: msgspec.Struct, payload: Payload = EMPTY) -> None:
        """Sends a frame now or on the next connection. The payload's parts must not change until it has arrived."""
        frame = encode(message, payload)
        self._outgoing.add(frame)
        if self._line is not None:
            self._line.write(frame)

    def hang_up(self) -> None:
        """Nothing more is read or written on the present connection."""
        self._line = None

    def start_anew(self) -> None:
        """The other side has no memory of the conversation: nothing was sent, nothing received."""
        self.received = 0
        self._outgoing = Outgoing()

    async def serve(self, web_socket: WebSocket, count: int) -> None:
        """Talks over this connection until it ends. Another one that is still served is given up.

        Args:
            web_socket: The connection, to be closed by the caller.
            count: Frames that the other side has.

        Raises:
            ProtocolError: What the other side sent makes no sense.
            OSError: The connection broke.
        """
        self._outgoing.acknowledged(count)
        line = self._line = _Line(web_socket)
        for frame in self._outgoing:
            line.write(frame)
        try:
            await self._read(web_socket, line)
        finally:
            if self._line is line:
                self._line = None
            await line.close()

    async def _read(self, web_socket: WebSocket, line: "_Line") -> None:
        decoder, told, unread = FrameDecoder(self._types), self.received, 0
        while True:
            data = (await web_socket.receive()).data
            if self._line is not line:
                return
            if type(data) is str:
                self._outgoing.acknowledged(_count(data))
                continue
            if type(data) is not bytes:
                return
            unread += len(data)
            for message, body in decoder.feed(data):
                self.received += 1
                self._on_message(message, body)
            if self.received - told >= ACKNOWLEDGE_FRAMES or (unread >= ACKNOWLEDGE_BYTES and self.received > told):
                told, unread = self.received, 0
                line.tell(told)


class _Line:
    """What is to be written to one connection.

    Of the frames sent in one turn of the loop the first is written at once, so that whoever waits for it can begin; the
    others follow together when the turn ends.
    """

    def __init__(self, web_socket: WebSocket) -> None:
        self._web_socket = web_socket
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[memoryview] = deque()
        self._count: int | None = None
        self._in_turn = False
        self._sending: asyncio.Task[None] | None = None
        """Waits for the connection to take more."""
        self._broken = False

    def write(self, frame: list[Buffer]) -> None:
        """Writes a frame in its turn."""
        self._unsent.extend(views(frame))
        self._write_soon()

    def tell(self, count: int) -> None:
        """Says how many frames have come."""
        self._count = count
        self._write_soon()

    async def close(self) -> None:
        """Writes nothing any more."""
        self._broken = True
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])

    def _write_soon(self) -> None:
        if not self._in_turn:
            self._in_turn = True
            self._loop.call_soon(self._end_turn)
            self._write_what_fits()

    def _end_turn(self) -> None:
        self._in_turn = False
        self._write_what_fits()

    def _write_what_fits(self) -> None:
        while self._sending is None and not self._broken:
            if self._unsent:
                self._begin(self._web_socket.send_bytes(self._next_piece()))
            elif self._count is not None:
                count, self._count = self._count, None
                self._begin(self._web_socket.send_str(str(count)))
            else:
                return

    def _begin(self, sending: Coroutine[Any, Any, None]) -> None:
        """Sends as far as that goes without waiting, which is nearly always to its end: without a task."""
        try:
            awaited = sending.send(None)
        except StopIteration:
            return
        except Exception:
            self._broken = True  # Reading tells why.
            return
        self._sending = self._loop.create_task(_finish(sending, awaited))
        self._sending.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending = None
        if task.cancelled() or task.exception() is not None:
            self._broken = True
        else:
            self._write_what_fits()

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


async def _finish(coroutine: Coroutine[Any, Any, None], awaited: Any) -> None:
    """Does what is left of a coroutine that was begun without a task, and waits for something."""
    await _rest(coroutine, awaited)


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, None, None]:
    try:
        while True:
            yield awaited
            awaited = coroutine.send(None)
    except StopIteration:
        return
    finally:
        coroutine.close()


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise ProtocolError(f"{text[:50]!r} is no count of frames")
    return int(text)
