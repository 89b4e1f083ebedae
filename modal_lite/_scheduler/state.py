"""What each event does.

The life of an input:

    pending ──lease──► leased ──report──► done
       ▲                 │
       │                 ├─ given back (recall), container lost ──► pending, in front
       └──── retry ──────┴─ failed with retries left ──► delayed, then pending

A report counts only for the lease that currently holds the input: leases have fresh numbers and inputs leave them when
they are given back, fail or are lost with the container, so a late report of a container given up for lost changes
nothing.
"""

import heapq
from collections.abc import Callable
from typing import Any, TypeVar

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on
from modal_lite._scheduler import policy
from modal_lite._scheduler.records import (
    Call,
    Container,
    ContainerState,
    Function,
    IllegalTransition,
    InputRange,
    Lease,
    Outcome,
)
from modal_lite.call_graph import InputStatus

MAX_OUTCOMES = 10_000
"""Ranges of outcomes kept per call for the call graph."""
MAX_CHILDREN = 10_000
"""Calls remembered per parent call for the call graph."""

_STATUS = {
    FailureKind.CANCELLED: InputStatus.TERMINATED,
    FailureKind.TIMEOUT: InputStatus.TIMEOUT,
    FailureKind.INIT: InputStatus.INIT_FAILURE,
}
_RETRIED = frozenset({FailureKind.USER, FailureKind.TIMEOUT})

TIMETABLE_SLACK = 256
"""Void entries that the timetable may hold beside as many as there are others."""

T = TypeVar("T")


