"""The container's end of its client channel: a `Connection` to the control plane that placed it."""

import socket
from collections.abc import Callable
from typing import Any

from modal_lite import exception
from modal_lite._core.client_messages import Answer, Ask, Tell, ToClient, Withdraw, unpack_batch
from modal_lite._core.interfaces import OnEnd
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import AnyRequest, Refusal, RunCall
from modal_lite._transport.asking import answered
from modal_lite._transport.channel import Channel
from modal_lite._transport.refusals import exception_of


class ClientChannel:
    """Implements `Connection` over the socket that the container inherited. Belongs to the loop that makes it."""

    def __init__(self, sock: socket.socket) -> None:
        self._channel = Channel(sock, ToClient, self._received, self._lost)
        self._pending: dict[int, Callable[[Any], None]] = {}
        """Who takes the reply, or the exception, by the number of the request."""
        self._number = 0

    async def request(self, request: AnyRequest, payload: Payload = EMPTY) -> Any:
        """See `Connection.request`."""
        return await answered(lambda on_reply: self._ask(request, payload, on_reply))

    def run(self, request: RunCall, payload: Payload, on_end: OnEnd) -> Callable[[], None]:
        """See `Connection.run`."""
        return self._ask(request, payload, on_end)

    def notify(self, request: AnyRequest) -> None:
        """See `Connection.notify`."""
        self._channel.send(Tell(request))

    def _ask(self, request: AnyRequest, payload: Payload, on_reply: Callable[[Any], None]) -> Callable[[], None]:
        """Sends a request; returns what withdraws it."""
        if self._channel.closed:
            raise _disconnected()
        self._number += 1
        number = self._number
        self._pending[number] = on_reply
        self._channel.send(Ask(number, request, payload.sizes), payload)

        def withdraw() -> None:
            if self._pending.pop(number, None) is not None:
                self._channel.send(Withdraw(number))

        return withdraw

    def _received(self, message: Any, body: memoryview) -> None:
        on_reply = self._pending.pop(message.number, None)
        if on_reply is None:
            return
        if isinstance(message, Answer):
            reply = message.reply
            on_reply(exception_of(reply) if isinstance(reply, Refusal) else reply)
        else:
            on_reply(unpack_batch(message, body))

    def _lost(self, error: Exception | None) -> None:
        pending, self._pending = self._pending, {}
        for on_reply in pending.values():
            on_reply(_disconnected())


def _disconnected() -> exception.ConnectionError:
    return exception.ConnectionError("This container's control plane is gone: the program that started it has ended.")
