"""Runs coroutine functions, and async generators, on a loop of the container's own."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextvars import copy_context
from types import FrameType
from typing import Any, TypeVar

from modal_lite._core.context import input_context
from modal_lite._core.held import hold
from modal_lite._core.messages import Failure, Lease
from modal_lite._core.web import unpack_request
from modal_lite._transport.blocking import ConnectionClosed
from modal_lite._transport.progress import RUNNING
from modal_lite._worker import outcomes, reports
from modal_lite._worker.callee import Callees
from modal_lite._worker.chunks import Invoke, decode
from modal_lite._worker.executor import Target
from modal_lite._worker.generator_stream import GeneratorStream
from modal_lite._worker.leases import Leases
from modal_lite._worker.process import flush_output
from modal_lite._worker.running_lease import FLUSH_INTERVAL, RunningLease
from modal_lite._worker.web_exchange import Exchange, Serving

T = TypeVar("T")


class AsyncExecutor:
    """One loop for the container's life, so that what the function leaves running goes on between inputs.

    Each input is a task of its own, which an interruption cancels.
    """

    def __init__(self, callees: Callees, leases: Leases, words: "memoryview[int]", runner: asyncio.Runner) -> None:
        self._callees = callees
        self._leases = leases
        self._words = words
        self._runner = runner
        self._loop = runner.get_loop()
        self._arrived = asyncio.Event()
        self._tasks: dict[tuple[int, int], asyncio.Task[Any]] = {}
        """By the lease that runs and the input's index in it."""
        self._typed: set[tuple[int, int]] = set()
        """Those of them that Ctrl-C was typed for."""
        self._streams: dict[int, GeneratorStream | Exchange] = {}
        """By the lease of the generator, or the request, that runs."""
        leases.on_arrival = self.wake

    def serve(self) -> None:
        """See `Executor`."""
        self._runner.run(self._serve())

    # --- the control thread ------------------------------------------------------------------------------------------

    def interrupt(self, target: Target) -> None:
        """See `Executor`."""
        self._call_in_loop(lambda: self._cancel(target))

    def nudge(self) -> bool:
        """See `Executor`. One cancellation is enough."""
        return False

    def credit(self, lease_id: int, consumed: int) -> None:
        """See `Executor`."""
        stream = self._streams.get(lease_id)
        if stream is not None:
            stream.credit(consumed)

    def wake(self) -> None:
        """See `Executor`."""
        self._call_in_loop(self._arrived.set)

    def runs_user_code(self, frame: FrameType | None) -> bool:
        """See `Executor`."""
        return False

    def _call_in_loop(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            pass  # The loop is closed: the container is leaving.

    # --- the main thread ---------------------------------------------------------------------------------------------

    def _cancel(self, target: Target) -> None:
        key = (target.lease.lease_id, target.index)
        task = self._tasks.get(key)
        if task is not None and not target.lease.is_over(target.index):
            if target.typed:
                self._typed.add(key)
            task.cancel()

    async def _serve(self) -> None:
        while (arrived := await self.next()) is not None:
            await self.run(*arrived)
            del arrived

    async def next(self) -> tuple[RunningLease, Lease, memoryview] | None:
        """The next lease to run; None when the container is to stop."""
        fd = self._leases.channel.fileno()
        while not self._leases.stopping:
            arrived = self._leases.next_if_any()
            if arrived is not None:
                return arrived
            self._arrived.clear()
            self._loop.add_reader(fd, self._arrived.set)
            try:
                await self._arrived.wait()
            finally:
                self._loop.remove_reader(fd)
        return None

    async def run(self, running: RunningLease, lease: Lease, body: memoryview) -> None:
        """Runs the inputs of one lease."""
        callee = self._callees[lease.method]
        try:
            if callee.web is not None:
                await self._run_request(running, lease, body, callee.web)
                return
            try:
                invoke, items = decode(lease, body, callee.function, callee.tag)
            except BaseException as error:
                reports.refuse_all(running, callee.tag, error)
                return
            while (indices := running.next_run()) is not None:
                if callee.is_generator:
                    for index in indices:
                        await self._run_generator(running, index, invoke, items[index - lease.chunk_start])
                else:
                    await self._run_inputs(running, indices, invoke, items, lease.chunk_start)
        finally:
            self._leases.end(running)

    async def _run_inputs(
        self, running: RunningLease, indices: Iterator[int], invoke: Invoke, items: Any, offset: int
    ) -> None:
        due = self._loop.time() + FLUSH_INTERVAL
        for index in indices:
            self._words[RUNNING] = index + 1
            value, error = await self._in_task(running, index, _call(invoke, items[index - offset]))
            if error is not None:
                reports.fail(running, index, error)
            else:
                reports.keep(running, index, self._callees[running.method].tag, value)
            if self._loop.time() >= due:
                flush_output()
                running.flush()
                due = self._loop.time() + FLUSH_INTERVAL
        flush_output()

    async def _in_task(
        self, running: RunningLease, index: int, coroutine: Coroutine[Any, Any, T]
    ) -> tuple[T | None, BaseException | None]:
        """The coroutine's result or exception, run in a task that knows which input it belongs to.

        As in `asyncio.run`, a cancellation that Ctrl-C has begun ends as KeyboardInterrupt if nobody catches it.
        """
        context = copy_context()
        context.run(input_context.set, (running.call_id, index))
        task = self._loop.create_task(guard(coroutine), context=context)
        key = (running.lease_id, index)
        self._tasks[key] = task
        try:
            value, error = await task
        except asyncio.CancelledError as cancelled:
            coroutine.close()  # Cancelled before its first step.
            value, error = None, cancelled
        finally:
            del self._tasks[key]
        if self._typed and key in self._typed:
            self._typed.discard(key)
            if isinstance(error, asyncio.CancelledError):
                error = KeyboardInterrupt()
        return value, error

    async def _run_generator(self, running: RunningLease, index: int, invoke: Invoke, item: Any) -> None:
        self._words[RUNNING] = index + 1
        stream = self._streams[running.lease_id] = GeneratorStream(running.lease_id, self._leases.channel)
        try:
            values = self._stream_values(invoke, item, stream, self._callees[running.method].tag)
            failure, error = await self._in_task(running, index, values)
            if isinstance(error, ConnectionClosed):
                raise error
        finally:
            del self._streams[running.lease_id]
            stream.close()
        flush_output()
        if error is not None:
            reports.fail(running, index, error)
        elif failure is not None:
            running.fail(index, failure)
        else:
            running.generator_done(stream.count)

    async def _run_request(self, running: RunningLease, lease: Lease, body: memoryview, serving: Serving) -> None:
        for index in running.next_run() or ():
            self._words[RUNNING] = index + 1
            request, first = unpack_request(lease.sizes, body)
            exchange = Exchange(lease.lease_id, request, first, self._leases.channel.send, self._leases.tell)
            self._streams[lease.lease_id] = self._leases.exchanges[lease.lease_id] = exchange
            try:
                end, error = await self._in_task(running, index, serving.serve(exchange))
            finally:
                del self._streams[lease.lease_id], self._leases.exchanges[lease.lease_id]
            flush_output()
            if end is not None:
                running.succeed(index, end)
            elif isinstance(error, ConnectionClosed):
                raise error
            else:
                reports.fail(running, index, error or RuntimeError("The request was not answered."))

    async def _stream_values(self, invoke: Invoke, item: Any, stream: GeneratorStream, tag: str) -> Failure | None:
        """Sends what the generator yields. Returns why it was ended early, None if it ended by itself."""
        generator = invoke(item)
        if not isinstance(generator, AsyncIterator):
            return outcomes.no_iterator(tag, generator)
        room = asyncio.Event()
        stream.on_room = lambda: self._call_in_loop(room.set)
        try:
            async for value in generator:
                try:
                    held, payload = hold(value)
                except BaseException as error:
                    return outcomes.unpicklable(tag, value, error)
                stream.put(held, payload)
                while not stream.has_room:
                    room.clear()
                    # What came between the question and the clearing has set it for nothing.
                    if not stream.has_room:
                        await room.wait()
            return None
        finally:
            close = getattr(generator, "aclose", None)
            if close is not None:
                await close()


async def guard(coroutine: Coroutine[Any, Any, T]) -> tuple[T | None, BaseException | None]:
    """Keeps SystemExit and KeyboardInterrupt from ending the loop where they are raised."""
    try:
        return await coroutine, None
    except BaseException as error:
        return None, error


async def _call(invoke: Invoke, item: Any) -> Any:
    value = invoke(item)
    return await value if inspect.isawaitable(value) else value
