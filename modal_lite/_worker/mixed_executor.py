"""Runs the methods of a class of which some are async and some are not, or whose hooks are."""

import asyncio
from types import FrameType

from modal_lite._worker.async_executor import AsyncExecutor
from modal_lite._worker.callee import Callees
from modal_lite._worker.executor import Target
from modal_lite._worker.leases import Leases
from modal_lite._worker.sync_executor import SyncExecutor


class MixedExecutor:
    """Waits for leases in the loop, so that what async code has left running goes on, and leaves it for sync methods.

    These run on the main thread with no event loop running, as they would in a class that has none.
    """

    def __init__(self, callees: Callees, leases: Leases, words: "memoryview[int]", runner: asyncio.Runner) -> None:
        self._callees = callees
        self._runner = runner
        self._sync = SyncExecutor(callees, leases, words)
        self._async = AsyncExecutor(callees, leases, words, runner)

    def serve(self) -> None:
        """See `Executor`."""
        while (arrived := self._runner.run(self._async.next())) is not None:
            running, lease, body = arrived
            if self._callees[lease.method].is_async:
                self._runner.run(self._async.run(running, lease, body))
            else:
                self._sync.run(running, lease, body)
            del arrived, running, lease, body

    # --- the control thread ------------------------------------------------------------------------------------------

    def interrupt(self, target: Target) -> None:
        """See `Executor`."""
        if self._callees[target.lease.method].is_async:
            self._async.interrupt(target)
        else:
            self._sync.interrupt(target)

    def nudge(self) -> bool:
        """See `Executor`."""
        return self._sync.nudge()

    def credit(self, lease_id: int, consumed: int) -> None:
        """See `Executor`."""
        self._sync.credit(lease_id, consumed)
        self._async.credit(lease_id, consumed)

    def wake(self) -> None:
        """See `Executor`."""
        self._async.wake()

    def runs_user_code(self, frame: FrameType | None) -> bool:
        """See `Executor`."""
        return self._sync.runs_user_code(frame)
