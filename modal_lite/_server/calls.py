"""What the control plane holds of a call: the chunks still needed, the outputs not yet taken, who waits for them."""

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from modal_lite._core.messages import Encoding
from modal_lite._core.payload import Payload
from modal_lite._core.requests import CallKind, Output


class Chunk(msgspec.Struct, eq=False):
    """The pickled arguments of some inputs; dropped when the last of them is done."""

    encoding: Encoding
    payload: Payload
    outstanding: int


class CallState:
    """One call's payloads. Its bookkeeping (what runs, what waits) is the scheduler's.

    SPAWNED calls keep their outputs; the others hand each out once.
    """

    __slots__ = (
        "credit",
        "call_id",
        "chunks",
        "consumed",
        "finished",
        "function_id",
        "kept",
        "kind",
        "method",
        "on_finish",
        "ready",
        "received",
        "waiters",
    )

    def __init__(self, call_id: str, function_id: str, kind: CallKind, method: str = "") -> None:
        self.call_id = call_id
        self.function_id = function_id
        self.kind = kind
        self.method = method
        """Of a class: which method its inputs are for."""
        self.chunks: dict[int, Chunk] = {}
        self.ready: list[Output] = []
        self.kept: dict[int, Output] = {}
        self.finished = False
        self.received = 0
        """Values that the generator has sent."""
        self.consumed = 0
        """Values that its consumer has taken."""
        self.credit: Callable[[int], None] | None = None
        """Tells the container that runs the generator how many values have been taken."""
        self.waiters: dict[int | None, list[asyncio.Future[None]]] = {}
        """Who waits, by the only input that is worth waking it for, None if any is."""
        self.on_finish: Callable[[CallState], None] | None = None
        """Called when no more outputs will come."""

    def settle(self, chunk_start: int, count: int) -> None:
        """`count` inputs of the chunk need their arguments no more."""
        chunk = self.chunks[chunk_start]
        chunk.outstanding -= count
        if chunk.outstanding == 0:
            del self.chunks[chunk_start]

    def deliver(self, output: Output) -> None:
        """Takes an output in and wakes who waits."""
        if self.kind is CallKind.SPAWNED:
            for index in range(output.start, output.start + output.count):
                self.kept[index] = output
        elif self.kind is not CallKind.DETACHED:
            self.ready.append(output)
        self._wake(output.start, output.count)

    def finish(self) -> None:
        """No more outputs will come."""
        self.finished = True
        for together in self.waiters.values():
            self._wake_all(together)
        self.waiters.clear()
        on_finish, self.on_finish = self.on_finish, None
        if on_finish is not None:
            on_finish(self)

    def take(self) -> list[Output]:
        """The outputs that are there, for the one consumer."""
        outputs, self.ready = self.ready, []
        return outputs

    def holds(self, awaited: int | None) -> bool:
        """True if an output is there that starts with this input, or any if it is None."""
        if awaited is None:
            return bool(self.ready)
        return any(output.start == awaited for output in self.ready)

    async def changed(self, awaited: int | None = None) -> None:
        """Returns after the next delivery (of an output that holds input `awaited`, if given), or the end.

        Cancelling it leaves nothing behind.
        """
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.setdefault(awaited, []).append(waiter)
        try:
            await waiter
        finally:
            together = self.waiters.get(awaited, [])
            if waiter in together:
                together.remove(waiter)
                if not together:
                    del self.waiters[awaited]

    def _wake(self, start: int, count: int) -> None:
        """Wakes those for whom these inputs are worth it: in time that does not grow with the number of the others."""
        waiters = self.waiters
        if len(waiters) > count:
            awaited: list[int | None] = [index for index in range(start, start + count) if index in waiters]
        else:
            awaited = [index for index in waiters if index is not None and start <= index < start + count]
        for index in (None, *awaited):
            self._wake_all(waiters.pop(index, ()))

    def _wake_all(self, together: Iterable[asyncio.Future[None]]) -> None:
        for waiter in together:
            if not waiter.done():
                waiter.set_result(None)
