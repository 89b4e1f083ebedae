"""Runs plain functions, and plain generators, on the main thread."""

import signal
import threading
from collections.abc import Callable, Iterator
from time import perf_counter
from types import FrameType
from typing import Any

from modal_lite._core.failures import pack_exception
from modal_lite._core.held import PLAIN, hold
from modal_lite._core.messages import Failure, FailureKind, Lease
from modal_lite._core.payload import EMPTY
from modal_lite._transport.blocking import ConnectionClosed
from modal_lite._transport.progress import RUNNING
from modal_lite._worker import outcomes, reports
from modal_lite._worker.callee import Callees
from modal_lite._worker.chunks import Invoke, decode
from modal_lite._worker.executor import INTERRUPT_SIGNAL, Target
from modal_lite._worker.generator_stream import GeneratorStream
from modal_lite._worker.leases import Leases
from modal_lite._worker.process import flush_output
from modal_lite._worker.running_lease import FLUSH_INTERVAL, RunningLease
from modal_lite.exception import InputCancellation


class SyncExecutor:
    """The hot path: per input one function call, one word of shared memory, one look at the clock.

    An interruption is a signal to the main thread. Its handler raises only while the user's code runs: `_in_user_code`
    is set around the loops below, and whether their own frame is on top tells the function from the loop itself.
    """

    def __init__(self, callees: Callees, leases: Leases, words: "memoryview[int]") -> None:
        self._callees = callees
        self._leases = leases
        self._words = words
        self._in_user_code = False
        self._target: Target | None = None
        self._streams: dict[int, GeneratorStream] = {}
        """By the lease of the generator that runs."""
        self._main_thread = threading.get_ident()
        signal.signal(INTERRUPT_SIGNAL, self._on_interrupt)

    def serve(self) -> None:
        """See `Executor`."""
        while (arrived := self._leases.next()) is not None:
            running, lease, body = arrived
            self.run(running, lease, body)
            # Before the wait for the next one, which may be long, nothing of this one is kept alive.
            del arrived, running, lease, body

    # --- the control thread ------------------------------------------------------------------------------------------

    def interrupt(self, target: Target) -> None:
        """See `Executor`."""
        self._target = target
        stream = self._streams.get(target.lease.lease_id)
        if stream is not None:
            stream.interrupt()
        signal.pthread_kill(self._main_thread, INTERRUPT_SIGNAL)

    def nudge(self) -> bool:
        """See `Executor`. The first signal may have come a moment before the function began."""
        target = self._target
        if target is None or target.lease.is_over(target.index):
            return False
        self.interrupt(target)
        return True

    def credit(self, lease_id: int, consumed: int) -> None:
        """See `Executor`."""
        stream = self._streams.get(lease_id)
        if stream is not None:
            stream.credit(consumed)

    def wake(self) -> None:
        """See `Executor`. The end of the data channel, which the caller has shut down, wakes the main thread."""

    # --- signal handlers ---------------------------------------------------------------------------------------------

    def runs_user_code(self, frame: FrameType | None) -> bool:
        """See `Executor`."""
        return self._in_user_code and frame is not None and frame.f_code not in _OWN_LOOPS

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        target = self._target
        if target is None or not self.runs_user_code(frame) or self._words[RUNNING] != target.index + 1:
            return
        # Once only: the function's own cleaning up is not to be interrupted.
        self._target = None
        if target.typed:
            raise KeyboardInterrupt
        raise InputCancellation("the input ran into its timeout" if target.timed_out else "the input was cancelled")

    # --- the main thread ---------------------------------------------------------------------------------------------

    def run(self, running: RunningLease, lease: Lease, body: memoryview) -> None:
        """Runs the inputs of one lease."""
        callee = self._callees[lease.method]
        try:
            try:
                invoke, items = decode(lease, body, callee.function, callee.tag)
            except BaseException as error:
                reports.refuse_all(running, callee.tag, error)
                return
            while (indices := running.next_run()) is not None:
                if callee.is_generator:
                    for index in indices:
                        self._run_generator(running, index, invoke, items[index - lease.chunk_start])
                else:
                    self._run_inputs(running, indices, invoke, items, lease.chunk_start)
        finally:
            self._target = None
            self._leases.end(running)

    def _run_inputs(
        self, running: RunningLease, indices: Iterator[int], invoke: Invoke, items: Any, offset: int
    ) -> None:
        words, append, plain, clock = self._words, running.values.append, PLAIN, perf_counter
        due = clock() + FLUSH_INTERVAL
        self._in_user_code = True
        for index in indices:
            words[RUNNING] = index + 1
            try:
                value = invoke(items[index - offset])
            except BaseException as error:
                self._in_user_code = False
                reports.fail(running, index, error)
            else:
                if type(value) in plain:
                    append(value)
                    if clock() < due:
                        continue
                    self._in_user_code = False
                else:
                    self._in_user_code = False
                    reports.keep(running, index, self._callees[running.method].tag, value)
                    del value
            if clock() >= due:
                flush_output()
                running.flush()
                due = clock() + FLUSH_INTERVAL
            self._in_user_code = True
        self._in_user_code = False
        flush_output()

    def _run_generator(self, running: RunningLease, index: int, invoke: Invoke, item: Any) -> None:
        self._words[RUNNING] = index + 1
        failure, payload = None, EMPTY
        tag = self._callees[running.method].tag
        stream = self._streams[running.lease_id] = GeneratorStream(running.lease_id, self._leases.channel)
        try:
            generator = self._call_user(invoke, item)
            if isinstance(generator, Iterator):
                failure = self._stream_values(generator, stream, tag)
            else:
                failure = outcomes.no_iterator(tag, generator)
        except BaseException as error:
            if isinstance(error, ConnectionClosed):
                raise
            if reports.ends_container(error):
                running.abandoned = True
                raise
            failure, payload = pack_exception(error, FailureKind.USER)
        finally:
            self._in_user_code = False
            del self._streams[running.lease_id]
            stream.close()
        flush_output()
        if failure is None:
            running.generator_done(stream.count)
        else:
            running.fail(index, failure, payload)

    def _stream_values(self, generator: Iterator[Any], stream: GeneratorStream, tag: str) -> Failure | None:
        """Sends what the generator yields. Returns why it was ended early, None if it ended by itself."""
        try:
            while stream.wait_for_room():
                try:
                    value = self._call_user(next, generator)
                except StopIteration:
                    return None
                try:
                    held, payload = hold(value)
                except BaseException as error:
                    return outcomes.unpicklable(tag, value, error)
                stream.put(held, payload)
                del value
            if self._target is not None and self._target.typed:
                raise KeyboardInterrupt
            return outcomes.interrupted(timed_out=False)
        finally:
            close = getattr(generator, "close", None)
            if close is not None:
                close()

    def _call_user(self, function: Callable[[Any], Any], argument: Any) -> Any:
        try:
            self._in_user_code = True
            return function(argument)
        finally:
            self._in_user_code = False


_OWN_LOOPS = frozenset({SyncExecutor._run_inputs.__code__, SyncExecutor._call_user.__code__})
"""What is on top while a loop is at work and not the function; an exception raised there would be lost or misplaced."""
