"""The leases of a container: those that wait, those that run, and what was asked about either."""

import select
import threading
from collections import deque
from collections.abc import Callable

from modal_lite._core.context import current_input
from modal_lite._core.messages import ANY_INPUT, Lease, RequestTaken, Returned
from modal_lite._transport.blocking import BlockingChannel
from modal_lite._transport.progress import LEASE, RUNNING
from modal_lite._worker.running_lease import RunningLease
from modal_lite._worker.web_exchange import Exchange

_REMEMBERED = 256
"""Ended leases that are remembered. What is asked about a lease crosses its last report by a few leases at most."""


class Leases:
    """Hands leases to the main thread and carries out what the control thread is told about them.

    Whoever reads the data channel holds `_reading`: the main thread while it waits for work, the control thread to look
    for a lease that is to be given back while the main thread is busy.
    """

    def __init__(self, channel: BlockingChannel, words: "memoryview[int]") -> None:
        self.exchanges: dict[int, Exchange] = {}
        """The requests to web functions that run, by their leases. The control thread reads it."""
        self.tell: Callable[[RequestTaken], None] = lambda message: None
        """Takes messages for the control channel."""
        self.on_arrival: Callable[[], None] | None = None
        """Called, from the control thread, after it has read leases that the main thread would wait for."""
        self.channel = channel
        self._words = words
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._waiting: deque[tuple[Lease, memoryview]] = deque()
        self._recalled: set[int] = set()
        """Leases to be given back that have not arrived, or that the main thread has just taken."""
        self._interrupted: dict[int, dict[int, bool]] = {}
        self._ended: deque[int] = deque(maxlen=_REMEMBERED)
        self._running: dict[int, RunningLease] = {}
        """By their ids. A container runs one at a time unless its function runs several inputs at once."""
        self._latest: RunningLease | None = None
        self._before_next: Callable[[], None] | None = None
        self._stopping = False

    # --- the main thread ---------------------------------------------------------------------------------------------

    def next(self) -> tuple[RunningLease, Lease, memoryview] | None:
        """The next lease to run; None when the container is to stop. Raises ConnectionClosed when the plane is gone."""
        while not self._stopping:
            with self._reading:
                lease, body = self._pop_waiting() or self.channel.recv()
            running = self._begin(lease)
            if running is not None:
                return running, lease, body
        return None

    def next_if_any(self, seconds: float = 0.0) -> tuple[RunningLease, Lease, memoryview] | None:
        """As `next`, but None if no lease has arrived, or arrives within so many seconds."""
        while not self._stopping:
            with self._reading:
                arrived = self._pop_waiting() or (self.channel.recv() if self._readable(seconds) else None)
            if arrived is None:
                return None
            lease, body = arrived
            running = self._begin(lease)
            if running is not None:
                return running, lease, body
        return None

    def end(self, running: RunningLease) -> None:
        """The lease given by `next` is done."""
        if not running.abandoned:
            # Else the plane is to see which input the container ended with.
            self._words[RUNNING] = 0
        running.flush()
        with self._lock:
            self._ended.append(running.lease_id)
            del self._running[running.lease_id]
            self._latest = None

    @property
    def stopping(self) -> bool:
        """True once the container is to leave."""
        return self._stopping

    def _pop_waiting(self) -> tuple[Lease, memoryview] | None:
        try:
            # The control thread may remove one at any moment.
            return self._waiting.popleft()
        except IndexError:
            return None

    def _begin(self, lease: Lease) -> RunningLease | None:
        with self._lock:
            if lease.lease_id in self._recalled:
                self._recalled.discard(lease.lease_id)
                self._interrupted.pop(lease.lease_id, None)
                self._return_all(lease)
                return None
            if self._stopping:
                return None
            running = RunningLease(lease, self.channel, self._lock, self._interrupted.pop(lease.lease_id, {}))
            running.before_report, self._before_next = self._before_next, None
            self._running[lease.lease_id] = self._latest = running
            self._words[RUNNING] = 0
            self._words[LEASE] = lease.lease_id
            # Unpickling a chunk may kill the container as any input may: its first input answers for it.
            self._words[RUNNING] = lease.start + 1
            return running

    # --- any thread --------------------------------------------------------------------------------------------------

    def running_input(self) -> tuple[str, int] | None:
        """Call id and index of the only input that runs."""
        latest, index = self._latest, self._words[RUNNING]
        if latest is None or not index or len(self._running) != 1:
            return None
        return latest.call_id, index - 1

    def before_report(self, action: Callable[[], None]) -> None:
        """Has it called, by whoever runs inputs, before the current one is reported; or the next one, if none runs."""
        current = current_input()
        with self._lock:
            for running in self._running.values():
                if current is not None and running.call_id == current[0] and running.covers(current[1]):
                    running.before_report = action
                    return
            self._before_next = action

    # --- the control thread ------------------------------------------------------------------------------------------

    def recall(self, lease_id: int) -> None:
        """Gives back what has not started of the lease. Nothing happens for one that has ended."""
        running = self._find(lease_id, lambda: self._recalled.add(lease_id), give_back=True)
        if running is not None:
            running.recall()

    @property
    def awaited(self) -> bool:
        """True if leases are to be given back that have not arrived yet."""
        return bool(self._recalled)

    def return_late(self) -> None:
        """Gives back those of them that have arrived meanwhile.

        What is said about a lease may overtake it, on a connection of its own. If it were given back only when its turn
        comes, it would wait for the input that runs, which may wait for one of its inputs to run elsewhere.
        """
        self._read_ahead()
        with self._lock:
            self._recalled -= {lease_id for lease_id in self._recalled if self._remove_waiting(lease_id)}

    def interrupt(self, lease_id: int, index: int, timed_out: bool) -> tuple[RunningLease, int] | None:
        """Ends an input of the lease. Returns what to interrupt now, None if there is nothing."""

        def remember() -> None:
            if index == ANY_INPUT:
                self._recalled.add(lease_id)
            else:
                self._interrupted.setdefault(lease_id, {})[index] = timed_out

        running = self._find(lease_id, remember, give_back=index == ANY_INPUT)
        target = None if running is None else running.interrupt(index, timed_out)
        return None if running is None or target is None else (running, target)

    def under_way(self) -> list[tuple[RunningLease, int]]:
        """The inputs that run."""
        with self._lock:
            leases = list(self._running.values())
        return [(running, index) for running in leases if (index := running.running_input()) is not None]

    def stop(self) -> list[tuple[RunningLease, int]]:
        """Hands out no more leases. Returns what to interrupt now."""
        with self._lock:
            self._stopping = True
            under_way = list(self._running.values())
        return [(running, target) for running in under_way if (target := running.stop()) is not None]

    def _find(self, lease_id: int, remember: Callable[[], None], give_back: bool) -> RunningLease | None:
        """The lease if it runs. One that waits is given back, if that is wanted; one still to come is remembered."""
        if lease_id not in self._running:
            self._read_ahead()
        with self._lock:
            running = self._running.get(lease_id)
            if running is not None:
                return running
            if lease_id in self._ended:
                return None
            if give_back and self._remove_waiting(lease_id):
                return None
            # It is on its way, or waits to be run with this known, or the main thread has it in hand.
            remember()
            return None

    def _remove_waiting(self, lease_id: int) -> bool:
        for entry in list(self._waiting):
            if entry[0].lease_id == lease_id:
                try:
                    self._waiting.remove(entry)
                except ValueError:
                    return False  # The main thread has just taken it and will find what is remembered.
                self._interrupted.pop(lease_id, None)
                self._return_all(entry[0])
                return True
        return False

    def _return_all(self, lease: Lease) -> None:
        self._ended.append(lease.lease_id)
        self.channel.send(Returned(lease.lease_id, lease.start))

    def _read_ahead(self) -> None:
        if not self._reading.acquire(blocking=False):
            return
        try:
            while self._readable():
                self._waiting.append(self.channel.recv())
        finally:
            self._reading.release()
        if self.on_arrival is not None:
            self.on_arrival()

    def _readable(self, seconds: float = 0.0) -> bool:
        return self.channel.buffered or bool(self._poll.poll(seconds * 1000))
