"""Who is let in: requests over TCP need a token, connections that do not get to a request are closed."""

import asyncio
import logging
import socket
from collections.abc import Callable

from aiohttp import web

from modal_lite._core.tokens import Tokens, digest_of

logger = logging.getLogger("modal_lite.server")

REQUEST_WAIT = 10.0
"""Seconds that a connection has until its request is complete, and for the TLS handshake."""
MAX_CONNECTIONS = 1000
"""At a time, of all clients."""
_SWEEP = 1.0
_SCHEME = "Bearer "


class Doorkeeper:
    """Admits requests, and closes connections.

    Args:
        tokens: Those that are accepted; looked at again for each request.
        given: One more, that the server was started with.
        request_wait: Seconds that a connection has for its request.
        max_connections: More are closed at once.
    """

    def __init__(
        self,
        tokens: Tokens,
        given: str | None,
        request_wait: float = REQUEST_WAIT,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._tokens = tokens
        self._given = None if given is None else digest_of(given)
        self._request_wait = request_wait
        self._max_connections = max_connections
        self._admitted: dict[web.RequestHandler, Callable[[], bool]] = {}
        """Connections that have made a request, each with what tells whether it may stay."""
        self._since: dict[web.RequestHandler, float] = {}
        """When those that have not were first seen."""

    def admits(self, request: web.Request) -> bool:
        """True if the request may be answered: it came by the Unix socket, or has a token."""
        digest = token_digest(request)
        if not self.knows(digest):
            return False
        self.admit(request, lambda: self.knows(digest))
        return True

    def admit(self, request: web.Request, still: Callable[[], bool]) -> None:
        """Lets the request's connection stay for as long as `still` says so."""
        self._admitted[request.protocol] = still

    def knows(self, digest: str | None) -> bool:
        """True if the digest is of a token that is accepted; always for None, which is the Unix socket's."""
        return digest is None or self._tokens.admits(digest, self._given)

    @property
    def has_tokens(self) -> bool:
        """True if there is a token that it would accept."""
        return self._given is not None or bool(self._tokens.all())

    async def watch(self, connections: Callable[[], list[web.RequestHandler]], sweep: float = _SWEEP) -> None:
        """Closes the connections that have no business here, until it is cancelled."""
        while True:
            self._sweep(connections())
            await asyncio.sleep(sweep)

    def _sweep(self, connections: list[web.RequestHandler]) -> None:
        now = asyncio.get_running_loop().time()
        admitted = self._admitted
        self._admitted = {each: admitted[each] for each in connections if each in admitted}
        self._since = {each: self._since.get(each, now) for each in connections if each not in admitted}
        for connection, since in self._since.items():
            if now - since > self._request_wait:
                _close(connection)
        for connection in connections:
            still = self._admitted.get(connection)
            if still is not None and not still():
                _close(connection)
        surplus = len(connections) - self._max_connections
        if surplus > 0:
            logger.warning("%d connections are too many: the newest are closed", len(connections))
            for connection in connections[-surplus:]:
                _close(connection)


def is_local(request: web.Request) -> bool:
    """True if the request came by the Unix socket."""
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    return sock is not None and sock.family == socket.AF_UNIX


def token_digest(request: web.Request) -> str | None:
    """That of the token which the request has, or has not; None if it needs none, for it came by the Unix socket."""
    if is_local(request):
        return None
    return digest_of(request.headers.get("Authorization", "").removeprefix(_SCHEME))


def _close(connection: web.RequestHandler) -> None:
    if connection.transport is not None:
        connection.transport.abort()
