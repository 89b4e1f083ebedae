"""How calls open, take inputs, and are cancelled or forgotten."""

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import events as on
from modal_lite._scheduler.leasing import Leasing
from modal_lite._scheduler.outcomes import Outcomes
from modal_lite._scheduler.records import Call, Function, IllegalTransition, InputRange, known
from modal_lite._scheduler.scaling import Scaling
from modal_lite._scheduler.timetable import Timetable

MAX_CHILDREN = 10_000
"""Calls remembered per parent call for the call graph."""


class Calls:
    """The events of calls.

    Args:
        functions: all functions by id.
        calls: all calls by id; new ones are entered here.
        timetable: knows which inputs wait for a retry.
        scaling: kills containers where a cancellation asks for it.
        leasing: takes the inputs.
        outcomes: ends them.
    """

    def __init__(
        self,
        functions: dict[str, Function],
        calls: dict[str, Call],
        timetable: Timetable,
        scaling: Scaling,
        leasing: Leasing,
        outcomes: Outcomes,
    ) -> None:
        self._functions = functions
        self._calls = calls
        self._timetable = timetable
        self._scaling = scaling
        self._leasing = leasing
        self._outcomes = outcomes

    # --- inputs ------------------------------------------------------------------------------------------------------

    def opened(self, event: on.CallOpened, now: float) -> None:
        """See `CallOpened`."""
        if event.call_id in self._calls:
            raise IllegalTransition(f"call {event.call_id} was opened before")
        function = known(self._functions, event.function_id, "function")
        if function.removed:
            raise IllegalTransition(f"function {event.function_id} was removed; it cannot be called")
        call = Call(event.call_id, function, event.parent, event.method)
        self._calls[event.call_id] = call
        if event.parent is not None and (parent := self._calls.get(event.parent[0])) is not None:
            parent.children.append(event.call_id)
            self._trim_children(parent)
        call.closed = event.closed
        call.forgotten = event.forgotten
        if event.count:
            self._add(call, 0, event.count, 0, now)
        else:
            self._outcomes.finish_if_done(call)

    def inputs_added(self, event: on.InputsAdded, now: float) -> None:
        """See `InputsAdded`."""
        call = known(self._calls, event.call_id, "call")
        if call.closed and not call.cancelled:
            raise IllegalTransition(f"call {event.call_id} is closed and takes no more inputs")
        if event.count <= 0 or event.start < call.following:
            raise IllegalTransition(f"[{event.start}, +{event.count}) are not the next inputs of {event.call_id}")
        self._add(call, event.start, event.count, event.start if event.chunk is None else event.chunk, now)

    def _add(self, call: Call, start: int, count: int, chunk: int, now: float) -> None:
        call.added += count
        call.following = max(call.following, start + count)
        added = InputRange(start, start + count, chunk)
        if call.cancelled:
            self._outcomes.fail(call, added, FailureKind.CANCELLED)
            self._outcomes.finish_if_done(call)
            return
        self._leasing.queue(call, added)
        self._leasing.assign(call.function, now)

    def inputs_closed(self, event: on.InputsClosed, now: float) -> None:
        """See `InputsClosed`."""
        call = known(self._calls, event.call_id, "call")
        call.closed = True
        self._outcomes.finish_if_done(call)

    # --- ends --------------------------------------------------------------------------------------------------------

    def cancelled(self, event: on.CallCancelled, now: float) -> None:
        """See `CallCancelled`."""
        call = known(self._calls, event.call_id, "call")
        containers = list(dict.fromkeys(lease.container for lease in call.leases.values()))
        self.cancel(call, now, interrupt=not event.terminate_containers)
        if event.terminate_containers:
            for container in containers:
                self._scaling.kill(container, "its call was cancelled with terminate_containers=True", now)
        self._leasing.feed(now)

    def forgotten(self, event: on.CallForgotten, now: float) -> None:
        """See `CallForgotten`."""
        call = known(self._calls, event.call_id, "call")
        call.forgotten = True
        if call.finished:
            self._outcomes.drop_if_forgotten(call)
        else:
            # Nobody waits for it. Other inputs of a container need not pay for one that cannot be interrupted.
            self.cancel(call, now, interrupt=True, patient=True)
            self._leasing.feed(now)

    def cancel(self, call: Call, now: float, interrupt: bool, patient: bool = False) -> None:
        """Ends all inputs of the call at once; those that run are told so if `interrupt`, see `Leasing.interrupt`."""
        if call.finished or call.cancelled:
            return
        call.cancelled = call.closed = True
        self._outcomes.fail_pending(call, FailureKind.CANCELLED)
        for again in self._timetable.delayed_inputs(call):
            self._outcomes.fail(call, again, FailureKind.CANCELLED)
        # Their entries in the timetable are void from now on.
        call.delayed = 0
        for lease in list(call.leases.values()):
            self._outcomes.fail(call, lease.rest(), FailureKind.CANCELLED, lease.container.container_id)
            call.leased -= lease.outstanding
            del call.leases[lease.lease_id]
            if interrupt:
                self._leasing.interrupt(lease, now, timed_out=False, patient=patient)
                self._leasing.recall(lease)
        self._outcomes.finish_if_done(call)

    def _trim_children(self, parent: Call) -> None:
        if len(parent.children) <= MAX_CHILDREN:
            return
        for child_id in parent.children[: MAX_CHILDREN // 10]:
            child = self._calls.get(child_id)
            if child is not None:
                child.parent = None
                self._outcomes.drop_if_forgotten(child)
        del parent.children[: MAX_CHILDREN // 10]
