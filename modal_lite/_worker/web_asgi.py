"""Serves ASGI applications: uvicorn's protocols, on connections that the plane holds."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from modal_lite._core.payload import Payload
from modal_lite._worker.web_exchange import Exchange
from modal_lite._worker.web_transport import ExchangeTransport

_WEBSOCKET_GRACE = 1.0
"""Seconds in which the handler of a WebSocket that was lost may end by itself before it is cancelled."""


class AsgiServing:
    """Implements `Serving`.

    Args:
        make: Makes the application; a coroutine function if it has to be awaited.
        tag: The function's name, for errors.
    """

    def __init__(self, make: Callable[[], Any], tag: str) -> None:
        self._make = make
        self._tag = tag
        self._app: Any = None
        self._ending: set[asyncio.Task[Any]] = set()
        """Tasks of requests whose clients are gone."""
        self._headers: list[tuple[bytes, bytes]] = []
        self._headers_of = 0

    def make(self) -> None:
        """Makes the application, before there is an event loop. Raises what the user's function raises."""
        if not asyncio.iscoroutinefunction(self._make):
            self._app = self._make()

    async def start(self) -> None:
        """Gets ready for requests. Raises what the application's start raises.

        Raises:
            TypeError: There is no application.
            RuntimeError: The application refused to start.
        """
        from uvicorn import Config
        from uvicorn.lifespan.on import LifespanOn

        if self._app is None:
            made = self._make()
            self._app = await made if asyncio.iscoroutine(made) else made
        if not callable(self._app):
            raise TypeError(f"{self._tag} has to return an application, not {self._app!r:.100}.")
        self._config = Config(
            self._call,
            interface="asgi3",
            ws="websockets-sansio",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            ws_ping_interval=20.0,
        )
        self._config.load()
        self._protocol = _with_end(self._config.http_protocol_class)
        self._lifespan = LifespanOn(self._config)
        await self._lifespan.startup()
        if self._lifespan.should_exit:
            raise RuntimeError(f"The application of {self._tag} failed to start; it says more on stderr.")

    async def stop(self) -> None:
        """Tells the application that there will be no more requests."""
        await self._lifespan.shutdown()

    async def serve(self, exchange: Exchange) -> Payload:
        """See `Serving`."""
        from uvicorn.server import ServerState

        loop = asyncio.get_running_loop()
        state = ServerState()
        state.default_headers = self._default_headers()
        transport = ExchangeTransport(exchange, loop)
        protocol = self._protocol(self._config, state, self._lifespan.state, _loop=loop)
        try:
            transport.begin(protocol)
            await transport.ended
            # The application's task ends in the same step, unless it has more to do than to respond.
            unfinished = [task for task in state.tasks if not task.done()]
            if unfinished and not transport.upgraded:
                transport.flush()
                await asyncio.wait(unfinished)
            return transport.take()
        finally:
            transport.lose()
            if state.tasks:
                await self._end(state.tasks, transport.upgraded)

    async def _end(self, tasks: set[asyncio.Task[Any]], gently: bool) -> None:
        """Cancels what goes on for a request that is over."""
        pending = set(tasks)
        if gently:
            _, pending = await asyncio.wait(pending, timeout=_WEBSOCKET_GRACE)
        pending = {task for task in pending if not task.done()}
        if not pending:
            return
        self._ending |= pending
        try:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending)
        finally:
            self._ending -= pending

    async def _call(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        """The application, whose cancellation is no error to be reported."""
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if asyncio.current_task() not in self._ending:
                raise

    def _default_headers(self) -> list[tuple[bytes, bytes]]:
        now = int(time.time())
        if now != self._headers_of:
            self._headers_of = now
            self._headers = [(b"date", formatdate(now, usegmt=True).encode())]
        return self._headers


def _with_end(base: Any) -> Any:
    """The protocol, which tells its transport when a response is complete."""

    class Protocol(base):  # type: ignore[misc]
        def on_response_complete(self) -> None:
            super().on_response_complete()
            self.transport.complete()

    return Protocol
