"""Serves the calls that a client makes, user code in a container before all: answered by the service."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from modal_lite._core.client_messages import Answer, Ask, FromClient, Tell, Withdraw, pack_batch
from modal_lite._core.interfaces import Connection, PlacedContainer
from modal_lite._core.object_requests import (
    DeleteObject,
    OpenObject,
    QueueGet,
    QueueList,
    QueuePut,
    QueueTaken,
    Values,
)
from modal_lite._core.payload import EMPTY, Payload, payload_of
from modal_lite._core.requests import (
    DONE,
    AnyRequest,
    CallKind,
    ExchangeChunk,
    ForgetCall,
    GetOutput,
    NextValues,
    OpenMap,
    OutputBatch,
    Refusal,
    RunCall,
    StartCall,
)
from modal_lite.exception import Error, ExecutionError

logger = logging.getLogger("modal_lite.plane")

_QUEUES = QueuePut | QueueGet | QueueList


class ClientSession:
    """One container's client channel. What its requests have under way ends with the session.

    `on_waiting(waits)` is called when the container's input begins to wait for answers that may take long, and with 0
    when it no longer does; if `every`, with each change, for the inputs of the container wait independently.
    """

    def __init__(
        self, placed: PlacedContainer, service: Connection, on_waiting: Callable[[int], None], every: bool
    ) -> None:
        self._answers = Answers(service, self._send, self._count_waits)
        self._on_waiting = on_waiting
        self._every = every
        self._waits = 0
        self._channel = placed.open_client(FromClient, self._answers.received, lambda error: self.close())

    def close(self) -> None:
        """Cancels what is under way and closes the channel. Safe to call again."""
        self._channel.close()
        self._answers.close()

    def _send(self, message: msgspec.Struct, payload: Payload) -> None:
        self._channel.send(message, payload)

    def _count_waits(self, change: int) -> None:
        before = self._waits
        self._waits += change
        if (self._every or (before == 0) != (self._waits == 0)) and not self._channel.closed:
            self._on_waiting(self._waits)


class Answers:
    """Has one client's requests answered.

    Args:
        service: What answers them.
        send: Takes each answer and its payload.
        count_waits: Told by how many the requests that may take long have become more or fewer.
    """

    def __init__(
        self,
        service: Connection,
        send: Callable[[msgspec.Struct, Payload], None],
        count_waits: Callable[[int], None] = lambda change: None,
    ) -> None:
        self._service = service
        self._send = send
        self._count_waits = count_waits
        self._under_way: dict[int, Callable[[], object]] = {}
        """What ends a request, by its number."""
        self._left_behind: dict[str, AnyRequest] = {}
        """What is to be said if the client ends before it says so itself: by the id that it is about."""
        self._spawning: set[str] = set()
        """Spawned maps whose inputs are not complete. Then they go on by themselves."""

    @property
    def under_way(self) -> int:
        """Requests that have no answer yet."""
        return len(self._under_way)

    def is_under_way(self, number: int) -> bool:
        """True if the request of that number has no answer yet."""
        return number in self._under_way

    def close(self) -> None:
        """Cancels what is under way, and what only this client would have gone on with. Safe to call again."""
        for end in list(self._under_way.values()):
            end()
        # After the ends above: what is about to be answered is still somebody's.
        for request in self._left_behind.values():
            asyncio.get_running_loop().call_soon(self._service.notify, request)
        self._left_behind.clear()

    def received(self, message: Any, body: memoryview) -> None:
        """Takes a message of `FromClient` in."""
        match message:
            case Ask():
                self._hold(message.request)
                if isinstance(message.request, RunCall):
                    self._run(message.number, message.request, payload_of(message.sizes, body))
                else:
                    answer = self._answer_of_queue if isinstance(message.request, _QUEUES) else self._answer
                    task = asyncio.get_running_loop().create_task(answer(message, body))
                    self._under_way[message.number] = task.cancel
                    task.add_done_callback(lambda _: self._under_way.pop(message.number, None))
            case Tell():
                self._note(message.request, DONE)
                self._service.notify(message.request)
            case Withdraw():
                end = self._under_way.get(message.number)
                if end is not None:
                    end()

    def _hold(self, request: AnyRequest) -> None:
        """Keeps what a container would leave behind if it ended before it has the answer."""
        match request:
            case OpenMap() | StartCall(kind=CallKind.GENERATOR):
                self._left_behind[request.call_id] = ForgetCall(request.call_id)
                if request.kind is CallKind.SPAWNED:
                    self._spawning.add(request.call_id)
            case ExchangeChunk(closed=True) if request.call_id in self._spawning:
                self._let_go(request.call_id)

    def _let_go(self, object_id: str) -> None:
        self._left_behind.pop(object_id, None)
        self._spawning.discard(object_id)

    def _run(self, number: int, request: RunCall, payload: Payload) -> None:
        ended = False

        def end() -> None:
            nonlocal ended
            ended = True
            self._under_way.pop(number, None)
            self._count_waits(-1)

        def on_end(reply: OutputBatch | Exception) -> None:
            end()
            self._reply(number, reply)

        self._count_waits(1)
        try:
            withdraw = self._service.run(request, payload, on_end)
        except Exception as error:
            on_end(_refused(error))
            return
        if not ended:

            def give_up() -> None:
                end()
                withdraw()

            self._under_way[number] = give_up

    async def _answer(self, ask: Ask, body: memoryview) -> None:
        waits = _may_wait(ask.request)
        if waits:
            self._count_waits(1)
        try:
            reply = await self._reply_of(ask, body)
        finally:
            if waits:
                self._count_waits(-1)
        self._note(ask.request, reply)
        self._reply(ask.number, reply)

    async def _answer_of_queue(self, ask: Ask, body: memoryview) -> None:
        # What is answered at once is no wait: to say so would have containers started for nothing.
        waits = False

        def begin_to_wait() -> None:
            nonlocal waits
            waits = True
            self._count_waits(1)

        beginning = asyncio.get_running_loop().call_soon(begin_to_wait)
        try:
            reply = await self._reply_of(ask, body)
        finally:
            beginning.cancel()
            if waits:
                self._count_waits(-1)
        self._note(ask.request, reply)
        self._reply(ask.number, reply)

    async def _reply_of(self, ask: Ask, body: memoryview) -> Any:
        try:
            return await self._service.request(ask.request, payload_of(ask.sizes, body))
        except Exception as error:
            return _refused(error)

    def _note(self, request: AnyRequest, reply: Any) -> None:
        """Keeps what a container would leave behind if it ended now."""
        match request:
            case OpenObject(name=None):
                self._left_behind[request.new_id] = DeleteObject(request.new_id)
            case ForgetCall():
                self._let_go(request.call_id)
            case DeleteObject():
                self._let_go(request.object_id)
            case QueueGet() if isinstance(reply, Values) and reply.values:
                # It may have used them already: they are lost with it rather than used twice.
                self._left_behind[request.take_id] = QueueTaken(request.object_id, request.take_id, received=True)
            case QueueTaken():
                self._let_go(request.take_id)

    def _reply(self, number: int, reply: Any) -> None:
        if isinstance(reply, OutputBatch):
            self._send(*pack_batch(number, reply))
        elif isinstance(reply, Exception):
            self._send(Answer(number, Refusal(type(reply).__name__, str(reply))), EMPTY)
        else:
            self._send(Answer(number, reply), EMPTY)


def _refused(error: Exception) -> Exception:
    """What the client is told: whatever came over its channel, who waits there is to have an answer."""
    if isinstance(error, Error | TimeoutError):
        return error
    logger.error("a client's request made no sense", exc_info=error)
    return ExecutionError(f"The request made no sense: {type(error).__name__}: {error}")


def _may_wait(request: AnyRequest) -> bool:
    match request:
        case ExchangeChunk():
            return request.wait
        case GetOutput():
            return request.timeout is None or request.timeout > 0
        case NextValues():
            return True
    return False
