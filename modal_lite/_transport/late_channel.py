"""A channel that can be written to before there is a connection for it."""

import socket
from typing import Any

import msgspec

from modal_lite._core.interfaces import OnClose, OnMessage
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._transport.channel import Channel


class LateChannel:
    """One end of a connection that will be made, or never; else as `Channel`."""

    def __init__(self, types: Any, on_message: OnMessage, on_close: OnClose) -> None:
        self._types = types
        self._on_message = on_message
        self._on_close = on_close
        self._waiting: list[tuple[msgspec.Struct, Payload]] = []
        self._channel: Channel | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """True once either side has ended the connection, or this side does not want it any more."""
        return self._closed or (self._channel is not None and self._channel.closed)

    def attach(self, sock: socket.socket) -> None:
        """The connection is there, and belongs to this object: what waits is sent."""
        if self._closed or self._channel is not None:
            sock.close()
            return
        self._channel = Channel(sock, self._types, self._on_message, self._on_close)
        waiting, self._waiting = self._waiting, []
        for message, payload in waiting:
            self._channel.send(message, payload)

    def send(self, message: msgspec.Struct, payload: Payload = EMPTY) -> None:
        """Writes a frame once it can be. The payload's parts must not change until they are sent."""
        if self._channel is not None:
            self._channel.send(message, payload)
        elif not self._closed:
            self._waiting.append((message, payload))

    def fail(self, error: Exception) -> None:
        """Ends the connection as something that broke it would."""
        if not self.closed:
            self.close()
            self._on_close(error)

    def close(self) -> None:
        """Ends the connection. Safe to call again."""
        self._closed = True
        self._waiting.clear()
        if self._channel is not None:
            self._channel.close()
