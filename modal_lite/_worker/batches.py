"""Inputs that one call of the user's function takes together."""

import inspect
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from modal_lite._core.failures import pack_exception
from modal_lite._core.messages import Failure, FailureKind, Lease
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._worker import outcomes, reports
from modal_lite._worker.chunks import decode
from modal_lite._worker.executor import Target
from modal_lite._worker.leases import Leases
from modal_lite._worker.process import flush_output
from modal_lite._worker.running_lease import RunningLease


class BatchedFunction:
    """A function that takes a list for each parameter, whose elements belong to one input each."""

    def __init__(self, function: Callable[..., Any], tag: str) -> None:
        self.tag = tag
        self._function = function
        signature = inspect.signature(function)
        self.bind = signature.bind
        """Gives the arguments of one input their names. Raises TypeError, as calling the function with them would."""
        parameters = signature.parameters.values()
        self._positional = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY]
        self._by_name = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]

    def call(self, inputs: list[dict[str, Any]]) -> Any:
        """Calls it for the inputs, given their arguments by name."""
        columns = [[each[name] for each in inputs] for name in self._positional]
        return self._function(*columns, **{name: [each[name] for each in inputs] for name in self._by_name})


class _Member(NamedTuple):
    running: RunningLease
    number: int
    """Its index in the call."""
    arguments: dict[str, Any]


class Batch:
    """The inputs of one call, from the first that is gathered to their reports.

    An input that is cancelled leaves the others alone: it is reported at once, and what the function returns for it is
    dropped. The function is interrupted when none is left that anybody waits for, or when its time is over, for its
    inputs began together.

    Attributes:
        typed: The function is interrupted for Ctrl-C was typed on the terminal that the container has.
    """

    def __init__(self, function: BatchedFunction, leases: Leases) -> None:
        self._function = function
        self._leases = leases
        # The control thread interrupts members while the main thread adds, starts and reports them.
        self._lock = threading.Lock()
        self._members: list[_Member] = []
        self._wanted: set[int] = set()
        self._runs = False
        self._timed_out = False
        self.typed = False

    def __len__(self) -> int:
        return len(self._members)

    @property
    def first(self) -> tuple[str, int]:
        """Call id and index of its first input; it stands for all of them."""
        return self._members[0].running.call_id, self._members[0].number

    def add(self, running: RunningLease, lease: Lease, body: memoryview) -> None:
        """Takes one more input; one whose arguments do not fit is failed instead."""
        try:
            bind, items = decode(lease, body, self._function.bind, self._function.tag)
        except BaseException as error:
            reports.refuse_all(running, self._function.tag, error)
            self._leases.end(running)
            return
        try:
            arguments = bind(items[lease.start - lease.chunk_start]).arguments
        except BaseException as error:
            if running.next_run() is not None:
                reports.fail(running, lease.start, error)
            self._leases.end(running)
            return
        with self._lock:
            indices = running.next_run()
            if indices is not None and next(indices, None) is not None:
                self._members.append(_Member(running, lease.start, arguments))
                self._wanted.add(running.lease_id)
                return
        self._leases.end(running)  # It was taken back meanwhile.

    def start(self) -> list[dict[str, Any]]:
        """The arguments to call the function with; none if all inputs were cancelled while others were waited for."""
        with self._lock:
            for member in self._members:
                if member.running.lease_id not in self._wanted:
                    self._leases.end(member.running)
            self._members = [member for member in self._members if member.running.lease_id in self._wanted]
            self._runs = bool(self._members)
            return [member.arguments for member in self._members]

    def interrupt(self, target: Target) -> bool:
        """Ends one input. True if the function is to be interrupted."""
        with self._lock:
            if target.lease.lease_id not in self._wanted:
                return False
            if target.typed:
                self.typed = self._runs
                return self._runs
            self._timed_out = self._timed_out or target.timed_out
            if self._runs and (self._timed_out or len(self._wanted) == 1):
                return True
            self._wanted.remove(target.lease.lease_id)
            target.lease.fail(target.index, outcomes.interrupted(target.timed_out))
            return False

    def succeed(self, values: Any) -> None:
        """Reports what the function returned."""
        flush_output()
        failure = self._check(values)
        if failure is not None:
            self._fail(failure, EMPTY)
            return
        for member, value in zip(self._members, values, strict=True):
            if self._take(member):
                reports.keep(member.running, member.number, self._function.tag, value)
            self._leases.end(member.running)

    def fail(self, error: BaseException) -> None:
        """Reports what the function raised. Raises it again if it is to end the container."""
        flush_output()
        if reports.ends_container(error):
            raise error
        if self._timed_out:
            self._fail(outcomes.interrupted(timed_out=True), EMPTY)
        else:
            self._fail(*pack_exception(error, FailureKind.USER))

    def _fail(self, failure: Failure, payload: Payload) -> None:
        for member in self._members:
            if self._take(member):
                member.running.fail(member.number, failure, payload)
            self._leases.end(member.running)

    def _take(self, member: _Member) -> bool:
        """True if the input is still to be reported; from then on nothing else reports it."""
        with self._lock:
            if member.running.lease_id not in self._wanted:
                return False
            self._wanted.remove(member.running.lease_id)
            return True

    def _check(self, values: Any) -> Failure | None:
        what = f"Output of batched function {self._function.tag} must be a list"
        if not isinstance(values, list):
            return Failure(
                FailureKind.INVALID, f"{what} with a value for each input, not {type(values).__qualname__!r}."
            )
        if len(values) != len(self._members):
            counts = f"{len(values)} values for {len(self._members)} inputs"
            return Failure(FailureKind.INVALID, f"{what} of equal length as its inputs; it returned {counts}.")
        return None
