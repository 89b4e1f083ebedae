"""A channel for event loops: frames over a non-blocking socket, written at once when the socket takes them.

Of the frames sent in one turn of the loop the first is written at once, so that whoever waits for it can begin. The
others follow together when the turn ends: a system call, and a wake-up of the other side, for all of them.
"""

import asyncio
import socket
from collections import deque
from typing import Any

import msgspec

from modal_lite._core.interfaces import OnClose, OnMessage
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._transport.frames import FrameDecoder, ProtocolError, drop_sent, encode, next_batch, views
from modal_lite._transport.shared_memory import SharedMemory

_READS_PER_WAKE = 8
"""How often one channel reads before the others get their turn."""


class Channel:
    """One end of a connection, owned by the loop that runs when it is made.

    `on_message(message, body)` is called for every frame, `on_close(error)` exactly once: None for an orderly end of
    the stream, else what broke it. Neither is called after `close()`.
    """

    def __init__(
        self,
        sock: socket.socket,
        types: Any,
        on_message: OnMessage,
        on_close: OnClose,
        memory: SharedMemory | None = None,
    ) -> None:
        sock.setblocking(False)
        self._memory = memory
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._decoder = FrameDecoder(types, memory)
        self._on_message = on_message
        self._on_close = on_close
        self._unsent: deque[memoryview] = deque()
        self._gathering = False
        """True from the first frame of a turn until the others are written."""
        self._gathered = bytearray()
        """Small frames of this turn, behind all that is unsent."""
        self._closed = False
        self._loop.add_reader(sock, self._readable)

    @property
    def closed(self) -> bool:
        """True once either side has ended the connection."""
        return self._closed

    @property
    def unsent(self) -> int:
        """Bytes that wait for the peer to read."""
        return sum(len(part) for part in self._unsent) + len(self._gathered)

    def send(self, message: msgspec.Struct, payload: Payload = EMPTY) -> None:
        """Writes a frame, or queues what the socket does not take at once. Does nothing on a closed channel.

        The payload's parts must not change until they are sent.
        """
        if self._closed:
            return
        parts = encode(message, payload, self._memory)
        if self._gathering and len(parts) == 1:
            self._gathered += parts[0]
            return
        if self._unsent or self._gathering:
            self._move_gathered()
            self._unsent.extend(views(parts))
            return
        self._gathering = True
        self._loop.call_soon(self._write_gathered)
        if len(parts) == 1:
            try:
                sent = self._sock.send(parts[0])
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._fail(error)
                return
            if sent == len(parts[0]):
                return
            self._unsent.append(memoryview(parts[0])[sent:])
        else:
            self._unsent.extend(views(parts))
            self._write()

    def close(self) -> None:
        """Ends the connection; what the socket does not take at once is dropped. Safe to call again."""
        if self._closed:
            return
        self._closed = True
        if self._gathering:
            self._move_gathered()
            self._write()
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._unsent.clear()
        self._sock.close()

    def _fail(self, error: Exception | None) -> None:
        # Told from a callback of its own: whoever is sending must not find the connection's end in its own call stack.
        if not self._closed:
            self.close()
            self._loop.call_soon(self._on_close, error)

    def _write_gathered(self) -> None:
        self._gathering = False
        self._move_gathered()
        self._write()
        if self._unsent and not self._closed:
            self._loop.add_writer(self._sock, self._writable)

    def _move_gathered(self) -> None:
        if self._gathered:
            self._unsent.append(memoryview(self._gathered))
            self._gathered = bytearray()

    def _writable(self) -> None:
        self._write()
        if not self._unsent and not self._closed:
            self._loop.remove_writer(self._sock)

    def _write(self) -> None:
        unsent = self._unsent
        while unsent:
            try:
                sent = self._sock.sendmsg(next_batch(unsent))
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._fail(error)
                return
            drop_sent(unsent, sent)

    def _readable(self) -> None:
        for _ in range(_READS_PER_WAKE):
            try:
                room = self._decoder.buffer()
                count = self._sock.recv_into(room)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._fail(error)
                return
            if count == 0:
                self._fail(None)
                return
            self._decoder.received(count)
            try:
                for message, body in self._decoder.frames():
                    self._on_message(message, body)
                    if self._closed:
                        return
            except ProtocolError as error:
                self._fail(error)
                return
            if count < len(room):
                return
