"""Runs coroutine functions for several inputs at once."""

import asyncio

from modal_lite._core.messages import Lease
from modal_lite._worker.async_executor import AsyncExecutor
from modal_lite._worker.running_lease import RunningLease


class TaskExecutor(AsyncExecutor):
    """As `AsyncExecutor`, but the next lease does not wait for the one before: the scheduler says how many there are.

    Interrupting one input cancels its task; the others go on.
    """

    async def _serve(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                while (arrived := await self.next()) is not None:
                    self._begin(group, *arrived)
                    del arrived
        except BaseExceptionGroup as errors:
            # What ends the container, such as a lost connection, ends all tasks alike: one of them tells enough.
            raise errors.exceptions[0] from None

    def _begin(self, group: asyncio.TaskGroup, running: RunningLease, lease: Lease, body: memoryview) -> None:
        group.create_task(self.run(running, lease, body))
