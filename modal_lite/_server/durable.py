"""Calls that survive the server: made by `spawn` and `spawn_map`, kept in the store until their results expire.

A call is in the scheduler while inputs of it are unfinished. Its outputs go into the store, and nobody is shown one
before it is committed. When it has finished and that is committed, it leaves memory.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from modal_lite._core.interfaces import Store
from modal_lite._core.messages import Failure, FailureKind
from modal_lite._core.payload import Payload
from modal_lite._core.requests import CallKind, ExchangeChunk, GetOutput, Output, OutputBatch
from modal_lite._core.stored import StoredCall, StoredChunk, Unfinished
from modal_lite._server.calls import CallState
from modal_lite.call_graph import InputInfo, InputStatus
from modal_lite.exception import ExecutionError, InvalidError, NotFoundError, OutputExpiredError, RequestSizeError

KEEP_OUTPUTS = 7 * 86400.0
"""Seconds from the end of a call until its outputs are deleted."""
KEEP_CALLS = 30 * 86400.0
"""Seconds from the end of a call until nothing is known of it."""
MAX_STORED = 900 << 20
"""Bytes of a payload that can be stored."""
FIRST_DELAY, LAST_DELAY = 1.0, 30.0
"""Seconds until what the store did not take is written again; longer each time."""


class DurableCall(CallState):
    """A call whose outputs are stored.

    `on_output(call, output)` takes each of them.
    """

    __slots__ = ("dropped", "num_inputs", "on_output", "trouble", "unsaved")

    def __init__(self, stored: StoredCall, on_output: Callable[["DurableCall", Output], None]) -> None:
        super().__init__(stored.call_id, stored.function_id, stored.kind, stored.method)
        self.num_inputs = stored.num_inputs
        self.on_output = on_output
        self.unsaved: list[Output] = []
        """Outputs that the store did not take; it is tried again."""
        self.trouble = ""
        """Why not."""
        self.dropped = False

    def deliver(self, output: Output) -> None:
        """Takes an output in, for the store."""
        self.on_output(self, output)

    def finish(self) -> None:
        """No more outputs will come; those that came may have to be stored yet."""
        on_finish, self.on_finish = self.on_finish, None
        if on_finish is not None:
            on_finish(self)

    def stored(self, output: Output) -> None:
        """The output can be read."""
        if output in self.unsaved:
            self.unsaved.remove(output)
        self._wake(output.start, output.count)

    def not_stored(self, output: Output, reason: str) -> None:
        """The output cannot be read yet: who waits for it is told."""
        self.trouble = reason
        if output not in self.unsaved:
            self.unsaved.append(output)
        self._wake(output.start, output.count)

    def lacks(self, index: int) -> bool:
        """True if the input has an output that the store did not take."""
        return any(output.start <= index < output.start + output.count for output in self.unsaved)

    def leave(self) -> None:
        """All of it is in the store."""
        super().finish()


class _Write(NamedTuple):
    """Something of a call that has to be written, however often it takes."""

    call: DurableCall
    put: Callable[[], None]
    on_commit: Callable[[], None]
    on_failure: Callable[[str], None]


class DurableCalls:
    """The calls of one server that are in the store.

    Args:
        store: Keeps them.
        known: Those in memory, by id, among the others.
        graph: Describes a call that is in memory.
        leave: Takes a call out of memory.
    """

    def __init__(
        self,
        store: Store,
        known: dict[str, CallState],
        graph: Callable[[str], list[InputInfo]],
        leave: Callable[[str], None],
    ) -> None:
        self._store = store
        self._known = known
        self._graph = graph
        self._leave = leave
        self._sealed = False
        self._unwritten: list[_Write] = []
        """Writes that the store did not take, and those behind them, in order."""
        self._retry: asyncio.TimerHandle | None = None
        self._delay = FIRST_DELAY

    def seal(self) -> None:
        """Whatever ends from now on does so because the server ends: it is to be done again, not stored."""
        self._sealed = True
        if self._retry is not None:
            self._retry.cancel()

    # --- their life --------------------------------------------------------------------------------------------------

    async def is_known(self, call_id: str) -> bool:
        """True if the call was accepted before: its client asks again after a restart."""
        return call_id in self._known or await self._store.find_call(call_id) is not None

    def open(self, stored: StoredCall) -> DurableCall:
        """Enters a call."""
        self._store.put_call(stored)
        return self._made(stored)

    def reopen(self, unfinished: Unfinished) -> DurableCall:
        """A call that the store has."""
        call = self._made(unfinished.call)
        ends = [chunk.start + chunk.count for chunk in unfinished.chunks]
        call.num_inputs = max(ends, default=0)
        return call

    def add_chunk(self, call: DurableCall, request: ExchangeChunk, payload: Payload) -> bool:
        """Enters inputs of a call; False if they have been before. Raises as `check_storable` does."""
        if request.start < call.num_inputs:
            return False
        check_storable(payload)
        self.put_inputs(call, StoredChunk(request.start, request.count, request.encoding, payload))
        return True

    def put_inputs(self, call: DurableCall, chunk: StoredChunk) -> None:
        """Enters inputs of a call."""
        self._store.put_chunk(call.call_id, chunk)
        call.num_inputs = max(call.num_inputs, chunk.start + chunk.count)

    def close(self, call: DurableCall) -> None:
        """The call gets no more inputs."""
        self._store.close_call(call.call_id, call.num_inputs)

    def drop(self, call_id: str) -> None:
        """Nobody will ask for the call: it was not accepted as a whole."""
        call = self._known.get(call_id)
        if isinstance(call, DurableCall) and not self._sealed:
            call.dropped = True
            self._store.drop_call(call_id)

    def _made(self, stored: StoredCall) -> DurableCall:
        call = DurableCall(stored, self._delivered)
        call.on_finish = self._finished
        return call

    def _delivered(self, call: DurableCall, output: Output) -> None:
        if call.kind is CallKind.SPAWNED and not self._sealed and not call.dropped:
            if output.payload.nbytes > MAX_STORED:
                output = _too_large(output)
            kept = output  # which Python would not know to be one thing
            self._write(
                _Write(
                    call,
                    lambda: self._store.put_output(call.call_id, kept),
                    lambda: call.stored(kept),
                    lambda reason: call.not_stored(kept, reason),
                )
            )

    def _finished(self, call: CallState) -> None:
        assert isinstance(call, DurableCall)
        if self._sealed or call.dropped:
            return
        finished, graph = time.time(), self._graph(call.call_id) if call.kind is CallKind.SPAWNED else []

        def put() -> None:
            if call.kind is CallKind.SPAWNED:
                self._store.finish_call(call.call_id, finished, graph)
            else:
                self._store.drop_call(call.call_id)

        def leave() -> None:
            call.leave()
            self._leave(call.call_id)

        self._write(_Write(call, put, leave, lambda reason: None))

    # --- writing what must not be lost -------------------------------------------------------------------------------

    def _write(self, write: "_Write") -> None:
        """Writes now, or behind what has to be written again."""
        if self._unwritten:
            self._unwritten.append(write)
            return

        def fail(reason: str) -> None:
            write.on_failure(reason)
            self._unwritten.append(write)
            if self._retry is None and not self._sealed:
                self._retry = asyncio.get_running_loop().call_later(self._delay, self._write_again)
                self._delay = min(LAST_DELAY, 2 * self._delay)

        def succeed() -> None:
            self._delay = FIRST_DELAY
            write.on_commit()

        write.put()
        self._store.when_committed(succeed, fail)

    def _write_again(self) -> None:
        self._retry = None
        again, self._unwritten = self._unwritten, []
        for write in again:
            if not write.call.dropped:
                self._write(write)

    # --- reading -----------------------------------------------------------------------------------------------------

    async def output(self, request: GetOutput) -> OutputBatch:
        """The output that was asked for, once it is committed. Raises as `Connection.request` does."""
        async with asyncio.timeout(request.timeout):
            while (output := await self._store.find_output(request.call_id, request.index)) is None:
                call = self._known.get(request.call_id)
                if call is None:
                    raise await self._why_missing(request)
                if isinstance(call, DurableCall) and call.lacks(request.index):
                    raise ExecutionError(
                        f"The result of {request.call_id} is there, but the server could not write it to its store: "
                        f"{call.trouble}. It keeps trying; ask again later."
                    )
                if request.timeout is not None and request.timeout <= 0:
                    raise TimeoutError
                await call.changed(request.index)
        return OutputBatch([output])

    async def find(self, call_id: str) -> StoredCall:
        """A call of the store. Raises NotFoundError."""
        found = await self._store.find_call(call_id)
        if found is None:
            raise unknown_call(call_id)
        return found

    async def graph(self, call_id: str) -> list[InputInfo]:
        """The graph of a call that is not in memory, with what has become since of the calls that it made."""
        await self.find(call_id)
        return [await self._current(node) for node in await self._store.find_graph(call_id)]

    async def _current(self, node: InputInfo) -> InputInfo:
        children: list[InputInfo] = []
        for child in node.children:
            if child.status == InputStatus.PENDING:
                children += await self._again(child)
            else:
                children.append(await self._current(child))
        node.children = children
        return node

    async def _again(self, child: InputInfo) -> list[InputInfo]:
        if child.function_call_id in self._known:
            nodes = self._graph(child.function_call_id)
        else:
            nodes = await self._store.find_graph(child.function_call_id)
        return [node for node in nodes if node.input_id == child.input_id] or [child]

    async def _why_missing(self, request: GetOutput) -> Exception:
        call = await self._store.find_call(request.call_id)
        if call is None:
            return unknown_call(request.call_id)
        if call.expired:
            return OutputExpiredError(
                f"The results of {request.call_id} were deleted {KEEP_OUTPUTS / 86400:g} days after the call had ended."
            )
        return InvalidError(f"The call {request.call_id} has no input number {request.index}.")


def check_storable(payload: Payload) -> None:
    """Raises RequestSizeError for inputs that are too large to be stored."""
    if payload.nbytes > MAX_STORED:
        raise RequestSizeError(
            f"The arguments have {payload.nbytes} bytes; a server keeps at most {MAX_STORED} of a call. "
            "Pass the name of a file instead."
        )


def _too_large(output: Output) -> Output:
    message = (
        f"The result has {output.payload.nbytes} bytes; a server keeps at most {MAX_STORED} of a call. "
        "Write it to a file and return its name."
    )
    return Output(output.start, output.count, Failure(FailureKind.SERIALIZATION, message))


def remaining(chunk: StoredChunk, done: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges [start, stop) of the chunk's inputs that are not among the ones that are done, which are in order."""
    ranges, at, stop = [], chunk.start, chunk.start + chunk.count
    for done_start, done_stop in done:
        if done_stop <= at:
            continue
        if done_start >= stop:
            break
        if done_start > at:
            ranges.append((at, done_start))
        at = done_stop
    if at < stop:
        ranges.append((at, stop))
    return ranges


def unknown_call(call_id: str) -> NotFoundError:
    """The error for a call that the server has not, or no longer."""
    return NotFoundError(
        f"There is no function call {call_id} on the server. Calls made by spawn are known until "
        f"{KEEP_CALLS / 86400:g} days after their end."
    )
