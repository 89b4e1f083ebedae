"""Where web functions are reached: a port of 127.0.0.1 for each of them, so that each is an origin of its own."""

import asyncio
import logging
import zlib
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from modal_lite._core.messages import Encoding
from modal_lite._core.payload import Payload
from modal_lite._core.requests import FunctionDefinition
from modal_lite._server.calls import Chunk
from modal_lite._server.plane import ControlPlane
from modal_lite._server.web_call import WebCall
from modal_lite._server.web_connection import WebConnection
from modal_lite.exception import Error, ExecutionError

logger = logging.getLogger("modal_lite.web")

HOST = "127.0.0.1"
START_PATIENCE = 15.0
"""Seconds that a request waits for a container before it is answered with 503. The container goes on starting."""
IDLE = 75.0
"""Seconds after which a connection without a request is closed."""
MAX_WAITING = 2000
"""Requests of a function that may wait for containers; those beyond are answered with 503 at once."""
_SWEEP = 1.0
_BACKLOG = 1024
_FIRST_PORT, _PORTS = 20_000, 10_000
"""Where lasting ports are looked for: below those that systems give to outgoing connections."""


class WebKey(NamedTuple):
    """A web function: the id under which it lasts, and the method of a class."""

    function_id: str
    method: str


class WebOrigin:
    """One web function's address.

    Args:
        front: Which it belongs to.
        key: The function.
    """

    def __init__(self, front: "WebFront", key: WebKey) -> None:
        self._front = front
        self._key = key
        self.connections: set[WebConnection] = set()
        self.server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"

    def target(self) -> tuple[str, str]:
        """The function, and the method, that answer the next request. Raises Error if there is none any more."""
        return self._front.definition(self._key.function_id).function_id, self._key.method

    def accept(self, call: WebCall, payload: Payload) -> None:
        """Makes a request an input of its function. Raises ExecutionError if too many wait."""
        plane = self._front.plane()
        if plane.scheduler.functions[call.function_id].backlog >= MAX_WAITING:
            raise ExecutionError("Too many requests wait.")
        plane.open_call(call, None, Chunk(Encoding.WEB, payload, 1))

    def withdraw(self, call: WebCall) -> None:
        """Cancels what is under way of a request."""
        try:
            self._front.plane().forget(call.call_id)
        except Error:
            pass  # The control plane has ended, and all calls with it.

    def sweep(self, now: float) -> None:
        """Answers those who have waited too long, and closes what is not used."""
        for connection in list(self.connections):
            call = connection.call
            if call is None:
                if now - connection.since > IDLE:
                    connection.close()
            elif not call.began and now - connection.since > START_PATIENCE:
                connection.give_up("No container is ready for the request yet. Try again in a few seconds.")

    def close(self) -> None:
        """Ends all of it."""
        if self.server is not None:
            self.server.close()
        for connection in list(self.connections):
            connection.close()


class WebFront:
    """The addresses of all web functions of a control plane.

    Args:
        plane: The control plane.
        definition: What is known of a function, of its newest version. Raises Error if it is gone.
    """

    def __init__(self, plane: Callable[[], ControlPlane], definition: Callable[[str], FunctionDefinition]) -> None:
        self.plane = plane
        self.definition = definition
        self._origins: dict[WebKey, WebOrigin] = {}
        self._opening = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """True if there is anything that a client could come to."""
        return bool(self._origins)

    async def open(self, function_id: str, method: str, lasting_port: int | None = None) -> WebOrigin:
        """The address of a web function; opened if it is not.

        Args:
            function_id: The function.
            method: The method of a class, else empty.
            lasting_port: Which port to listen on, if it is free; 0 for any that is likely to be so the next time, too.
                None for any.

        Raises:
            OSError: There is no port to be had.
        """
        key = WebKey(function_id, method)
        async with self._opening:
            origin = self._origins.get(key)
            if origin is None:
                origin = WebOrigin(self, key)
                await self._listen(origin, list(_candidates(key, lasting_port)))
                self._origins[key] = origin
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)
        return origin

    async def _listen(self, origin: WebOrigin, ports: list[int]) -> None:
        loop = asyncio.get_running_loop()
        for port in ports:
            try:
                server = await loop.create_server(lambda: WebConnection(origin), HOST, port, backlog=_BACKLOG)
            except OSError:
                if port == ports[-1]:
                    raise
                continue
            origin.server, origin.port = server, server.sockets[0].getsockname()[1]
            return

    def close_functions(self, function_ids: Iterable[str], but: Collection[tuple[str, str]] = ()) -> None:
        """Closes the addresses of functions, but for some that are given by function and method."""
        gone = set(function_ids)
        for key in [key for key in self._origins if key.function_id in gone and key not in but]:
            self._origins.pop(key).close()
        self._rest()

    def close(self) -> None:
        """Closes all addresses."""
        self.close_functions([key.function_id for key in self._origins])

    def _rest(self) -> None:
        if not self._origins and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_SWEEP, self._sweep)
        now = loop.time()
        for origin in list(self._origins.values()):
            origin.sweep(now)


def _candidates(key: WebKey, lasting_port: int | None) -> Iterable[int]:
    if lasting_port is not None:
        if lasting_port:
            yield lasting_port
        first = zlib.crc32("/".join(key).encode())
        for i in range(20):
            yield _FIRST_PORT + (first + i) % _PORTS
    yield 0
