"""A channel for threads that block: the container's side of its data and control connections."""

import socket
import threading
from collections import deque
from typing import Any

import msgspec

from modal_lite._core.payload import EMPTY, Payload
from modal_lite._transport.frames import FrameDecoder, drop_sent, encode, next_batch, views
from modal_lite._transport.shared_memory import SharedMemory


class ConnectionClosed(Exception):
    """The other side ended the connection."""


class BlockingChannel:
    """Frames over a blocking socket. One thread may receive; any thread may send, a whole frame at a time."""

    def __init__(self, sock: socket.socket, types: Any, memory: SharedMemory | None = None) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._memory = memory
        self._decoder = FrameDecoder(types, memory)
        self._ready: deque[tuple[Any, memoryview]] = deque()
        self._send_lock = threading.Lock()

    def fileno(self) -> int:
        """The socket's descriptor, for select."""
        return self._sock.fileno()

    @property
    def buffered(self) -> bool:
        """True if `recv` would return without reading from the socket."""
        return bool(self._ready)

    def recv(self) -> tuple[Any, memoryview]:
        """The next message and its body. Raises ConnectionClosed at the end of the stream, ProtocolError on garbage."""
        while not self._ready:
            room = self._decoder.buffer()
            try:
                count = self._sock.recv_into(room)
            except BlockingIOError:  # The socket has a limit of its own (SO_RCVTIMEO).
                raise ConnectionClosed("nothing came from the other side for too long") from None
            except OSError as error:
                raise ConnectionClosed(str(error)) from None
            if count == 0:
                raise ConnectionClosed("the other side closed the connection")
            self._decoder.received(count)
            self._ready.extend(self._decoder.frames())
        return self._ready.popleft()

    def send(self, message: msgspec.Struct, payload: Payload = EMPTY) -> None:
        """Writes a whole frame. Raises ConnectionClosed when nobody reads any more."""
        with self._send_lock:
            parts = encode(message, payload, self._memory)
            try:
                if len(parts) == 1:
                    self._sock.sendall(parts[0])
                    return
                unsent = deque(views(parts))
                while unsent:
                    drop_sent(unsent, self._sock.sendmsg(next_batch(unsent)))
            except OSError as error:
                raise ConnectionClosed(str(error)) from None

    def close(self) -> None:
        """Closes the socket."""
        self._sock.close()
