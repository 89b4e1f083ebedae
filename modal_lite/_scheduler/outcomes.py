"""How inputs and calls end."""

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import commands as do
from modal_lite._scheduler.cores import Cores
from modal_lite._scheduler.records import Call, InputRange, Lease, Outcome
from modal_lite._scheduler.timetable import Timetable
from modal_lite.call_graph import InputAttempt, InputStatus

MAX_OUTCOMES = 10_000
"""Ranges of outcomes kept per call for the call graph; and inputs whose attempts are."""

_STATUS = {
    FailureKind.CANCELLED: InputStatus.TERMINATED,
    FailureKind.TIMEOUT: InputStatus.TIMEOUT,
    FailureKind.INIT: InputStatus.INIT_FAILURE,
}


class Outcomes:
    """Gives inputs their outcome and finishes the calls that have all of theirs.

    Args:
        calls: all of them by id; forgotten ones are removed here.
        commands: takes what is to be done.
        timetable: keeps inputs until their retry.
        cores: knows which functions have a backlog.
    """

    def __init__(self, calls: dict[str, Call], commands: list[do.Command], timetable: Timetable, cores: Cores) -> None:
        self._calls = calls
        self._commands = commands
        self._timetable = timetable
        self._cores = cores

    # --- inputs ------------------------------------------------------------------------------------------------------

    def succeeded(self, lease: Lease, start: int, count: int) -> None:
        """Values were reported for these inputs of the lease."""
        call, container_id = lease.call, lease.container.container_id
        self._commands.append(do.AcceptOutputs(call.call_id, start, count, container_id, lease.chunk))
        _done(call, start, count, InputStatus.SUCCESS, container_id)

    def failed(self, lease: Lease, index: int, kind: FailureKind) -> None:
        """A failure was reported for the input, and it is the last."""
        call, container_id = lease.call, lease.container.container_id
        self._commands.append(do.AcceptFailure(call.call_id, index, container_id, lease.chunk))
        _done(call, index, 1, _STATUS.get(kind, InputStatus.FAILURE), container_id)

    def fail(self, call: Call, failed: InputRange, kind: FailureKind, container_id: str = "") -> None:
        """Ends inputs without a report from a container."""
        count = failed.stop - failed.start
        self._commands.append(do.FailInputs(call.call_id, failed.start, count, kind, container_id, failed.chunk))
        _done(call, failed.start, count, _STATUS.get(kind, InputStatus.FAILURE), container_id)

    def fail_pending(self, call: Call, kind: FailureKind) -> None:
        """Ends all inputs of the call that wait for a container."""
        function = call.function
        for waiting in call.pending:
            self.fail(call, waiting, kind)
        call.pending.clear()
        function.backlog -= call.waiting
        call.waiting = 0
        if not function.backlog:
            self._cores.hungry.pop(function.function_id, None)

    def retry(self, lease: Lease, index: int, kind: FailureKind, now: float) -> bool:
        """Delays the input for another attempt, at the cost of one of its retries; False if none is left."""
        retries = lease.call.function.settings.retries
        if retries is None or lease.attempt >= retries.max_retries:
            return False
        self.attempted(lease, index, kind)
        attempt = lease.attempt + 1
        again = InputRange(index, index + 1, lease.chunk, attempt, lease.losses)
        self._timetable.delay(lease.call, again, now + retries.delay(attempt))
        return True

    def attempted(self, lease: Lease, index: int, kind: FailureKind) -> None:
        """The input failed so under the lease, and another attempt follows."""
        attempts = lease.call.attempts
        if index in attempts or len(attempts) < MAX_OUTCOMES:
            made = InputAttempt(lease.container.container_id, _STATUS.get(kind, InputStatus.FAILURE))
            attempts.setdefault(index, []).append(made)

    # --- calls -------------------------------------------------------------------------------------------------------

    def finish_if_done(self, call: Call) -> None:
        """Finishes the call if it is closed and has all its outcomes."""
        if call.closed and not call.finished and call.done == call.added:
            call.finished = True
            self._commands.append(do.FinishCall(call.call_id))
            self.drop_if_forgotten(call)

    def drop_if_forgotten(self, call: Call) -> None:
        """Removes a forgotten call, unless it is part of the story of a call that is still remembered."""
        candidates = [call]
        while candidates:
            call = candidates.pop()
            remembered = call.parent is not None and call.parent[0] in self._calls
            if call.forgotten and call.finished and not remembered:
                del self._calls[call.call_id]
                candidates += [self._calls[child_id] for child_id in call.children if child_id in self._calls]


def _done(call: Call, start: int, count: int, status: InputStatus, container_id: str) -> None:
    call.done += count
    outcomes = call.outcomes
    if outcomes:
        last = outcomes[-1]
        if last.status is status and last.container_id == container_id and last.start + last.count == start:
            last.count += count
            return
    if len(outcomes) < MAX_OUTCOMES:
        outcomes.append(Outcome(start, count, status, container_id))
