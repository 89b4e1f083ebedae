"""Runs the methods of a class for several inputs at once, where some are async and some are not, or the hooks are."""

import asyncio

from modal_lite._core.messages import Lease
from modal_lite._worker.callee import Callees
from modal_lite._worker.executor import Target
from modal_lite._worker.leases import Leases
from modal_lite._worker.running_lease import RunningLease
from modal_lite._worker.task_executor import TaskExecutor
from modal_lite._worker.thread_executor import ThreadExecutor


class MixedTaskExecutor(TaskExecutor):
    """As `TaskExecutor`, with a thread for each input of a method that is not async: the loop is not to wait for it."""

    def __init__(self, callees: Callees, leases: Leases, words: "memoryview[int]", runner: asyncio.Runner) -> None:
        super().__init__(callees, leases, words, runner)
        self._threads = ThreadExecutor(callees, leases, words)

    def _begin(self, group: asyncio.TaskGroup, running: RunningLease, lease: Lease, body: memoryview) -> None:
        if self._callees[lease.method].is_async:
            super()._begin(group, running, lease, body)
        else:
            self._threads.begin(running, lease, body)

    # --- the control thread ------------------------------------------------------------------------------------------

    def interrupt(self, target: Target) -> None:
        """See `Executor`."""
        if self._callees[target.lease.method].is_async:
            super().interrupt(target)
        else:
            self._threads.interrupt(target)

    def credit(self, lease_id: int, consumed: int) -> None:
        """See `Executor`."""
        super().credit(lease_id, consumed)
        self._threads.credit(lease_id, consumed)
