"""Serves what a web function has started on a port of its own."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

from modal_lite._core.payload import Payload
from modal_lite._core.web import Piece, WebConfig, pack_piece
from modal_lite._worker.web_exchange import Exchange

_HOST = "127.0.0.1"
_FREED = 5.0
"""Seconds that whoever has the port may take to leave it: the container of an earlier version."""
_POLL = 0.02
_READ = 64 << 10
_NOT_THERE = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: 31\r\nConnection: close\r\n\r\n"
    b"The web server did not respond.\n"
)[:-1]


class PortServing:
    """Implements `Serving`.

    Args:
        start: The user's function.
        config: Which port, and how long it may take.
        tag: The function's name, for errors.
    """

    def __init__(self, start: Callable[[], Any], config: WebConfig, tag: str) -> None:
        self._start = start
        self._config = config
        self._tag = tag

    def make(self) -> None:
        """Calls the user's function, before there is an event loop. Raises what that raises.

        Raises:
            OSError: Somebody else has the port.
        """
        deadline = time.monotonic() + _FREED
        while self._listens():
            if time.monotonic() > deadline:
                raise OSError(f"Port {self._config.port} of {self._tag} is in use by another program.")
            time.sleep(_POLL)
        if not asyncio.iscoroutinefunction(self._start):
            self._start()

    async def start(self) -> None:
        """Returns once the server listens.

        Raises:
            TimeoutError: It did not within `startup_timeout`.
        """
        if asyncio.iscoroutinefunction(self._start):
            await self._start()
        deadline = time.monotonic() + self._config.startup_timeout
        while not self._listens():
            if time.monotonic() > deadline:
                seconds = self._config.startup_timeout
                raise TimeoutError(
                    f"Nothing listens on port {self._config.port} {seconds:g} seconds after {self._tag} has returned. "
                    "Start the server there, on 127.0.0.1, or give it more startup_timeout=."
                )
            await asyncio.sleep(_POLL)

    async def stop(self) -> None:
        """Nothing: the server ends with its container."""

    async def serve(self, exchange: Exchange) -> Payload:
        """See `Serving`."""
        try:
            reader, writer = await asyncio.open_connection(_HOST, self._config.port)
        except OSError:
            return pack_piece(Piece.CLOSE, _NOT_THERE)
        sending = asyncio.create_task(_send(exchange, writer))  # noqa: TID251  (ended and awaited below)
        try:
            responded = False
            with contextlib.suppress(OSError):
                while data := await reader.read(_READ):
                    responded = True
                    exchange.write(data)
                    await _room(exchange)
            return pack_piece(Piece.CLOSE, b"" if responded else _NOT_THERE)
        finally:
            exchange.on_data = exchange.on_room = None
            sending.cancel()
            await asyncio.wait([sending])
            writer.transport.abort()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex((_HOST, self._config.port)) == 0


async def _send(exchange: Exchange, writer: asyncio.StreamWriter) -> None:
    """Passes on what the client sends, until it is cancelled."""
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    exchange.on_data = arrived.put_nowait
    with contextlib.suppress(OSError):
        writer.write(exchange.first if exchange.request.upgrade else _with_close(exchange.first))
        exchange.begin()
        while True:
            await writer.drain()
            data = await arrived.get()
            writer.write(data)
            await writer.drain()
            exchange.taken(len(data))


async def _room(exchange: Exchange) -> None:
    """Returns when the client does not lag behind."""
    if exchange.is_full:
        room = asyncio.Event()
        exchange.on_room = room.set
        await room.wait()


def _with_close(request: bytes) -> bytes:
    """The request, after whose response the server closes its connection: that tells where the response ends."""
    head, end, body = request.partition(b"\r\n\r\n")
    fields = [field for field in head.split(b"\r\n") if not field.lower().startswith(b"connection:")]
    return b"\r\n".join((*fields, b"Connection: close")) + end + body
