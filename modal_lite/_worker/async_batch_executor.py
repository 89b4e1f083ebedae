"""Runs coroutine functions, one batch of inputs at a time."""

import asyncio
from contextvars import copy_context
from typing import Any

from modal_lite._core.context import input_context
from modal_lite._core.messages import Lease
from modal_lite._worker.async_executor import AsyncExecutor, guard
from modal_lite._worker.batches import Batch, BatchedFunction
from modal_lite._worker.callee import Callee
from modal_lite._worker.executor import Target
from modal_lite._worker.leases import Leases
from modal_lite._worker.running_lease import RunningLease


class AsyncBatchExecutor(AsyncExecutor):
    """Gathers inputs as `BatchExecutor` does, and runs them in one task, which an interruption cancels."""

    def __init__(
        self,
        callee: Callee,
        size: int,
        wait: float,
        leases: Leases,
        words: "memoryview[int]",
        runner: asyncio.Runner,
    ) -> None:
        super().__init__({}, leases, words, runner)
        self._batched = BatchedFunction(callee.function, callee.tag)
        self._size = size
        self._wait = wait
        self._batch: Batch | None = None
        self._task: asyncio.Task[Any] | None = None

    def _cancel(self, target: Target) -> None:
        if self._batch is not None and self._batch.interrupt(target) and self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        while (first := await self.next()) is not None:
            self._batch = Batch(self._batched, self._leases)
            await self._gather(self._batch, first)
            del first
            await self._run_batch(self._batch)
            self._batch = None

    async def _gather(self, batch: Batch, first: tuple[RunningLease, Lease, memoryview]) -> None:
        batch.add(*first)
        try:
            async with asyncio.timeout(self._wait):
                while len(batch) < self._size and (arrived := await self.next()) is not None:
                    batch.add(*arrived)
        except TimeoutError:
            pass  # A partial batch.

    async def _run_batch(self, batch: Batch) -> None:
        inputs = batch.start()
        if not inputs:
            return
        context = copy_context()
        context.run(input_context.set, batch.first)
        self._task = self._loop.create_task(guard(self._call_batched(inputs)), context=context)
        try:
            values, error = await self._task
        except asyncio.CancelledError as cancelled:
            error = cancelled  # Before its first step.
        finally:
            self._task = None
        if batch.typed and isinstance(error, asyncio.CancelledError):
            error = KeyboardInterrupt()
        if error is None:
            batch.succeed(values)
        else:
            batch.fail(error)

    async def _call_batched(self, inputs: list[dict[str, Any]]) -> Any:
        return await self._batched.call(inputs)
