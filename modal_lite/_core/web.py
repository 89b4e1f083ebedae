"""Web functions: what their decorators say, and what travels between the HTTP front and the container of a request.

A request is an input of the function, and its lease carries the request's bytes as they came from the client; those of
a body that is not complete follow on the control channel. The response's bytes come back as a generator's values do, or
as the value of the input, if they are complete at once. Nobody on the way knows more of HTTP than where a request ends.
"""

from enum import IntEnum, StrEnum

import msgspec

from modal_lite._core.payload import Buffer, Payload

WINDOW = 1 << 20
"""Bytes of a body, in either direction, that may be under way until the other side has taken them."""


class WebKind(StrEnum):
    """What answers the requests."""

    ENDPOINT = "endpoint"
    """The function, called by FastAPI."""
    ASGI = "asgi"
    """The ASGI application that the function returns."""
    WSGI = "wsgi"
    """The WSGI application that the function returns."""
    SERVER = "server"
    """What the function has started on a port."""


class WebConfig(msgspec.Struct, frozen=True, array_like=True):
    """The mark of a web function."""

    kind: WebKind
    method: str = "GET"
    """Of an endpoint: the HTTP method that it answers."""
    docs: bool = False
    """Of an endpoint: whether there are pages that describe it."""
    port: int = 0
    """Where the server listens that the function has started."""
    startup_timeout: float = 5.0
    """Seconds until it does."""
    label: str | None = None
    """Accepted from programs written for host names."""


class WebRequest(msgspec.Struct, frozen=True, array_like=True):
    """What a container is told of a request besides its bytes."""

    client: tuple[str, int]
    server: tuple[str, int]
    open: bool
    """More bytes may follow: the rest of a body, or whatever is said after an upgrade."""
    upgrade: bool = False
    """The client wants to speak something else than HTTP from now on."""


class Piece(IntEnum):
    """What follows the bytes of a response."""

    MORE = 0
    LAST = 1
    """Nothing: the response is complete, and the connection may be used for the next request."""
    CLOSE = 2
    """Nothing: the connection is to be closed."""


_request_encoder = msgspec.msgpack.Encoder()
_request_decoder = msgspec.msgpack.Decoder(WebRequest)


def pack_request(request: WebRequest, data: bytes) -> Payload:
    """The request as the payload of an input."""
    head = _request_encoder.encode(request)
    return Payload((len(head), len(data)), [head, data])


def unpack_request(sizes: tuple[int, ...], body: Buffer) -> tuple[WebRequest, bytes]:
    """The reverse of `pack_request`, of a body as it came."""
    split = sizes[0]
    view = memoryview(body)
    return _request_decoder.decode(view[:split]), bytes(view[split : split + sizes[1]])


def pack_piece(piece: Piece, data: bytes) -> Payload:
    """Bytes of a response as the payload of an output."""
    mark = bytes((piece,))
    return Payload((1, len(data)), [mark, data])


def unpack_piece(payload: Payload) -> tuple[Piece, bytes]:
    """The reverse of `pack_piece`. Raises ValueError if it is none."""
    data = payload.parts[0] if len(payload.parts) == 1 else b"".join(payload.parts)
    return Piece(data[0] if data else -1), bytes(memoryview(data)[1:])
