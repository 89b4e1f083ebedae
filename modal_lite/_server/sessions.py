"""Serves the calls that user code in a container makes: its client channel, answered by the service."""

import asyncio
from typing import Any

from modal_lite._core.client_messages import Answer, Ask, FromClient, Tell, Withdraw, pack_batch
from modal_lite._core.interfaces import Connection, PlacedContainer
from modal_lite._core.payload import payload_of
from modal_lite._core.requests import (
    AnyRequest,
    CallKind,
    ExchangeChunk,
    GetOutput,
    NextValues,
    OutputBatch,
    Refusal,
    StartCall,
)
from modal_lite._transport.channel import Channel
from modal_lite.exception import Error


class ClientSession:
    """One container's client channel. Each request is a task; all of them end with the session.

    `on_waiting(True)` is called when the container's input begins to wait for an answer that may take long,
    `on_waiting(False)` when it no longer does.
    """

    def __init__(self, placed: PlacedContainer, service: Connection, on_waiting: Any) -> None:
        self._service = service
        self._on_waiting = on_waiting
        self._waits = 0
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._channel = Channel(placed.client, FromClient, self._received, lambda error: self.close())

    def close(self) -> None:
        """Cancels what is under way and closes the channel. Safe to call again."""
        self._channel.close()
        for task in self._tasks.values():
            task.cancel()

    def _received(self, message: Any, body: memoryview) -> None:
        match message:
            case Ask():
                task = asyncio.get_running_loop().create_task(self._answer(message, body))
                self._tasks[message.number] = task
                task.add_done_callback(lambda _: self._tasks.pop(message.number))
            case Tell():
                self._service.notify(message.request)
            case Withdraw():
                withdrawn = self._tasks.get(message.number)
                if withdrawn is not None:
                    withdrawn.cancel()

    async def _answer(self, ask: Ask, body: memoryview) -> None:
        waits = _may_wait(ask.request)
        if waits:
            self._count_waits(1)
        try:
            reply = await self._service.request(ask.request, payload_of(ask.sizes, body))
        except (Error, TimeoutError) as error:
            reply = Refusal(type(error).__name__, str(error))
        finally:
            if waits:
                self._count_waits(-1)
        if isinstance(reply, OutputBatch):
            self._channel.send(*pack_batch(ask.number, reply))
        else:
            self._channel.send(Answer(ask.number, reply))

    def _count_waits(self, change: int) -> None:
        before = self._waits
        self._waits += change
        if (before == 0) != (self._waits == 0) and not self._channel.closed:
            self._on_waiting(self._waits > 0)


def _may_wait(request: AnyRequest) -> bool:
    match request:
        case StartCall():
            return request.kind is CallKind.UNARY
        case ExchangeChunk():
            return request.wait
        case GetOutput():
            return request.timeout is None or request.timeout > 0
        case NextValues():
            return True
    return False
