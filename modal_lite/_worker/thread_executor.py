"""Runs plain functions for several inputs at once."""

import signal
import threading
from contextvars import copy_context
from queue import SimpleQueue
from types import FrameType

from modal_lite._core.context import input_context
from modal_lite._core.messages import Lease
from modal_lite._transport.blocking import ConnectionClosed
from modal_lite._worker.callee import Callees
from modal_lite._worker.executor import Target
from modal_lite._worker.leases import Leases
from modal_lite._worker.running_lease import RunningLease
from modal_lite._worker.sync_executor import SyncExecutor


class ThreadExecutor(SyncExecutor):
    """As `SyncExecutor`, but each lease has a thread; the main thread hands them over and runs none.

    Threads cannot be interrupted: the plane ends the container instead. They are daemons, so that none of them keeps it
    from ending.
    """

    def __init__(self, callees: Callees, leases: Leases, words: "memoryview[int]") -> None:
        super().__init__(callees, leases, words)
        self._inbox: SimpleQueue[tuple[RunningLease, Lease, memoryview]] = SimpleQueue()
        self._idle = threading.Semaphore(0)

    def serve(self) -> None:
        """See `Executor`."""
        while (arrived := self._leases.next()) is not None:
            self.begin(*arrived)
            del arrived

    def begin(self, running: RunningLease, lease: Lease, body: memoryview) -> None:
        """Gives the lease to a thread."""
        self._inbox.put((running, lease, body))
        if not self._idle.acquire(blocking=False):
            threading.Thread(target=self._work, name="modal_lite-input", daemon=True).start()

    # --- the control thread ------------------------------------------------------------------------------------------

    def interrupt(self, target: Target) -> None:
        """See `Executor`. A generator ends when it next yields; other code goes on."""
        stream = self._streams.get(target.lease.lease_id)
        if stream is not None:
            stream.interrupt()

    def nudge(self) -> bool:
        """See `Executor`."""
        return False

    # --- signal handlers ---------------------------------------------------------------------------------------------

    def runs_user_code(self, frame: FrameType | None) -> bool:
        """See `SyncExecutor`. On the main thread nothing is the user's."""
        return False

    # --- the threads -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            running, lease, body = self._inbox.get()
            context = copy_context()
            context.run(input_context.set, (running.call_id, lease.start))
            try:
                context.run(self.run, running, lease, body)
            except ConnectionClosed:
                return  # The main thread finds out by itself.
            except KeyboardInterrupt:
                signal.pthread_kill(self._main_thread, signal.SIGINT)
            # Before the wait for the next one, which may be long, nothing of this one is kept alive.
            del running, lease, body, context
            self._idle.release()
