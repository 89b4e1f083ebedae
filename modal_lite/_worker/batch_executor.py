"""Runs plain functions on the main thread, one batch of inputs at a time."""

import signal
import threading
from contextvars import copy_context
from time import perf_counter
from types import FrameType
from typing import Any

from modal_lite._core.context import input_context
from modal_lite._worker.batches import Batch, BatchedFunction
from modal_lite._worker.callee import Callee
from modal_lite._worker.executor import INTERRUPT_SIGNAL, Target
from modal_lite._worker.leases import Leases
from modal_lite.exception import InputCancellation


class BatchExecutor:
    """Gathers inputs, from the first for `wait` seconds or until there are `size`, and runs them together.

    An interruption is a signal to the main thread, as in `SyncExecutor`.
    """

    def __init__(self, callee: Callee, size: int, wait: float, leases: Leases) -> None:
        self._function = BatchedFunction(callee.function, callee.tag)
        self._size = size
        self._wait = wait
        self._leases = leases
        self._batch = Batch(self._function, leases)
        self._in_user_code = False
        self._interrupted: Batch | None = None
        """The batch whose function is to be interrupted, until it was."""
        self._main_thread = threading.get_ident()
        signal.signal(INTERRUPT_SIGNAL, self._on_interrupt)

    def serve(self) -> None:
        """See `Executor`."""
        while self._gather():
            self._run(self._batch)
            # Before the wait for the next one, which may be long, nothing of this one is kept alive.
            self._batch = Batch(self._function, self._leases)

    # --- the control thread ------------------------------------------------------------------------------------------

    def interrupt(self, target: Target) -> None:
        """See `Executor`."""
        batch = self._batch
        if batch.interrupt(target):
            self._interrupted = batch
            signal.pthread_kill(self._main_thread, INTERRUPT_SIGNAL)

    def nudge(self) -> bool:
        """See `Executor`. The first signal may have come a moment before the function began."""
        if self._interrupted is None or self._interrupted is not self._batch:
            return False
        signal.pthread_kill(self._main_thread, INTERRUPT_SIGNAL)
        return True

    def credit(self, lease_id: int, consumed: int) -> None:
        """See `Executor`. No generator is batched."""

    def wake(self) -> None:
        """See `Executor`. The end of the data channel, which the caller has shut down, wakes the main thread."""

    # --- signal handlers ---------------------------------------------------------------------------------------------

    def runs_user_code(self, frame: FrameType | None) -> bool:
        """For signal handlers: True if what they interrupted is the user's."""
        return self._in_user_code

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self._interrupted is not self._batch or not self._in_user_code:
            return
        # Once only: the function's own cleaning up is not to be interrupted.
        self._interrupted = None
        if self._batch.typed:
            raise KeyboardInterrupt
        raise InputCancellation("the inputs of this batch were cancelled, or ran into their timeout")

    # --- the main thread ---------------------------------------------------------------------------------------------

    def _gather(self) -> bool:
        """Fills the batch. False when the container is to stop."""
        arrived = self._leases.next()
        due = perf_counter() + self._wait
        while arrived is not None:
            self._batch.add(*arrived)
            if len(self._batch) == self._size:
                break
            arrived = self._leases.next_if_any(max(0.0, due - perf_counter()))
        return not self._leases.stopping

    def _run(self, batch: Batch) -> None:
        inputs = batch.start()
        if not inputs:
            return
        context = copy_context()
        context.run(input_context.set, batch.first)
        try:
            values = context.run(self._call_user, inputs)
        except BaseException as error:
            self._in_user_code = False
            batch.fail(error)
        else:
            batch.succeed(values)

    def _call_user(self, inputs: list[dict[str, Any]]) -> Any:
        try:
            self._in_user_code = True
            return self._function.call(inputs)
        finally:
            self._in_user_code = False
