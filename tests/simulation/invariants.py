"""What must be true of a run, event by event, judged from outside the scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modal_lite._core.messages import FailureKind
from modal_lite._core.settings import FunctionSettings
from modal_lite._scheduler import Scheduler, policy
from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on
from modal_lite._scheduler.records import Container, InputRange
from tests.scheduler.containers import Held, SimulatedContainer
from tests.simulation.books import Books, ContainerEntry, FunctionEntry, LeaseEntry, Violation

if TYPE_CHECKING:
    from tests.simulation.world import SimulatedWorld

RETRIED = (FailureKind.USER, FailureKind.TIMEOUT)


class Invariants:
    """Follows events and commands, and raises Violation where one contradicts what came before."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self.books = Books()
        self._event: on.Event = on.TimePassed()
        self._event_lease: LeaseEntry | None = None
        self._followers: dict[type, Callable[[Any], object]] = {
            on.FunctionAdded: lambda e: self.books.functions.setdefault(e.function_id, FunctionEntry()),
            on.FunctionRemoved: self._removed,
            on.CallOpened: lambda e: self._chunk(e.call_id, 0, e.count),
            on.InputsAdded: lambda e: self._chunk(e.call_id, e.start, e.count),
            on.CallCancelled: lambda e: self._ended(e.call_id),
            on.CallForgotten: lambda e: self._ended(e.call_id),
            on.ContainerReady: self._ready,
            on.ContainerWaiting: self._waiting,
            on.ContainerGone: self._gone,
            on.OutputsReported: lambda e: self._reported(e, e.count),
            on.FailureReported: self._failed,
            on.InputsReturned: self._returned,
            do.StartContainer: self._start,
            do.StopContainer: self._stop,
            do.KillContainer: self._kill,
            do.SendLease: self._lease,
            do.RecallLease: self._recall,
            do.InterruptLease: self._interrupt,
            do.AcceptOutputs: self._accept_outputs,
            do.AcceptFailure: self._accept_failure,
            do.FailInputs: self._fail_inputs,
        }

    def follow(self, event: on.Event, commands: list[do.Command]) -> None:
        """The scheduler has answered an event with these commands."""
        self._event, self._event_lease = event, None
        container_id = getattr(event, "container_id", None)
        if commands and container_id is not None and container_id not in self.books.containers:
            raise Violation(f"{event} of a container that is gone led to {commands}")
        for what in (event, *commands):
            follower = self._followers.get(type(what))
            if follower is not None:
                follower(what)

    def begins(self, container: SimulatedContainer, held: Held) -> None:
        """A container begins an input."""
        ended = self.books.ended.get(held.call_id)
        # One that was frozen may find the input before it finds that it is not wanted.
        if ended is not None and not container.was_frozen and self._world.now > ended + self._world.slowest:
            raise Violation("an input began after its cancellation was known everywhere", held.call_id, held.following)

    # --- events ------------------------------------------------------------------------------------------------------

    def _chunk(self, call_id: str, start: int, count: int) -> None:
        if count:
            self.books.chunks[call_id, start] = count

    def _ended(self, call_id: str) -> None:
        ledger = self._world.calls[call_id]
        if not ledger.finished:
            self.books.ended.setdefault(call_id, self._world.now)
            self.books.void(call_id)

    def _removed(self, event: on.FunctionRemoved) -> None:
        self.books.functions[event.function_id].removed = True
        for ledger in self._world.calls.values():
            if ledger.function_id == event.function_id:
                self._ended(ledger.call_id)

    def _ready(self, event: on.ContainerReady) -> None:
        container = self.books.container(event.container_id)
        container.ready = True
        if not container.told_to_end:
            function = self.books.functions[container.function_id]
            function.failed_starts, function.import_failed = 0, False

    def _waiting(self, event: on.ContainerWaiting) -> None:
        self.books.container(event.container_id).waits = event.waits

    def _gone(self, event: on.ContainerGone) -> None:
        container = self.books.lose(event)
        if container is not None and not container.ready and not container.told_to_end:
            function = self.books.functions[container.function_id]
            function.failed_starts += 1
            function.import_failed = event.start_error
        if event.running is not None and container is not None:
            lease = container.leases.get(event.running[0])
            if lease is not None and self.books.sure_losses[lease.call_id, event.running[1]] > policy.MAX_LOSSES + 1:
                raise Violation("it has cost too many containers", lease.call_id, event.running[1])

    def _reported(self, event: on.OutputsReported | on.FailureReported, count: int) -> None:
        lease = self._event_lease = self.books.lease(event.container_id, event.lease_id)
        if lease is not None:
            self.books.advance(lease, count, self._world.now)

    def _failed(self, event: on.FailureReported) -> None:
        lease = self.books.lease(event.container_id, event.lease_id)
        self._reported(event, 1)
        if lease is not None and lease.current and event.kind in RETRIED:
            self._count_attempt(lease.call_id, event.index)

    def _count_attempt(self, call_id: str, index: int) -> None:
        self.books.attempts[call_id, index] += 1
        attempts = self.books.attempts[call_id, index]
        retries = self._settings_of(self._world.calls[call_id].function_id).retries
        if attempts > (0 if retries is None else retries.max_retries) + 1:
            raise Violation(f"it failed {attempts} times and was begun again each time", call_id, index)
        if retries is not None:
            self.books.not_before[call_id, index] = self._world.now + retries.delay(attempts)

    def _returned(self, event: on.InputsReturned) -> None:
        lease = self.books.lease(event.container_id, event.lease_id)
        if lease is not None:
            self.books.take_back(lease, event.start, self._world.now)

    # --- commands ----------------------------------------------------------------------------------------------------

    def _start(self, command: do.StartContainer) -> None:
        function_id = command.function_id
        if self.books.functions[function_id].removed:
            raise Violation(f"{command.container_id} is started for {function_id}, which was removed")
        entry = ContainerEntry(command.container_id, function_id)
        self.books.containers[command.container_id] = entry
        function = self._world.scheduler.functions[function_id]
        maximum, slots = function.settings.max_containers, self._world.slots
        alive = sum(1 for c in self.books.containers.values() if c.function_id == function_id and not c.told_to_end)
        if maximum is not None and alive > maximum:
            raise Violation(f"{command.container_id} is number {alive} of {function_id}, whose maximum is {maximum}")
        explicit = maximum is not None or function.settings.min_containers or function.settings.buffer_containers
        if not explicit and function.active > max(1, slots):
            raise Violation(f"{function_id} has {function.active} active containers on {slots} cores")

    def _stop(self, command: do.StopContainer) -> None:
        container = self.books.container(command.container_id)
        if container.told_to_end:
            raise Violation(f"{container.container_id} is told to end twice")
        container.told_to_end, container.told_at = True, self._world.now
        settings = self._settings_of(container.function_id)
        if settings.in_threads and settings.timeout is not None:
            limit = self._world.now - settings.timeout
            container.overdue = {lease.lease_id for lease in container.leases.values() if lease.since <= limit + 1e-9}

    def _kill(self, command: do.KillContainer) -> None:
        container = self.books.container(command.container_id)
        if not container.ready and not container.told_to_end:
            self.books.functions[container.function_id].failed_starts += 1
        container.told_to_end, container.told_at = True, self._world.now

    def _lease(self, command: do.SendLease) -> None:
        call_id, books, now = command.call_id, self.books, self._world.now
        container = books.container(command.container_id)
        if not container.ready or container.told_to_end:
            raise Violation(f"{command.container_id} gets a lease but is not ready for any", call_id, command.start)
        if container.function_id != self._world.calls[call_id].function_id:
            raise Violation(f"{command.container_id} is of another function", call_id, command.start)
        if call_id in books.ended:
            raise Violation("an input was leased after it was cancelled", call_id, command.start)
        if (call_id, command.chunk) not in books.chunks:
            raise Violation(f"its chunk is not {command.chunk}, or is no longer needed", call_id, command.start)
        for index in range(command.start, command.stop):
            if (call_id, index) in books.holders:
                raise Violation(f"an input was leased twice, and is {books.holders[call_id, index]}", call_id, index)
            if now < books.not_before.get((call_id, index), now) - 1e-6:
                raise Violation("a retry began before its time", call_id, index)
        settings = self._settings_of(container.function_id)
        if settings.single_use and container.leases:
            raise Violation(f"{command.container_id} is for one input and gets another", call_id, command.start)
        books.give(command, now, settings.shares)

    def _recall(self, command: do.RecallLease) -> None:
        if self.books.lease(command.container_id, command.lease_id) is None:
            raise Violation(f"{command} of a lease that {command.container_id} does not have")

    def _interrupt(self, command: do.InterruptLease) -> None:
        lease = self.books.lease(command.container_id, command.lease_id)
        if lease is None:
            raise Violation(f"{command} of a lease that {command.container_id} does not have")
        settings = self._settings_of(self.books.container(command.container_id).function_id)
        if command.timed_out and (settings.timeout is None or self._world.now < lease.since + settings.timeout - 1e-6):
            raise Violation("it is told that its time is over, and it is not", lease.call_id, lease.reported)
        lease.interrupted, lease.timed_out = self._world.now, command.timed_out

    # --- outcomes ----------------------------------------------------------------------------------------------------

    def _accept_outputs(self, command: do.AcceptOutputs) -> None:
        event = self._event
        if not isinstance(event, on.OutputsReported):
            raise Violation("values are accepted that nobody has just reported", command.call_id, command.start)
        if (event.start, event.count) != (command.start, command.count):
            raise Violation("other values are accepted than were reported", command.call_id, command.start)
        self._from_its_lease(command.call_id, command.start, command.count, command.chunk)
        for index in range(command.start, command.start + command.count):
            if not self._world.returned(event.lease_id, index):
                raise Violation("a value is accepted that no attempt has returned", command.call_id, index)

    def _accept_failure(self, command: do.AcceptFailure) -> None:
        event, call_id, index = self._event, command.call_id, command.index
        if not isinstance(event, on.FailureReported) or event.index != index:
            raise Violation("a failure is accepted that nobody has just reported", call_id, index)
        self._from_its_lease(call_id, index, 1, command.chunk)
        retries = self._settings_of(self._world.calls[call_id].function_id).retries
        allowed = retries.max_retries if retries is not None else 0
        if event.kind in RETRIED and self.books.attempts[call_id, index] <= allowed:
            raise Violation("it failed for good although it had retries left", call_id, index)

    def _from_its_lease(self, call_id: str, start: int, count: int, chunk: int) -> None:
        lease = self._event_lease
        if lease is None or not lease.current or lease.call_id != call_id or lease.chunk != chunk:
            raise Violation(f"a result is accepted of {lease}, which does not hold it", call_id, start)
        self._settle(call_id, start, count, chunk)

    def _fail_inputs(self, command: do.FailInputs) -> None:
        call_id, books, kind = command.call_id, self.books, command.kind
        function = books.functions[self._world.calls[call_id].function_id]
        for index in range(command.start, command.start + command.count):
            if (call_id, index) in books.holders:
                raise Violation(f"it ends while a container has it: {kind.value}", call_id, index)
            if kind is FailureKind.LOST and books.losses[call_id, index] <= policy.MAX_LOSSES:
                lost = books.losses[call_id, index]
                raise Violation(f"it ends as lost, but only {lost} containers died of it", call_id, index)
            if kind is FailureKind.TIMEOUT and not books.attempts[call_id, index]:
                raise Violation("it ends as out of time but was not", call_id, index)
        if kind is FailureKind.CANCELLED and call_id not in books.ended:
            raise Violation("it ends as cancelled, but nobody cancelled it", call_id, command.start)
        cannot_start = function.import_failed or function.failed_starts >= policy.MAX_START_FAILURES
        if kind is FailureKind.INIT and not cannot_start:
            raise Violation("it ends for want of containers, but they can start", call_id, command.start)
        self._settle(call_id, command.start, command.count, command.chunk)

    def _settle(self, call_id: str, start: int, count: int, chunk: int) -> None:
        left = self.books.chunks.get((call_id, chunk), 0) - count
        if left < 0:
            raise Violation(f"more inputs end of chunk {chunk} than there are in it", call_id, start)
        self.books.chunks[call_id, chunk] = left
        if not left:
            del self.books.chunks[call_id, chunk]

    # --- between events ----------------------------------------------------------------------------------------------

    def compare(self, scheduler: Scheduler) -> None:
        """The scheduler's leases, attempts and losses are those of the books."""
        books = self.books
        if len(scheduler.containers) != len(books.containers):
            raise Violation(f"containers {[*scheduler.containers]} are known, {[*books.containers]} are there")
        for container_id, container in scheduler.containers.items():
            theirs = {lease.lease_id: (lease.reported, lease.stop) for lease in container.leases}
            ours = books.containers[container_id].leases
            if len(theirs) != len(ours) or any(
                theirs.get(lease.lease_id) != (lease.reported, lease.stop) for lease in ours.values()
            ):
                raise Violation(f"{container} is believed to have {theirs}, it has {[*ours.values()]}")
            self._compare_waiting(container)
        for call in scheduler.calls.values():
            for waiting in call.pending:
                if waiting.attempt or waiting.losses:
                    self._compare_past(call.call_id, waiting)

    def _compare_waiting(self, container: Container) -> None:
        entry = self.books.containers[container.container_id]
        settings = self._settings_of(entry.function_id)
        waiting = entry.waits >= max(1, len(entry.leases) if settings.max_inputs > 1 else 1)
        busy = bool(entry.leases) and not waiting
        if container.active != (busy or not (entry.ready or entry.told_to_end)):
            raise Violation(f"{container} counts as {'' if container.active else 'not '}active; it waits: {waiting}")

    def in_time(self) -> None:
        """What takes too long is told to end, and a container killed if that does not help."""
        # An event brings with it all that was due before, so that late timers are no excuse.
        now = self._world.now - 1e-6
        for entry in self.books.containers.values():
            settings = self._settings_of(entry.function_id)
            if entry.told_to_end:
                if now > entry.told_at + policy.INTERRUPT_GRACE + settings.exit_grace:
                    raise Violation(f"{entry.container_id} was told to end, does not, and is not killed")
            elif not settings.max_batch_size:
                self._inputs_in_time(entry, settings, now)

    def _inputs_in_time(self, entry: ContainerEntry, settings: FunctionSettings, now: float) -> None:
        for lease in entry.leases.values():
            if lease.interrupted is not None:
                if now > lease.interrupted + policy.INTERRUPT_GRACE:
                    raise Violation("it does not end when told to, and its container lives", lease.call_id)
            elif settings.timeout is not None and now > lease.since + settings.timeout:
                raise Violation("it is out of time and nobody minds", lease.call_id, lease.reported)
            if not lease.together:
                return  # The others wait behind this one.

    def all_ended(self) -> None:
        """Nothing is left of a cancelled call but its outcomes."""
        event = self._event
        if isinstance(event, on.CallCancelled | on.CallForgotten):
            ledger = self._world.calls[event.call_id]
            left = set(range(ledger.added)) - ledger.outcomes.keys()
            if left:
                raise Violation("it was cancelled and has not ended", event.call_id, min(left))

    def at_rest(self) -> None:
        """Nothing is left at all."""
        books = self.books
        if books.containers or books.holders or books.chunks:
            raise Violation(f"left over: {books.containers}, {books.holders}, {books.chunks}")

    def _compare_past(self, call_id: str, waiting: InputRange) -> None:
        for index in range(waiting.start, waiting.stop):
            attempts, losses = self.books.attempts[call_id, index], self.books.losses[call_id, index]
            if waiting.attempt > attempts:
                raise Violation(f"{waiting.attempt} retries are charged for {attempts} failures", call_id, index)
            if waiting.losses > losses:
                raise Violation(f"{waiting.losses} losses are charged, {losses} containers died", call_id, index)

    def _settings_of(self, function_id: str) -> FunctionSettings:
        return self._world.settings[function_id]
