"""The JSON interface of a server, for the command line: one request, one answer, without aiohttp."""

import http.client
import socket
import ssl
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from modal_lite._core.address import Address
from modal_lite._core.requests import Refusal
from modal_lite._transport.refusals import exception_of, not_trusted
from modal_lite.exception import ConnectionError

TIMEOUT = 60.0
"""Seconds until an answer must have come."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connects to the socket instead of to a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


def ask(address: Address, method: str, *path: str, **query: Any) -> Any:
    """Sends one request.

    Args:
        address: The server's.
        method: GET or POST.
        *path: Parts of the path, `/v1` left out.
        **query: Parameters; those that are None are left out.

    Raises:
        modal_lite.exception.Error: What the server refuses, with its reason.
        modal_lite.exception.ConnectionError: It cannot be reached.
    """
    target = "/v1/" + "/".join(quote(part, safe="") for part in path)
    given = {name: value for name, value in query.items() if value is not None}
    if given:
        target += "?" + urlencode(given)
    connection = _connection(address)
    try:
        connection.request(method, target, headers=address.headers)
        answer = connection.getresponse()
        body = answer.read()
    except ssl.SSLCertVerificationError as error:
        raise not_trusted(address, error) from None
    except (OSError, http.client.HTTPException) as error:
        advice = " Start one with `modal-lite server start`." if address.local else ""
        raise ConnectionError(f"There is no server at {address.url}: {error}.{advice}") from None
    finally:
        connection.close()
    try:
        reply = msgspec.json.decode(body)
    except msgspec.DecodeError:
        reply = {"error": "ConnectionError", "message": f"{address.url} answered {answer.status} {answer.reason}."}
    if answer.status >= 400:
        raise exception_of(Refusal(str(reply.get("error")), str(reply.get("message"))))
    return reply


def _connection(address: Address) -> http.client.HTTPConnection:
    if address.socket is not None:
        return _UnixConnection(address.socket)
    parts = urlsplit(address.base)
    context = address.tls()
    if context is not None:
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT, context=context)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
