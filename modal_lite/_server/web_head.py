"""Reads the head of an HTTP/1 request, as far as it tells where the request ends.

What the container's own parser might read differently is refused, so that both see the same requests.
"""

import re
from typing import NamedTuple

MAX_HEAD = 64 << 10
"""Bytes of a request's head."""
_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^ \x00-\x1f\x7f]+ HTTP/1\.[01]")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))


class BadRequestError(Exception):
    """The bytes are no request that could be passed on.

    Attributes:
        status: The status to answer with.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class Head(NamedTuple):
    """A request's head."""

    data: bytes
    """To be passed on, the empty line included."""
    size: int
    """Bytes that it took of what came."""
    length: int | None
    """Bytes of the body; None: all that follows until the connection is closed."""
    idempotent: bool
    """The request may be sent to a second container if it may have reached the first."""
    expects: bool
    """The client waits for a word before it sends the body."""
    upgrade: bool
    """The client wants to speak something else than HTTP."""


def parse_head(received: bytes) -> Head | None:
    """The head that the bytes begin with; None if it is not complete. Raises BadRequestError."""
    end = received.find(b"\r\n\r\n", 0, MAX_HEAD)
    if end < 0:
        if len(received) >= MAX_HEAD:
            raise BadRequestError("The request's head is too large.", 431)
        return None
    line, *fields = received[:end].split(b"\r\n")
    if not _REQUEST_LINE.fullmatch(line):
        raise BadRequestError("This is no HTTP/1 request.")
    method = line.partition(b" ")[0]
    known: dict[bytes, bytes] = {}
    for field in fields:
        name, colon, value = field.partition(b":")
        if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
            raise BadRequestError("A header of the request is malformed.")
        name = name.lower()
        if name in _TOLD:
            value = value.strip()
            if name != b"connection" and known.get(name, value) != value:
                raise BadRequestError("A header of the request contradicts another.")
            known[name] = known[name] + b"," + value if name in known and name == b"connection" else value
    size = end + 4
    length = _length(known)
    tokens = [token.strip() for token in known.get(b"connection", b"").lower().split(b",")]
    upgrade = b"upgrade" in known and b"upgrade" in tokens
    data = received[:size]
    if length is None and not upgrade:
        # Its end is for the container to find; nothing else is sent on the connection then.
        data = with_close(line, fields)
    return Head(
        data,
        size,
        None if upgrade else length,
        method in _IDEMPOTENT,
        b"expect" in known,
        upgrade,
    )


_TOLD = frozenset((b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"))


def with_close(line: bytes, fields: list[bytes]) -> bytes:
    """The head of a request after whose response the connection is closed."""
    kept = [field for field in fields if not field.lower().startswith(b"connection:")]
    return b"\r\n".join((line, *kept, b"Connection: close", b"", b""))


def _length(known: dict[bytes, bytes]) -> int | None:
    encoding, length = known.get(b"transfer-encoding"), known.get(b"content-length")
    if encoding is not None:
        if length is not None or encoding.lower() != b"chunked":
            raise BadRequestError("The request's length is not clear.")
        return None
    if length is None:
        return 0
    if not length.isdigit() or len(length) > 18:
        raise BadRequestError("The request's length is no number.")
    return int(length)
