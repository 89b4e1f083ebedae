"""A conversation that goes on over several connections, one after the other.

Frames are numbered in either direction by counting, and kept until the other side has said that it has them. After a
connection is lost each side tells on the next one how many it has, and gets the others again. Between them are frames
of the conversation itself, which are not counted: how many have come, and the goodbye.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from modal_lite._core.payload import EMPTY, Buffer, Payload
from modal_lite._transport.frames import ProtocolError, encode
from modal_lite._transport.line import Line

ACKNOWLEDGE_FRAMES = 32
ACKNOWLEDGE_BYTES = 256 << 10
"""So many frames, or bytes of bodies, are received before the other side is told."""
HEARTBEAT = 20.0
"""Seconds between signs of life: a network that was cut does not close the connection."""
SILENCE = 3
"""After so many times as long without one the connection is given up."""


class Received(msgspec.Struct, frozen=True, array_like=True, tag=60):
    """The sender has so many frames of the conversation."""

    count: int


class Goodbye(msgspec.Struct, frozen=True, array_like=True, tag=61):
    """The sender will not come back: the conversation is over."""


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
        over: The other side has said goodbye.
    """

    def __init__(self, types: Any, on_message: Callable[[Any, memoryview], None]) -> None:
        self.received = 0
        self.over = False
        self._types = types | Received | Goodbye
        self._on_message = on_message
        self._outgoing = Outgoing()
        self._line: Line | None = None
        self._told = 0
        self._unread = 0
        """Bytes of bodies since the other side was told."""

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
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def leave(self) -> None:
        """Says goodbye, and hangs up."""
        if self._line is not None:
            self._line.write(encode(Goodbye()))
        self.hang_up()

    def start_anew(self) -> None:
        """The other side has no memory of the conversation: nothing was sent, nothing received."""
        self.received = 0
        self._outgoing = Outgoing()

    async def serve(self, transport: asyncio.Transport, count: int, came: bytes = b"") -> None:
        """Talks over this connection until it ends, and closes it. Another one that is still served is given up.

        Args:
            transport: The connection.
            count: Frames that the other side has.
            came: What has been read from the connection, but was not for whoever read it.

        Raises:
            ProtocolError: What the other side sent makes no sense.
            OSError: The connection broke.
        """
        self._outgoing.acknowledged(count)
        self.hang_up()
        line = self._line = Line(transport, self._types, self._take)
        self._told, self._unread = self.received, 0
        for frame in self._outgoing:
            line.write(frame)
        beat = asyncio.get_running_loop().create_task(self._beat(line))
        try:
            line.feed(came)
            await line.ended
        finally:
            beat.cancel()
            if self._line is line:
                self._line = None
            line.close()

    def _take(self, message: Any, body: memoryview) -> None:
        if type(message) is Received:
            self._outgoing.acknowledged(message.count)
            return
        if type(message) is Goodbye:
            self.over = True
            self.hang_up()
            return
        self.received += 1
        self._unread += len(body)
        self._on_message(message, body)
        if self.received - self._told >= ACKNOWLEDGE_FRAMES or self._unread >= ACKNOWLEDGE_BYTES:
            self._tell()

    def _tell(self) -> None:
        self._told, self._unread = self.received, 0
        if self._line is not None:
            self._line.write(encode(Received(self.received)))

    async def _beat(self, line: Line) -> None:
        silent = 0
        while silent < SILENCE:
            await asyncio.sleep(HEARTBEAT)
            silent = 0 if line.heard else silent + 1
            line.heard = False
            self._tell()
        line.fail(TimeoutError(f"nothing came for {SILENCE * HEARTBEAT:g} seconds"))
