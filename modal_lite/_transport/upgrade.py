"""How a client opens a connection to a server: an HTTP request whose answer turns it into a stream of frames.

Done by hand, for aiohttp takes longer to import than a program takes to make its first call.
"""

import asyncio
from urllib.parse import urlencode, urlsplit

import msgspec

from modal_lite._core.address import Address

UPGRADE = "modal-lite"
"""The protocol that HTTP is left for."""
WELCOME_HEADER = "Modal-Lite-Welcome"
_MAX_HEAD = 64 << 10
"""Bytes of the answer's head at most."""


class Welcome(msgspec.Struct, frozen=True):
    """What a server says of a session at the beginning of every connection."""

    resumed: bool
    """It remembers the session."""
    received: int
    """Frames of the session that it has."""
    protocol: int


class RefusedError(OSError):
    """The server has answered, but not by opening the connection.

    Attributes:
        status: Of HTTP.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"it answered {status} {reason}")
        self.status = status


class Opened(msgspec.Struct, frozen=True):
    """A connection that carries frames from now on. Reading is paused."""

    transport: asyncio.Transport
    welcome: Welcome
    came: bytes
    """What was read behind the answer's head."""


async def open_connection(address: Address, session_id: str, received: int) -> Opened:
    """Opens a connection for a session, `received` frames of which this side has.

    Raises:
        RefusedError: The server does not want it.
        ssl.SSLCertVerificationError: Nobody vouches for the server.
        OSError: There is no server, or what is there is none of ours.
    """
    loop, parts = asyncio.get_running_loop(), urlsplit(address.base)
    if address.socket is not None:
        opening = loop.create_unix_connection(_Handshake, address.socket)
    else:
        tls = address.tls()
        port = parts.port or (80 if tls is None else 443)
        opening = loop.create_connection(_Handshake, parts.hostname or "", port, ssl=tls)
    transport, handshake = await opening
    try:
        query = urlencode({"session": session_id, "received": received})
        head = {"Host": parts.netloc, "Connection": "Upgrade", "Upgrade": UPGRADE, **address.headers}
        lines = [f"GET {parts.path}/v1/session?{query} HTTP/1.1", *(f"{name}: {head[name]}" for name in head), "", ""]
        transport.write("\r\n".join(lines).encode())
        return _opened(transport, *await handshake.answer)
    except BaseException:
        transport.abort()
        raise


def check_answer(head: bytes) -> None:
    """Raises RefusedError, or OSError, unless the head of the answer opens the connection."""
    first = head.decode("latin-1").partition("\r\n")[0]
    version, _, rest = first.partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise OSError(f"it does not speak HTTP: {first[:50]!r}")
    if status != "101":
        raise RefusedError(int(status), reason)


def _opened(transport: asyncio.Transport, head: bytes, came: bytes) -> Opened:
    check_answer(head)
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.lower() == WELCOME_HEADER.lower():
            return Opened(transport, msgspec.json.decode(value.strip(), type=Welcome), came)
    raise OSError("it is no server of modal-lite")


class _Handshake(asyncio.Protocol):
    """Reads the head of the answer, and no further."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Some of the answer, or more."""
        self._data += data
        head, end, came = bytes(self._data).partition(b"\r\n\r\n")
        if end:
            self._transport.pause_reading()
            if not self.answer.done():
                self.answer.set_result((head, came))
        elif len(head) > _MAX_HEAD:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        if not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError("it closed the connection at once"))
