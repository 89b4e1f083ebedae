"""Virtual time around the scheduler: simulated containers, callers who keep books, and a check after every event."""

import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count as numbers
from typing import Any

from modal_lite._core.messages import FailureKind
from modal_lite._core.settings import FunctionSettings
from modal_lite._scheduler import Scheduler, invariants
from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on
from modal_lite._scheduler.records import Function
from tests.scheduler.containers import Held, Job, SimulatedContainer
from tests.scheduler.sharing import BatchingContainer, SharingContainer

Work = Callable[[str, str, int, int], Job]
"""(function id, call id, index, attempt counted from 1) -> what that attempt does."""


@dataclass
class Ledger:
    """A caller's books of one call, kept apart from the scheduler's."""

    call_id: str
    function_id: str
    then: Callable[[], None] | None
    added: int = 0
    closed: bool = False
    finished: bool = False
    forgotten: bool = False
    outcomes: dict[int, FailureKind | None] = field(default_factory=dict)
    """Index -> how the input failed, None for a value."""
    attempts: Counter[int] = field(default_factory=Counter)
    """Index -> how often it was begun in a container."""


class World:
    """Drives a scheduler the way the control plane does.

    Args:
        slots: cores to share.
        work: what each attempt does; 10 ms and a value unless given.
        start_seconds: from the start of a container until it is ready.
        max_steps: events after which a run counts as a livelock.
        check: validate the scheduler's state after every event.
    """

    def __init__(
        self,
        slots: int = 2,
        work: Work | None = None,
        start_seconds: float = 0.02,
        max_steps: int = 200_000,
        check: bool = True,
    ) -> None:
        serial = numbers(1)
        self.scheduler = Scheduler(slots, lambda: f"ta-{next(serial)}")
        self.work: Work = work or (lambda function_id, call_id, index, attempt: Job())
        self.now = 1000.0
        self.latency = 0.0002
        """Seconds from a message's sending to its arrival, to and from containers."""
        self.loss_seconds = 0.001
        """Seconds from a container's death until it is noticed; less than `latency` loses its last reports."""
        self.start_seconds = start_seconds
        self.place_seconds = 1.0
        """For which a container that waits for its place does so."""
        self.starts: deque[str] = deque()
        """How the next containers start: "ready", "dies", "vanishes", "error" (of an import in it) or "hangs"."""
        self.containers: dict[str, SimulatedContainer] = {}
        self.calls: dict[str, Ledger] = {}
        self.commands: list[do.Command] = []
        """All that the scheduler has wanted so far."""
        self.max_steps = max_steps
        self.check = check
        self.peak: Counter[str] = Counter()
        """Function id -> the most of its containers that were alive at once."""
        self._told_to_end: set[str] = set()
        self._reported = FailureKind.USER
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._arrivals: dict[str, float] = {}
        """Channel -> when its last message arrives."""
        self._number = numbers(1)
        self._calls = numbers(1)
        self._carriers: dict[type[do.Command], Callable[[Any], None]] = {
            do.StartContainer: self._start_container,
            do.StopContainer: self._stop_container,
            do.KillContainer: self._kill_container,
            do.SendLease: self._send_lease,
            do.RecallLease: lambda c: self._reach(c.container_id, lambda x: x.recall(c.lease_id)),
            do.InterruptLease: lambda c: self._reach(c.container_id, lambda x: x.interrupt(c.lease_id, c.timed_out)),
            do.AcceptOutputs: lambda c: self._outcome(c.call_id, c.start, c.count, None),
            do.AcceptFailure: lambda c: self._outcome(c.call_id, c.index, 1, self._reported),
            do.FailInputs: lambda c: self._outcome(c.call_id, c.start, c.count, c.kind),
            do.FinishCall: self._finish_call,
        }

    # --- what callers do ---------------------------------------------------------------------------------------------

    def add(self, function_id: str, **settings: Any) -> Function:
        self.tell(on.FunctionAdded(function_id, FunctionSettings(**settings)))
        return self.scheduler.functions[function_id]

    def change(self, function_id: str, **settings: Any) -> None:
        self.tell(on.FunctionChanged(function_id, FunctionSettings(**settings)))

    def call(
        self,
        function_id: str,
        count: int = 1,
        closed: bool = True,
        parent: tuple[str, int] | None = None,
        then: Callable[[], None] | None = None,
        forgotten: bool = False,
    ) -> str:
        call_id = f"fc-{next(self._calls)}"
        self.calls[call_id] = Ledger(call_id, function_id, then, count, closed, forgotten=forgotten)
        self.tell(on.CallOpened(call_id, function_id, parent, count, closed, forgotten))
        return call_id

    def add_inputs(self, call_id: str, count: int) -> None:
        ledger = self.calls[call_id]
        start, ledger.added = ledger.added, ledger.added + count
        self.tell(on.InputsAdded(call_id, start, count))

    def close(self, call_id: str) -> None:
        self.calls[call_id].closed = True
        self.tell(on.InputsClosed(call_id))

    def cancel(self, call_id: str, terminate_containers: bool = False) -> None:
        self.calls[call_id].closed = True
        self.tell(on.CallCancelled(call_id, terminate_containers))

    def forget(self, call_id: str) -> None:
        ledger = self.calls[call_id]
        ledger.closed = True
        if call_id in self.scheduler.calls:
            self.tell(on.CallForgotten(call_id))
        ledger.forgotten = True

    # --- time --------------------------------------------------------------------------------------------------------

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._plans, (self.now + seconds, next(self._number), act))

    def post(self, channel: str, act: Callable[[], None]) -> None:
        """Later by the latency, but never before what was posted to the same channel earlier."""
        arrival = max(self.now + self.latency, self._arrivals.get(channel, 0.0))
        self._arrivals[channel] = arrival
        heapq.heappush(self._plans, (arrival, next(self._number), act))

    def run(self, until: Callable[[], bool]) -> None:
        """Lets time pass until the condition holds. Fails if nothing is left that could make it true."""
        for _ in range(self.max_steps):
            if until():
                return
            if not self.step():
                raise AssertionError(f"nothing will happen any more: {self.story()}")
        raise AssertionError(f"livelock: {self.max_steps} steps were not enough: {self.story()}")

    def finish(self) -> None:
        """Lets time pass until every call is finished."""
        self.run(lambda: all(ledger.finished for ledger in self.calls.values()))

    def pass_time(self, seconds: float) -> None:
        """Lets so much time pass, and all happen that is due by then."""
        end = self.now + seconds
        for _ in range(self.max_steps):
            due = self._due()
            if due is None or due > end:
                self.now = end
                return
            self.step()
        raise AssertionError(f"livelock: {self.max_steps} steps in {seconds} seconds: {self.story()}")

    def _due(self) -> float | None:
        deadline = self.scheduler.next_deadline()
        dues = [self._plans[0][0]] if self._plans else []
        return min(dues if deadline is None else [*dues, deadline], default=None)

    def step(self) -> bool:
        due = self._due()
        if due is None:
            return False
        self.now = max(self.now, due)
        if self._plans and self._plans[0][0] <= self.now:
            heapq.heappop(self._plans)[2]()
        else:
            self.tell(on.TimePassed())
        return True

    def tell(self, event: on.Event) -> None:
        """One event: the scheduler's commands are carried out, then its state is checked."""
        if isinstance(event, on.FailureReported):
            self._reported = event.kind
        commands = self.scheduler.handle(event, self.now)
        self.handled(event, commands)
        deadline = self.scheduler.next_deadline()
        assert deadline is None or deadline > self.now, "what is due now was not done"
        if self.check:
            invariants.validate(self.scheduler)
        self.commands += commands
        for command in commands:
            self._carriers[type(command)](command)

    def hear(self, container: SimulatedContainer, event: on.Event) -> None:
        """A container's message arrives; with the connection of one that is gone, its last messages are lost."""
        if not container.gone:
            self.tell(event)

    def handled(self, event: on.Event, commands: list[do.Command]) -> None:
        """An event was handled; its commands are carried out next. For worlds that look closer."""

    # --- commands ----------------------------------------------------------------------------------------------------

    def _start_container(self, command: do.StartContainer) -> None:
        container = self._simulate(command.container_id, command.function_id)
        self.containers[command.container_id] = container
        self.peak[command.function_id] = max(self.peak[command.function_id], self.alive(command.function_id))
        how = self.starts.popleft() if self.starts else "ready"
        if how == "ready":
            self.later(self.start_seconds, lambda: container.act(lambda: self._ready(container)))
        elif how == "waits":
            self.later(0.0, lambda: self._place(container, on.ContainerAwaitsPlace(container.container_id)))
            self.later(self.place_seconds, lambda: self._place(container, on.ContainerPlaced(container.container_id)))
            self.later(self.place_seconds + self.start_seconds, lambda: container.act(lambda: self._ready(container)))
        elif how != "hangs":
            self.later(
                self.start_seconds, lambda: container.die(start_error=how == "error", vanished=how == "vanishes")
            )

    def _place(self, container: SimulatedContainer, event: on.Event) -> None:
        if not container.gone:
            self.tell(event)

    def _simulate(self, container_id: str, function_id: str) -> SimulatedContainer:
        settings = self.scheduler.functions[function_id].settings
        if settings.max_batch_size:
            return BatchingContainer(self, container_id, function_id, settings)
        if settings.max_inputs > 1:
            return SharingContainer(self, container_id, function_id, settings)
        return SimulatedContainer(self, container_id, function_id)

    def _ready(self, container: SimulatedContainer) -> None:
        container.send(on.ContainerReady(container.container_id))

    def _stop_container(self, command: do.StopContainer) -> None:
        self._told_to_end.add(command.container_id)
        self._reach(command.container_id, SimulatedContainer.stop)

    def _kill_container(self, command: do.KillContainer) -> None:
        container = self.containers[command.container_id]
        self._told_to_end.add(command.container_id)
        # Nothing keeps a process from being killed, frozen or not.
        self.post(f"to {command.container_id}", container.die)

    def _reach(self, container_id: str, act: Callable[[SimulatedContainer], None], channel: str = "control") -> None:
        """A message over one of the container's connections; those do not wait for each other."""
        container = self.containers[container_id]
        self.post(f"{channel} to {container_id}", lambda: container.act(lambda: act(container)))

    def _send_lease(self, command: do.SendLease) -> None:
        ledger = self.calls[command.call_id]
        leased = range(command.start, command.stop)
        assert not [index for index in leased if index in ledger.outcomes], "an input that is done was leased again"
        assert command.container_id not in self._told_to_end, "a stopped container got a lease"
        self._reach(command.container_id, lambda container: container.take(command), "data")

    def begin(self, container: SimulatedContainer, held: Held) -> Job:
        """A container begins the input that follows in the lease."""
        ledger, index = self.calls[held.call_id], held.following
        ledger.attempts[index] += 1
        return self.work(container.function_id, held.call_id, index, ledger.attempts[index])

    def ended(self, container: SimulatedContainer, held: Held, failure: FailureKind | None) -> None:
        """The input that follows in the lease has ended; it will be reported. For worlds that look closer."""

    def _outcome(self, call_id: str, start: int, count: int, failure: FailureKind | None) -> None:
        ledger = self.calls[call_id]
        for index in range(start, start + count):
            assert index not in ledger.outcomes, f"input {index} of {call_id} has two outcomes"
            assert index < ledger.added, f"{call_id} has no input {index}"
            ledger.outcomes[index] = failure

    def _finish_call(self, command: do.FinishCall) -> None:
        ledger = self.calls[command.call_id]
        assert not ledger.finished, f"{command.call_id} finished twice"
        assert ledger.closed, f"{command.call_id} finished while it was open"
        assert len(ledger.outcomes) == ledger.added, f"{command.call_id} finished without all outcomes"
        ledger.finished = True
        if ledger.then is not None:
            self.later(0.0, ledger.then)

    # --- looking -----------------------------------------------------------------------------------------------------

    def sent(self, kind: type[do.Command]) -> list[Any]:
        """The commands of one kind so far."""
        return [command for command in self.commands if type(command) is kind]

    def outcomes(self, call_id: str) -> list[FailureKind | None]:
        """How the call's inputs ended, in input order."""
        return [self.calls[call_id].outcomes[index] for index in range(self.calls[call_id].added)]

    def alive(self, function_id: str) -> int:
        """Containers of the function that were not told to end."""
        mine = [c.container_id for c in self.containers.values() if c.function_id == function_id and not c.dead]
        return len(set(mine) - self._told_to_end)

    def story(self) -> str:
        """What is unfinished, for a failed assertion."""
        calls = [c for c in self.scheduler.calls.values() if not c.finished]
        lines = [f"{c.call_id} of {c.function.function_id}: {c.waiting} wait, {c.leased} leased" for c in calls]
        return "\n".join([f"at {self.now:.4f}", *lines, *map(repr, self.scheduler.containers.values())])
