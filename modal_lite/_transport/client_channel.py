"""The container's end of its client channel: a `Connection` to the control plane that placed it."""

import asyncio
import builtins
import socket
from typing import Any

from modal_lite import exception
from modal_lite._core.client_messages import Answer, Ask, Tell, ToClient, Withdraw, unpack_batch
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import AnyRequest, Refusal
from modal_lite._transport.channel import Channel


class ClientChannel:
    """Implements `Connection` over the socket that the container inherited. Belongs to the loop that makes it."""

    def __init__(self, sock: socket.socket) -> None:
        self._channel = Channel(sock, ToClient, self._received, self._lost)
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    async def request(self, request: AnyRequest, payload: Payload = EMPTY) -> Any:
        """See `Connection.request`."""
        if self._channel.closed:
            raise _disconnected()
        self._number += 1
        number = self._number
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        self._channel.send(Ask(number, request, payload.sizes), payload)
        try:
            reply = await answer
        except asyncio.CancelledError:
            self._channel.send(Withdraw(number))
            raise
        finally:
            self._pending.pop(number, None)
        if isinstance(reply, Refusal):
            raise _exception(reply)
        return reply

    def notify(self, request: AnyRequest) -> None:
        """See `Connection.notify`."""
        self._channel.send(Tell(request))

    def _received(self, message: Any, body: memoryview) -> None:
        answer = self._pending.get(message.number)
        if answer is not None and not answer.done():
            answer.set_result(message.reply if isinstance(message, Answer) else unpack_batch(message, body))

    def _lost(self, error: Exception | None) -> None:
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(_disconnected())


def _disconnected() -> exception.ConnectionError:
    return exception.ConnectionError("This container's control plane is gone: the program that started it has ended.")


def _exception(refusal: Refusal) -> Exception:
    if refusal.exception == builtins.TimeoutError.__name__:
        return builtins.TimeoutError(refusal.message)
    kind = getattr(exception, refusal.exception, exception.ExecutionError)
    error: Exception = kind(refusal.message)
    return error
