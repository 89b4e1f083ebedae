"""One lease under way: which of its inputs are started, finished, reported.

Each input is reported exactly once, in index order, or given back; the main thread runs inputs while the control thread
may recall or interrupt them. The main thread takes an input by `next()` on a range iterator, the control thread takes
all that are left by `list()` on the same iterator: either is one step under the interpreter's lock, so no lock is
needed per input. Everything else happens under the lock.
"""

import threading
from collections.abc import Callable, Iterator
from time import perf_counter

from modal_lite._core.messages import ANY_INPUT, Failure, GeneratorDone, InputFailed, Lease, Outputs, Returned
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.serialization import dumps
from modal_lite._transport.blocking import BlockingChannel
from modal_lite._worker import outcomes

FLUSH_INTERVAL = 0.002
"""Seconds that finished values wait for company at most while inputs follow each other."""


class RunningLease:
    """What the main thread runs and what the control thread may take away from it.

    Attributes:
        values: Of the inputs finished but not reported; the main thread appends without the lock.
        abandoned: An input was under way when the container began to leave; it is reported by nobody.
        before_report: Called when an input has ended, before it is reported.
    """

    def __init__(
        self, lease: Lease, channel: BlockingChannel, lock: threading.Lock, interrupted: dict[int, bool]
    ) -> None:
        self.lease_id = lease.lease_id
        self.call_id = lease.call_id
        self.method = lease.method
        self.start = lease.start
        self.values: list[object] = []
        self.abandoned = False
        self.before_report: Callable[[], None] | None = None
        self._channel = channel
        self._lock = lock
        self._indices = iter(range(0))
        self._rest = range(lease.start, lease.stop)
        self._stop = self._end = lease.stop
        self._reported = lease.start
        self._interrupted = interrupted
        self._stopped: int | None = None
        self._clock = perf_counter()

    # --- the main thread ---------------------------------------------------------------------------------------------

    def next_run(self) -> Iterator[int] | None:
        """The inputs to run next, in order; None when no more is to be started. What it yields counts as started."""
        with self._lock:
            while self._rest:
                first = self._rest.start
                if first in self._interrupted:
                    self._rest = self._rest[1:]
                    self._fail(first, outcomes.interrupted(self._interrupted[first]), EMPTY)
                    continue
                end = min((i for i in self._interrupted if i > first), default=self._rest.stop)
                self._indices = iter(range(first, end))
                self._rest = range(end, self._rest.stop)
                return self._indices
            return None

    def flush(self) -> None:
        """Reports the values so far."""
        self._prepare()
        with self._lock:
            self._flush(perf_counter() - self._clock)

    def fail(self, index: int, failure: Failure, payload: Payload = EMPTY) -> None:
        """Reports the values so far and the failure of the input that follows them."""
        self._prepare()
        with self._lock:
            if index == self._stopped:
                self.abandoned = True
                return
            timed_out = self._interrupted.get(index)
            if timed_out is not None:
                failure, payload = outcomes.interrupted(timed_out), EMPTY
            self._fail(index, failure, payload)

    def succeed(self, index: int, payload: Payload) -> None:
        """Reports the values so far and that of the input that follows them, pickled already."""
        self._prepare()
        with self._lock:
            if index in self._interrupted:
                self._fail(index, outcomes.interrupted(self._interrupted[index]), EMPTY)
                return
            self._flush(FLUSH_INTERVAL)
            self._send_outputs(1, self._take_time(), payload)

    def generator_done(self, count: int) -> None:
        """Reports the end of the generator after `count` values."""
        self._prepare()
        with self._lock:
            if self.start in self._interrupted:
                self._fail(self.start, outcomes.interrupted(self._interrupted[self.start]), EMPTY)
                return
            self._reported += 1
            self._channel.send(GeneratorDone(self.lease_id, count, self._take_time()))

    def covers(self, index: int) -> bool:
        """Whether it holds, or held, this input."""
        return self.start <= index < self._end

    def _prepare(self) -> None:
        # Without the lock: what is called may wait for the control thread.
        if self.before_report is not None:
            action, self.before_report = self.before_report, None
            action()

    # --- the control thread ------------------------------------------------------------------------------------------

    def recall(self) -> None:
        """Reports the values so far and gives the inputs not started back."""
        with self._lock:
            self._give_back()

    def interrupt(self, index: int, timed_out: bool) -> int | None:
        """Ends an input, or, for ANY_INPUT, whichever runs while all others are given back.

        Returns:
            The input to interrupt now; None if none runs: the one asked for is over, or will be failed in its turn.
        """
        with self._lock:
            if index == ANY_INPUT:
                index = self._give_back() - 1
            elif index >= self._withdraw():
                self._interrupted[index] = timed_out
                return None
            running = self._if_it_runs(index)
            if running is not None:
                self._interrupted[running] = timed_out
            return running

    def running_input(self) -> int | None:
        """The input that runs, None if there is none."""
        with self._lock:
            return self._if_it_runs(self._withdraw() - 1)

    def stop(self) -> int | None:
        """Starts nothing more, and reports no failure of what runs: it is to be run again elsewhere, if it is wanted.

        Returns:
            The input that runs, None if there is none.
        """
        with self._lock:
            first = self._withdraw()
            self._rest = range(first, first)
            self._stopped = self._if_it_runs(first - 1)
            return self._stopped

    def is_over(self, index: int) -> bool:
        """True once the input has its value or its failure."""
        with self._lock:
            return self._is_over(index)

    # --- under the lock ----------------------------------------------------------------------------------------------

    def _is_over(self, index: int) -> bool:
        return self._reported + len(self.values) > index

    def _if_it_runs(self, index: int) -> int | None:
        """The input, one that was started; None if it is over, or none was."""
        return None if index < self.start or self._is_over(index) else index

    def _withdraw(self) -> int:
        """Makes the main thread come for more before it starts another input. Returns the first not started."""
        left = list(self._indices)
        if left:
            self._rest = range(left[0], self._rest.stop)
        return self._rest.start

    def _give_back(self) -> int:
        """Returns the first input not started."""
        first = self._withdraw()
        # Values are never older than this: an input that runs since then has its time still to be counted.
        self._flush(FLUSH_INTERVAL)
        self._rest = range(first, first)
        if first < self._stop:
            self._stop = first
            self._channel.send(Returned(self.lease_id, first))
        return first

    def _fail(self, index: int, failure: Failure, payload: Payload) -> None:
        self._flush(FLUSH_INTERVAL)
        self._reported += 1
        self._channel.send(InputFailed(self.lease_id, index, self._take_time(), failure, payload.sizes), payload)

    def _flush(self, at_most: float) -> None:
        count = len(self.values)
        if not count:
            return
        # The main thread may append meanwhile: only what was counted is taken.
        values = self.values[:count]
        del self.values[:count]
        elapsed = min(perf_counter() - self._clock, at_most)
        self._clock += elapsed
        interrupted = self._interrupted
        if interrupted and any(self._reported <= index < self._reported + count for index in interrupted):
            self._report_each(values, elapsed)
        else:
            self._send_outputs(count, elapsed, dumps(values, snapshot=False))

    def _report_each(self, values: list[object], elapsed: float) -> None:
        """Reports values of which some came although their inputs had been interrupted."""
        for value in values:
            timed_out = self._interrupted.get(self._reported)
            if timed_out is None:
                self._send_outputs(1, elapsed / len(values), dumps([value], snapshot=False))
            else:
                failed = InputFailed(self.lease_id, self._reported, 0.0, outcomes.interrupted(timed_out), ())
                self._reported += 1
                self._channel.send(failed)

    def _send_outputs(self, count: int, elapsed: float, payload: Payload) -> None:
        message = Outputs(self.lease_id, self._reported, count, elapsed, payload.sizes)
        self._reported += count
        self._channel.send(message, payload)

    def _take_time(self) -> float:
        now = perf_counter()
        elapsed = now - self._clock
        self._clock = now
        return elapsed
