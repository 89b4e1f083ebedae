"""A client's way to a server: a `Connection` that survives lost connections and a server that is started anew."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any

import msgspec

from modal_lite import exception
from modal_lite._core.address import Address
from modal_lite._core.client_messages import Answer, Ask, Tell, ToClient, Withdraw, unpack_batch
from modal_lite._core.ids import new_id
from modal_lite._core.interfaces import OnEnd
from modal_lite._core.messages import PROTOCOL_VERSION
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import AnyRequest, Refusal, RunCall
from modal_lite._transport.asking import answered
from modal_lite._transport.frames import ProtocolError
from modal_lite._transport.recovery import Recovery
from modal_lite._transport.refusals import exception_of, not_trusted
from modal_lite._transport.session import Session
from modal_lite._transport.upgrade import Opened, RefusedError, open_connection

logger = logging.getLogger("modal_lite.client")

PATIENCE = 60.0
"""Seconds that a server may be gone before those who wait for it are told."""
_FIRST_DELAY, _MAX_DELAY = 0.05, 1.0
"""Seconds between attempts to connect again."""
_HANDSHAKE = 10.0
"""Seconds until a server that has accepted the connection must have said who it is."""


class _Pending(msgspec.Struct, frozen=True):
    """A request that has no answer yet."""

    request: AnyRequest
    payload: Payload
    on_reply: Callable[[Any], None]


class ServerChannel:
    """Implements `Connection`. Belongs to the loop that makes it. Connects when it is first asked something.

    Args:
        address: The server's.
        patience: Seconds for which it is waited for when it was there before.
    """

    def __init__(self, address: Address, patience: float = PATIENCE) -> None:
        self._address = address
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._pending: dict[int, _Pending] = {}
        self._number = 0
        self._recovery = Recovery()
        self._session = Session(ToClient, self._received)
        self._session_id = new_id("cs")
        self._keeper: asyncio.Task[None] | None = None
        self._was_connected = False

    async def request(self, request: AnyRequest, payload: Payload = EMPTY) -> Any:
        """See `Connection.request`."""
        return await answered(lambda on_reply: self._ask(request, payload, on_reply))

    def run(self, request: RunCall, payload: Payload, on_end: OnEnd) -> Callable[[], None]:
        """See `Connection.run`."""
        return self._ask(request, payload, on_end)

    def notify(self, request: AnyRequest) -> None:
        """See `Connection.notify`."""
        self._recovery.asked(request, EMPTY)
        if self._keeper is not None:
            self._session.send(Tell(request))

    async def close(self) -> None:
        """Ends the conversation: what is under way is withdrawn."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            self._session.leave()
            keeper.cancel()
            await asyncio.wait([keeper])
        self._fail(exception.ConnectionError(f"The connection to the server at {self._address.url} was closed."))

    def _ask(self, request: AnyRequest, payload: Payload, on_reply: Callable[[Any], None]) -> Callable[[], None]:
        self._number += 1
        number = self._number
        self._pending[number] = _Pending(request, payload, on_reply)
        self._recovery.asked(request, payload)
        if self._keeper is None:
            self._keeper = self._loop.create_task(self._keep())
        elif self._was_connected:
            self._session.send(Ask(number, request, payload.sizes), payload)

        def withdraw() -> None:
            if self._pending.pop(number, None) is not None:
                self._session.send(Withdraw(number))

        return withdraw

    def _received(self, message: Any, body: memoryview) -> None:
        pending = self._pending.pop(message.number, None)
        if pending is None:
            return
        if isinstance(message, Answer):
            reply = message.reply
            pending.on_reply(exception_of(reply) if isinstance(reply, Refusal) else reply)
            return
        batch = unpack_batch(message, body)
        self._recovery.answered(pending.request, batch)
        pending.on_reply(batch)

    # --- the connection ----------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Connects, and connects again, until there is nobody to connect to."""
        delay, lost_at, reason = _FIRST_DELAY, 0.0, ""
        try:
            while True:
                try:
                    await self._converse()
                    delay, lost_at, reason = _FIRST_DELAY, self._loop.time(), "it closed the connection"
                except (OSError, ProtocolError) as error:
                    if not lost_at and not self._was_connected:
                        raise _no_server(self._address, error) from None
                    lost_at = lost_at or self._loop.time()
                    reason = str(error) or type(error).__name__
                if self._loop.time() - lost_at > self._patience:
                    raise _gone(self._address, self._patience, reason)
                await asyncio.sleep(delay)
                delay = min(_MAX_DELAY, delay * 1.5)
        except exception.Error as error:
            self._keeper = None
            self._fail(error)
        except Exception as error:
            self._keeper = None
            logger.exception("the connection to the server failed")
            self._fail(exception.ConnectionError(f"The connection to the server failed: {error!r}"))
            raise

    async def _converse(self) -> None:
        """One connection, from its beginning to its end."""
        async with asyncio.timeout(_HANDSHAKE):
            opened = await self._opened()
        self._was_connected = True
        if not opened.welcome.resumed:
            self._start_anew()
        await self._session.serve(opened.transport, opened.welcome.received, opened.came)

    async def _opened(self) -> Opened:
        try:
            opened = await open_connection(self._address, self._session_id, self._session.received)
        except ssl.SSLCertVerificationError as error:
            raise not_trusted(self._address, error) from None
        except RefusedError as error:
            if error.status in (401, 403):
                raise _not_admitted(self._address) from None
            raise
        if opened.welcome.protocol != PROTOCOL_VERSION:
            opened.transport.abort()
            raise exception.VersionError(
                f"The server at {self._address.url} speaks version {opened.welcome.protocol} of the protocol, this "
                f"client {PROTOCOL_VERSION}. Install the same modal-lite on both sides."
            )
        return opened

    def _start_anew(self) -> None:
        """The server knows nothing of the session: it is told what is still wanted."""
        self._session.start_anew()
        for request, payload in self._recovery.calls_again():
            numbers = [number for number, p in self._pending.items() if p.request is request]
            number = numbers[0] if numbers else self._next_number()
            self._session.send(Ask(number, request, payload.sizes), payload)
        for number, pending in sorted(self._pending.items()):
            if self._recovery.is_brought_back(pending.request):
                continue
            try:
                request, payload = self._recovery.again(pending.request, pending.payload)
            except exception.ConnectionError as error:
                del self._pending[number]
                pending.on_reply(error)
            else:
                self._session.send(Ask(number, request, payload.sizes), payload)

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _fail(self, error: Exception) -> None:
        """Ends everything that is under way. What is asked next begins a new session."""
        self._recovery = Recovery()
        self._session = Session(ToClient, self._received)
        self._session_id = new_id("cs")
        self._was_connected = False
        pending, self._pending = self._pending, {}
        for each in pending.values():
            each.on_reply(error)


def _no_server(address: Address, error: Exception) -> exception.ConnectionError:
    if address.local:
        return exception.ConnectionError(
            f"No server runs for {address.url.removeprefix('unix://').rpartition('/')[0]}. "
            "Start one with `modal-lite server start`, or name another by MODAL_LITE_SERVER_URL."
        )
    return exception.ConnectionError(f"The server at {address.url} cannot be reached: {error}")


def _gone(address: Address, patience: float, reason: str) -> exception.ConnectionError:
    return exception.ConnectionError(
        f"The server at {address.url} has been gone for {patience:g} seconds ({reason}). Calls made by spawn go on "
        "when it is started again; others have to be made again."
    )


def _not_admitted(address: Address) -> exception.AuthError:
    if address.token is None:
        return exception.AuthError(f"The server at {address.url} asks for a token: set MODAL_LITE_TOKEN.")
    return exception.AuthError(f"The server at {address.url} does not accept this token.")