class Scheduler:
    """The state machine. Events must come in the order they happened; `now` must not decrease.

    Args:
        slots: cores to share, at least 1.
        new_container_id: makes the id of a container to be started.
    """

    def __init__(self, slots: int, new_container_id: Callable[[], str]) -> None:
        self.slots = slots
        self.functions: dict[str, Function] = {}
        self.calls: dict[str, Call] = {}
        self.containers: dict[str, Container] = {}
        self.total_active = 0
        self._new_container_id = new_container_id
        self._lease_number = 0
        self._commands: list[do.Command] = []
        self._timetable: list[tuple[float, int, Container | tuple[Call, InputRange] | Function]] = []
        self._timetable_limit = TIMETABLE_SLACK
        self._entry_number = 0
        self._hungry: dict[str, Function] = {}
        """Functions with a backlog, in the order in which they are to be served."""
        self._handlers: dict[type[on.Event], Callable[[Any, float], None]] = {
            on.FunctionAdded: self._function_added,
            on.FunctionChanged: self._function_changed,
            on.FunctionRemoved: self._function_removed,
            on.CallOpened: self._call_opened,
            on.InputsAdded: self._inputs_added,
            on.InputsClosed: self._inputs_closed,
            on.CallCancelled: self._call_cancelled,
            on.CallForgotten: self._call_forgotten,
            on.ContainerReady: self._container_ready,
            on.ContainerGone: self._container_gone,
            on.OutputsReported: self._outputs_reported,
            on.FailureReported: self._failure_reported,
            on.InputsReturned: self._inputs_returned,
            on.ContainerWaiting: self._container_waiting,
            on.TimePassed: lambda event, now: None,
        }

    def handle(self, event: on.Event, now: float) -> list[do.Command]:
        """Takes an event in and returns what is to be done about it, in order.

        Raises IllegalTransition, having changed nothing, if the event cannot follow what happened before.
        """
        self._handlers[type(event)](event, now)
        if self._timetable and self._timetable[0][0] <= now:
            self._keep_timetable(now)
        commands = self._commands
        self._commands = []
        return commands

    def next_deadline(self) -> float | None:
        """When `TimePassed` is due at the latest; None if nothing waits for time."""
        return self._timetable[0][0] if self._timetable else None

    def delayed_inputs(self, call: Call) -> list[InputRange]:
        """The call's inputs that wait for the time of their retry."""
        if not call.delayed:
            return []
        waiting = (entry[2] for entry in self._timetable)
        return [what[1] for what in waiting if isinstance(what, tuple) and what[0] is call]

    # --- functions ---------------------------------------------------------------------------------------------------

    def _function_added(self, event: on.FunctionAdded, now: float) -> None:
        if event.function_id in self.functions:
            raise IllegalTransition(f"function {event.function_id} was added before")
        function = Function(event.function_id, event.settings)
        self.functions[event.function_id] = function
        self._scale(function, now)

    def _function_changed(self, event: on.FunctionChanged, now: float) -> None:
        function = self._known(self.functions, event.function_id, "function")
        function.settings = event.settings
        self._shrink(function, now)
        for container in function.containers.values():
            self._look_again(container, now)
        self._scale(function, now)
        self._feed(now)

    def _function_removed(self, event: on.FunctionRemoved, now: float) -> None:
        function = self._known(self.functions, event.function_id, "function")
        function.removed = True
        for call in [call for call in self.calls.values() if call.function is function]:
            self._cancel(call, now, interrupt=False)
        for container in list(function.containers.values()):
            self._stop(container, now)
        self._hungry.pop(function.function_id, None)
        if not function.containers:
            del self.functions[function.function_id]
        self._feed(now)

    # --- calls -------------------------------------------------------------------------------------------------------

    def _call_opened(self, event: on.CallOpened, now: float) -> None:
        if event.call_id in self.calls:
            raise IllegalTransition(f"call {event.call_id} was opened before")
        function = self._known(self.functions, event.function_id, "function")
        if function.removed:
            raise IllegalTransition(f"function {event.function_id} was removed; it cannot be called")
        call = Call(event.call_id, function, event.parent)
        self.calls[event.call_id] = call
        if event.parent is not None and (parent := self.calls.get(event.parent[0])) is not None:
            parent.children.append(event.call_id)
            self._trim_children(parent)
        call.closed = event.closed
        if event.count:
            self._add(call, 0, event.count, now)
        else:
            self._finish_if_done(call)

    def _inputs_added(self, event: on.InputsAdded, now: float) -> None:
        call = self._known(self.calls, event.call_id, "call")
        if call.closed and not call.cancelled:
            raise IllegalTransition(f"call {event.call_id} is closed and takes no more inputs")
        self._add(call, event.start, event.count, now)

    def _add(self, call: Call, start: int, count: int, now: float) -> None:
        call.added += count
        if call.cancelled:
            self._fail_range(call, InputRange(start, start + count, start), FailureKind.CANCELLED)
            self._finish_if_done(call)
            return
        self._queue(call, InputRange(start, start + count, start))
        self._assign(call.function, now)

    def _inputs_closed(self, event: on.InputsClosed, now: float) -> None:
        call = self._known(self.calls, event.call_id, "call")
        call.closed = True
        self._finish_if_done(call)

    def _call_cancelled(self, event: on.CallCancelled, now: float) -> None:
        call = self._known(self.calls, event.call_id, "call")
        containers = list(dict.fromkeys(lease.container for lease in call.leases.values()))
        self._cancel(call, now, interrupt=not event.terminate_containers)
        if event.terminate_containers:
            for container in containers:
                self._kill(container, "its call was cancelled with terminate_containers=True", now)
            self._feed(now)

    def _call_forgotten(self, event: on.CallForgotten, now: float) -> None:
        call = self._known(self.calls, event.call_id, "call")
        call.forgotten = True
        if call.finished:
            self._drop_if_forgotten(call)
        else:
            self._cancel(call, now, interrupt=True)

    def _cancel(self, call: Call, now: float, interrupt: bool) -> None:
        if call.finished or call.cancelled:
            return
        call.cancelled = call.closed = True
        self._fail_pending(call, FailureKind.CANCELLED)
        self._fail_delayed(call)
        for lease in list(call.leases.values()):
            self._fail_range(call, _rest(lease), FailureKind.CANCELLED, lease.container.container_id)
            call.leased -= lease.outstanding
            del call.leases[lease.lease_id]
            if interrupt:
                self._interrupt(lease, now, timed_out=False)
                self._recall(lease)
        self._finish_if_done(call)

    def _fail_pending(self, call: Call, kind: FailureKind) -> None:
        function = call.function
        for waiting in call.pending:
            self._fail_range(call, waiting, kind)
        call.pending.clear()
        function.backlog -= call.waiting
        call.waiting = 0
        if not function.backlog:
            self._hungry.pop(function.function_id, None)

    def _fail_delayed(self, call: Call) -> None:
        for again in self.delayed_inputs(call):
            self._fail_range(call, again, FailureKind.CANCELLED)
        # Their entries in the timetable are void from now on.
        call.delayed = 0

    def _finish_if_done(self, call: Call) -> None:
        if call.closed and not call.finished and call.done == call.added:
            call.finished = True
            self._commands.append(do.FinishCall(call.call_id))
            self._drop_if_forgotten(call)

    def _drop_if_forgotten(self, call: Call) -> None:
        """Removes a forgotten call, unless it is part of the story of a call that is still remembered."""
        candidates = [call]
        while candidates:
            call = candidates.pop()
            remembered = call.parent is not None and call.parent[0] in self.calls
            if call.forgotten and call.finished and not remembered:
                del self.calls[call.call_id]
                candidates += [self.calls[child_id] for child_id in call.children if child_id in self.calls]

    def _trim_children(self, parent: Call) -> None:
        if len(parent.children) <= MAX_CHILDREN:
            return
        for child_id in parent.children[: MAX_CHILDREN // 10]:
            child = self.calls.get(child_id)
            if child is not None:
                child.parent = None
                self._drop_if_forgotten(child)
        del parent.children[: MAX_CHILDREN // 10]

    # --- reports -----------------------------------------------------------------------------------------------------

    def _outputs_reported(self, event: on.OutputsReported, now: float) -> None:
        lease = self._lease(event.container_id, event.lease_id)
        if lease is None:
            return
        if event.start != lease.reported or not 0 < event.count <= lease.outstanding:
            raise IllegalTransition(f"outputs [{event.start}, +{event.count}) are not next in {lease.container}")
        policy.learn(lease.call.function, event.count, event.elapsed)
        if self._current(lease):
            self._commands.append(
                do.AcceptOutputs(lease.call.call_id, event.start, event.count, event.container_id, lease.chunk)
            )
            self._done(lease.call, event.start, event.count, InputStatus.SUCCESS, event.container_id)
            lease.call.leased -= event.count
        self._advance(lease, event.count, now)

    def _failure_reported(self, event: on.FailureReported, now: float) -> None:
        lease = self._lease(event.container_id, event.lease_id)
        if lease is None:
            return
        if event.index != lease.reported or not lease.outstanding:
            raise IllegalTransition(f"a failure of input {event.index} is not next in {lease.container}")
        call, index = lease.call, event.index
        policy.learn(call.function, 1, event.elapsed)
        if self._current(lease):
            call.leased -= 1
            retries = call.function.settings.retries
            if event.kind in _RETRIED and retries is not None and lease.attempt < retries.max_retries:
                attempt = lease.attempt + 1
                again = InputRange(index, index + 1, lease.chunk, attempt, lease.losses)
                self._delay(call, again, now + retries.delay(attempt))
            else:
                self._commands.append(do.AcceptFailure(call.call_id, index, event.container_id, lease.chunk))
                self._done(call, index, 1, _STATUS.get(event.kind, InputStatus.FAILURE), event.container_id)
        self._advance(lease, 1, now)

    def _inputs_returned(self, event: on.InputsReturned, now: float) -> None:
        lease = self._lease(event.container_id, event.lease_id)
        if lease is None:
            return
        if not lease.reported <= event.start <= lease.stop:
            raise IllegalTransition(f"[{event.start}, …) cannot be given back by {lease.container}")
        returned = _rest(lease, event.start)
        count = lease.stop - event.start
        lease.stop = event.start
        if count and self._current(lease):
            lease.call.leased -= count
            self._queue(lease.call, returned, front=True)
        self._uncount(lease, count)
        self._settle(lease, now)
        self._serve(lease.call.function, now)

    def _advance(self, lease: Lease, count: int, now: float) -> None:
        lease.reported += count
        lease.since = now
        if lease.interrupted is not None:
            # Of a cancelled call, the next input is to end as well; of another, the interrupted one has ended.
            lease.interrupted = None if self._current(lease) else now
            lease.timed_out = False
        self._uncount(lease, count)
        self._settle(lease, now)
        self._finish_if_done(lease.call)
        self._serve(lease.call.function, now)

    def _settle(self, lease: Lease, now: float) -> None:
        """Drops the lease from its container once nothing of it is outstanding."""
        if lease.outstanding:
            return
        container = lease.container
        was_head = lease is container.leases[0]
        container.leases.remove(lease)
        lease.call.leases.pop(lease.lease_id, None)
        if not container.leases:
            self._now_idle(container, now)
        elif was_head:
            head = container.leases[0]
            head.since = now
            if head.interrupted is not None:
                head.interrupted = now
        self._look_again(container, now)

    def _now_idle(self, container: Container, now: float) -> None:
        container.since = now
        self._set_active(container)
        if container.function.settings.single_use and container.used:
            self._stop(container, now)
        else:
            self._shrink(container.function, now)

    def _uncount(self, lease: Lease, count: int) -> None:
        lease.call.function.running -= count

    def _current(self, lease: Lease) -> bool:
        """True if what the lease reports is still wanted."""
        return lease.lease_id in lease.call.leases

    def _lease(self, container_id: str, lease_id: int) -> Lease | None:
        """The lease, or None for a report of something the container does not hold any more."""
        container = self.containers.get(container_id)
        if container is None:
            return None
        for lease in container.leases:
            if lease.lease_id == lease_id:
                return lease
        return None

    def _done(self, call: Call, start: int, count: int, status: InputStatus, container_id: str) -> None:
        call.done += count
        outcomes = call.outcomes
        if outcomes:
            last = outcomes[-1]
            if last.status is status and last.container_id == container_id and last.start + last.count == start:
                last.count += count
                return
        if len(outcomes) < MAX_OUTCOMES:
            outcomes.append(Outcome(start, count, status, container_id))

    def _fail_range(self, call: Call, failed: InputRange, kind: FailureKind, container_id: str = "") -> None:
        count = failed.stop - failed.start
        self._commands.append(do.FailInputs(call.call_id, failed.start, count, kind, container_id, failed.chunk))
        self._done(call, failed.start, count, _STATUS.get(kind, InputStatus.FAILURE), container_id)

    # --- containers --------------------------------------------------------------------------------------------------

    def _container_ready(self, event: on.ContainerReady, now: float) -> None:
        container = self._known(self.containers, event.container_id, "container")
        if container.state is ContainerState.STOPPING:
            return
        container.become(ContainerState.READY)
        container.since = now
        container.function.start_failures = 0
        container.function.no_start_before = 0.0
        self._set_active(container)
        self._look_again(container, now)
        self._serve(container.function, now)

    def _container_gone(self, event: on.ContainerGone, now: float) -> None:
        container = self.containers.pop(event.container_id, None)
        if container is None:
            return
        function = container.function
        del function.containers[container.container_id]
        started = container.state is not ContainerState.STARTING
        expected = container.state is ContainerState.STOPPING
        container.state = ContainerState.STOPPING
        container.check_at = None
        for lease in reversed(container.leases):
            self._lose(lease, event.running, now)
        container.leases.clear()
        self._set_active(container)
        if not started and not expected:
            self._start_failed(function, event.start_error, now)
        if function.removed:
            if not function.containers:
                self.functions.pop(function.function_id, None)
        else:
            self._scale(function, now)
        self._feed(now)

    def _lose(self, lease: Lease, running: tuple[int, int] | None, now: float) -> None:
        """Takes back what a lost container had: the input it ran is charged, the others were only waiting."""
        call, index = lease.call, lease.reported
        outstanding = lease.outstanding
        self._uncount(lease, outstanding)
        if not self._current(lease):
            return
        del call.leases[lease.lease_id]
        call.leased -= outstanding
        charged = None
        if running is not None and running[0] == lease.lease_id and index <= running[1] < lease.stop:
            charged = running[1]
        elif lease.interrupted is not None:
            charged = index
        if charged is None:
            self._queue(call, _rest(lease), front=True)
            return
        if charged + 1 < lease.stop:
            self._queue(call, _rest(lease, charged + 1), front=True)
        if index < charged:
            self._queue(call, InputRange(index, charged, lease.chunk, lease.attempt, lease.losses), front=True)
        self._charge(lease, charged, now)
        self._finish_if_done(call)

    def _charge(self, lease: Lease, index: int, now: float) -> None:
        """Decides what becomes of the input that a lost container was running."""
        call, container_id = lease.call, lease.container.container_id
        again = InputRange(index, index + 1, lease.chunk, lease.attempt, lease.losses)
        if lease.timed_out:
            retries = call.function.settings.retries
            if retries is not None and again.attempt < retries.max_retries:
                again.attempt += 1
                self._delay(call, again, now + retries.delay(again.attempt))
            else:
                self._fail_range(call, again, FailureKind.TIMEOUT, container_id)
        elif again.losses >= policy.MAX_LOSSES:
            self._fail_range(call, again, FailureKind.LOST, container_id)
        else:
            again.losses += 1
            self._queue(call, again, front=True)

    def _start_failed(self, function: Function, start_error: bool, now: float) -> None:
        function.start_failures += 1
        delay = policy.START_BACKOFF * 2 ** min(function.start_failures - 1, 10)
        function.no_start_before = now + min(delay, policy.MAX_START_BACKOFF)
        self._schedule(function.no_start_before, function)
        if start_error or function.start_failures >= policy.MAX_START_FAILURES:
            for call in function.line:
                self._fail_pending(call, FailureKind.INIT)
                self._finish_if_done(call)

    def _container_waiting(self, event: on.ContainerWaiting, now: float) -> None:
        container = self._known(self.containers, event.container_id, "container")
        container.waiting = event.waiting
        self._set_active(container)
        if event.waiting:
            self._recall_unstarted(container)
            self._feed(now)

    def _set_active(self, container: Container) -> None:
        """Brings the count of containers that use a core up to date."""
        alive = container.container_id in self.containers
        busy = container.state is ContainerState.STARTING or (bool(container.leases) and not container.waiting)
        active = alive and busy
        if active != container.active:
            container.active = active
            change = 1 if active else -1
            container.function.active += change
            self.total_active += change

    # --- assigning ---------------------------------------------------------------------------------------------------

    def _queue(self, call: Call, waiting: InputRange, front: bool = False) -> None:
        if front:
            call.pending.appendleft(waiting)
        else:
            call.pending.append(waiting)
        count = waiting.stop - waiting.start
        call.waiting += count
        function = call.function
        function.backlog += count
        if not call.queued:
            call.queued = True
            if front:
                function.line.appendleft(call)
            else:
                function.line.append(call)
        self._hungry.setdefault(function.function_id, function)

    def _feed(self, now: float) -> None:
        """Gives every function with a backlog its chance, the longest waiting first."""
        for function in list(self._hungry.values()):
            self._assign(function, now)

    def _serve(self, function: Function, now: float) -> None:
        """Gives the function its chance, then the others: it may have left free what they wait for."""
        self._assign(function, now)
        if len(self._hungry) > (function.function_id in self._hungry):
            self._feed(now)

    def _assign(self, function: Function, now: float) -> None:
        """Leases the function's backlog to its containers and starts more where that is allowed."""
        if not function.backlog or function.removed:
            return
        # Idle containers first, then second leases for those that run one.
        for held in (0, 1):
            for container in function.containers.values():
                if not function.backlog:
                    break
                if len(container.leases) != held or not policy.may_hold_more(function, container):
                    continue
                if self._may_lease(function, container):
                    self._give(function, container, now)
        if not function.backlog:
            self._hungry.pop(function.function_id, None)
        if function.backlog or function.settings.buffer_containers:
            self._scale(function, now)

    def _may_lease(self, function: Function, container: Container) -> bool:
        """Idle containers need leave to become active; busy ones get more only while nobody is kept from its share."""
        if container.active:
            return self.total_active <= self.slots or self._may_activate(function)
        return self._may_activate(function)

    def _may_activate(self, function: Function) -> bool:
        return policy.may_activate(function, self.total_active, self.slots, max(1, len(self._hungry)))

    def _give(self, function: Function, container: Container, now: float) -> None:
        call = self._next_call(function)
        waiting = call.pending[0]
        size = policy.lease_size(function, call, waiting.stop - waiting.start)
        self._lease_number += 1
        stop = waiting.start + size
        lease = Lease(
            self._lease_number,
            call,
            container,
            waiting.start,
            stop,
            waiting.chunk,
            waiting.attempt,
            waiting.losses,
            reported=waiting.start,
            since=now,
        )
        if stop == waiting.stop:
            call.pending.popleft()
        else:
            waiting.start = stop
        function.lease_size = max(function.lease_size, size)
        call.waiting -= size
        call.leased += size
        function.backlog -= size
        function.running += size
        call.leases[lease.lease_id] = lease
        container.leases.append(lease)
        container.used = True
        self._set_active(container)
        self._commands.append(
            do.SendLease(container.container_id, lease.lease_id, call.call_id, lease.start, stop, lease.chunk)
        )
        self._look_again(container, now)

    def _next_call(self, function: Function) -> Call:
        """The call whose turn it is, of a function with a backlog; it goes to the end of the line."""
        line = function.line
        while not line[0].pending:
            line.popleft().queued = False
        line.rotate(-1)
        return line[-1]

    # --- scaling -----------------------------------------------------------------------------------------------------

    def _scale(self, function: Function, now: float) -> None:
        """Starts what is wanted and allowed."""
        settings = function.settings
        explicit = settings.min_containers or settings.buffer_containers
        if function.removed or not (explicit or self._may_activate(function)):
            return
        live = sum(1 for c in function.containers.values() if c.state is not ContainerState.STOPPING)
        wanted = policy.wanted_containers(function)
        failing = function.start_failures > 0 and now < function.no_start_before
        while live < wanted:
            if failing and not function.backlog:
                return
            if live >= policy.warm_containers(function) and not self._may_activate(function):
                return
            self._start(function, now)
            live += 1

    def _start(self, function: Function, now: float) -> None:
        container = Container(self._new_container_id(), function, now)
        self.containers[container.container_id] = container
        function.containers[container.container_id] = container
        self._set_active(container)
        self._look_again(container, now)
        self._commands.append(do.StartContainer(container.container_id, function.function_id))

    def _shrink(self, function: Function, now: float) -> None:
        """Stops containers without inputs beyond an explicit maximum."""
        limit = function.settings.max_containers
        if limit is None or len(function.containers) <= limit:
            return
        live = [c for c in function.containers.values() if c.state is not ContainerState.STOPPING]
        for container in [c for c in live if not c.leases][: max(0, len(live) - limit)]:
            self._stop(container, now)

    def _stop(self, container: Container, now: float) -> None:
        if container.state is ContainerState.STOPPING:
            return
        container.become(ContainerState.STOPPING)
        container.since = now
        self._set_active(container)
        self._look_again(container, now)
        self._commands.append(do.StopContainer(container.container_id))

    def _kill(self, container: Container, reason: str, now: float) -> None:
        if container.state is not ContainerState.STOPPING:
            container.become(ContainerState.STOPPING)
            container.since = now
            self._set_active(container)
        self._commands.append(do.KillContainer(container.container_id, reason))
        self._look_again(container, now)

    def _recall(self, lease: Lease) -> None:
        if not lease.recalled and lease.outstanding:
            lease.recalled = True
            self._commands.append(do.RecallLease(lease.container.container_id, lease.lease_id))

    def _recall_unstarted(self, container: Container) -> None:
        if _crowded(container):
            head = container.leases[0]
            if head.outstanding == 1:
                # Nothing of it waits behind anything. It may not have started, for large inputs take their time to
                # arrive; taken back from one container after the other, it never would.
                head.recalled = True
            for lease in container.leases:
                self._recall(lease)

    def _interrupt(self, lease: Lease, now: float, timed_out: bool) -> None:
        if lease.interrupted is None:
            lease.interrupted = now
            lease.timed_out = timed_out
            self._commands.append(do.InterruptLease(lease.container.container_id, lease.lease_id, timed_out))
            self._look_again(lease.container, now)

    # --- time --------------------------------------------------------------------------------------------------------

    def _schedule(self, due: float, what: Container | tuple[Call, InputRange] | Function) -> None:
        if len(self._timetable) >= self._timetable_limit:
            self._timetable = [entry for entry in self._timetable if _is_due(entry[2], entry[0])]
            heapq.heapify(self._timetable)
            self._timetable_limit = 2 * len(self._timetable) + TIMETABLE_SLACK
        self._entry_number += 1
        heapq.heappush(self._timetable, (due, self._entry_number, what))

    def _delay(self, call: Call, again: InputRange, due: float) -> None:
        call.delayed += again.stop - again.start
        self._schedule(due, (call, again))

    def _keep_timetable(self, now: float) -> None:
        while self._timetable and self._timetable[0][0] <= now:
            due, _, what = heapq.heappop(self._timetable)
            if not _is_due(what, due):
                continue
            if isinstance(what, Container):
                what.check_at = None
                self._check(what, now)
            elif isinstance(what, Function):
                self._scale(what, now)
            else:
                call, again = what
                call.delayed -= again.stop - again.start
                self._queue(call, again)
                self._assign(call.function, now)

    def _look_again(self, container: Container, now: float) -> None:
        """Makes sure that the container is looked at when it may need something by then."""
        due = self._next_check(container)
        if due is not None and (container.check_at is None or due < container.check_at):
            container.check_at = due
            self._schedule(due, container)

    def _next_check(self, container: Container) -> float | None:
        settings = container.function.settings
        if container.container_id not in self.containers:
            return None
        if container.state is ContainerState.STARTING:
            return container.since + settings.startup_timeout
        if container.state is ContainerState.STOPPING:
            return container.since + policy.INTERRUPT_GRACE
        if not container.leases:
            return container.since + settings.scaledown_window
        head = container.leases[0]
        if head.interrupted is not None:
            return head.interrupted + policy.INTERRUPT_GRACE
        limit = None if settings.timeout is None else head.since + settings.timeout
        if _crowded(container) and any(not lease.recalled for lease in container.leases):
            look = max(head.since, container.looked) + policy.SLOW_SECONDS
            return look if limit is None else min(look, limit)
        return limit

    def _check(self, container: Container, now: float) -> None:
        due = self._next_check(container)
        if due is None:
            return
        if due > now:
            self._look_again(container, now)
            return
        if container.state is ContainerState.STARTING:
            self._kill(container, "it was not ready within its startup_timeout", now)
            self._start_failed(container.function, False, now)
            self._feed(now)
        elif container.state is ContainerState.STOPPING:
            container.since = now
            self._kill(container, "it did not end when asked to", now)
        elif not container.leases:
            self._end_idle(container, now)
        else:
            self._check_leases(container, now)

    def _end_idle(self, container: Container, now: float) -> None:
        function = container.function
        live = sum(1 for c in function.containers.values() if c.state is not ContainerState.STOPPING)
        if live > policy.wanted_containers(function):
            self._stop(container, now)
        else:
            container.since = max(now, now + policy.MIN_SCALEDOWN - function.settings.scaledown_window)
            self._look_again(container, now)

    def _check_leases(self, container: Container, now: float) -> None:
        head = container.leases[0]
        if head.interrupted is not None:
            head.interrupted = now
            self._kill(container, "its input did not end when interrupted", now)
            return
        timeout = container.function.settings.timeout
        if timeout is not None and now >= head.since + timeout:
            self._interrupt(head, now, timed_out=True)
        elif head.outstanding > 1 and not head.recalled:
            # Also for the sake of what it has finished: that is reported now.
            self._recall(head)
        elif self._has_room_elsewhere(container):
            self._recall_unstarted(container)
        else:
            container.looked = now
        self._look_again(container, now)

    def _has_room_elsewhere(self, container: Container) -> bool:
        """True if inputs that wait in this container could begin in another one."""
        function = container.function
        live = [c for c in function.containers.values() if c.state is not ContainerState.STOPPING]
        if any(c.idle for c in live):
            return True
        maximum = function.settings.max_containers
        return (maximum is None or len(live) < maximum) and self._may_activate(function)

    def _known(self, table: dict[str, T], key: str, what: str) -> T:
        try:
            return table[key]
        except KeyError:
            raise IllegalTransition(f"there is no {what} {key}") from None


def _is_due(what: Container | tuple[Call, InputRange] | Function, due: float) -> bool:
    """False for an entry of the timetable that something earlier replaced, or whose call was cancelled."""
    if isinstance(what, Container):
        return what.check_at == due
    return isinstance(what, Function) or not what[0].cancelled


def _rest(lease: Lease, start: int | None = None) -> InputRange:
    """What is outstanding of the lease, from input `start` on, as a range to be queued again."""
    first = lease.reported if start is None else start
    return InputRange(first, lease.stop, lease.chunk, lease.attempt, lease.losses)


def _crowded(container: Container) -> bool:
    """True if inputs in the container wait behind the one that runs."""
    return len(container.leases) > 1 or (bool(container.leases) and container.leases[0].outstanding > 1)
