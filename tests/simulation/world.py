"""A world in which nothing can be relied on, yet everything follows from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import msgspec

from modal_lite._core.messages import FailureKind
from modal_lite._core.settings import FunctionSettings
from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on
from modal_lite._scheduler.invariants import validate
from modal_lite._scheduler.records import IllegalTransition
from tests.scheduler.containers import Held, Job, SimulatedContainer
from tests.scheduler.world import World
from tests.simulation.books import Violation
from tests.simulation.invariants import Invariants
from tests.simulation.story import Story

PATIENCE = 3600.0
"""Seconds without faults in which a function with waiting inputs gets one into a container, whatever the others do."""
FAILURES = (FailureKind.USER, FailureKind.USER, FailureKind.SERIALIZATION)


@dataclass(frozen=True)
class Habits:
    """What the inputs of a function are like. Shares are of 1."""

    seconds: tuple[float, ...] = (1e-5,)
    """How long an input takes, each as likely."""
    failing: float = 0.0
    killing: float = 0.0
    """Inputs that take with them every container they meet."""
    deaf: float = 0.0
    """Inputs that do not end when interrupted."""
    calling: float = 0.0
    """Inputs that call other functions and wait for the answers."""
    yields: bool = False
    """It is a generator: once some of its values are delivered, it cannot begin anew."""


class SimulatedWorld(World):
    """A world whose network, clocks and containers fail when told to, watched at every event.

    Args:
        seed: decides about everything that is not decided by the plan.
        slots: cores to share.
        devices: GPUs to share.
    """

    def __init__(self, seed: int, slots: int, devices: int) -> None:
        super().__init__(slots, self._work, max_steps=60_000, check=False)
        self.seed = seed
        self.slots = slots
        self.devices = devices
        self.chance = random.Random(seed)
        self.settings: dict[str, FunctionSettings] = {}
        self.habits: dict[str, Habits] = {}
        self.functions: list[str] = []
        """Those that were not removed. Functions call those after them only."""
        self.tape = Story(self.now)
        self.invariants = Invariants(self)
        self.delays: tuple[float, ...] = (0.0002,)
        """Seconds that messages take, each as likely."""
        self.slowest = 0.0002
        """Seconds that a message has taken at most, connections being in order."""
        self.notices: tuple[float, ...] = (0.001,)
        """Seconds from a container's death until it is noticed, each as likely."""
        self.lateness = 0.0
        """Seconds that the control plane's timer is late."""
        self.repeating = 0.0
        """Share of messages from containers that arrive twice."""
        self.events = 0
        self._results: dict[tuple[int, int], FailureKind | None] = {}
        """Lease and index -> how the attempt ended in the container."""
        self._corrupt: set[str] = set()
        """Containers that have said something twice."""
        self._yielded: set[str] = set()
        self._served: dict[str, float] = {}
        """When the function, which has a backlog, was last given something; from the end of the faults on."""
        self._calm = False
        self._uneventful = False
        """The last event was nothing but a look at the clock."""
        self.tell(on.DevicesFound(devices))

    # --- what users do -----------------------------------------------------------------------------------------------

    def add_function(self, habits: Habits, **settings: Any) -> str:
        function_id = f"fu-{len(self.settings)}"
        self.settings[function_id] = FunctionSettings(**settings)
        self.habits[function_id] = habits
        self.functions.append(function_id)
        self.add(function_id, **settings)
        return function_id

    def _work(self, function_id: str, call_id: str, index: int, attempt: int) -> Job:
        habits = self.habits[function_id]
        # What an input is like must not depend on what else happens, or no step could be left out of a failing run.
        nature = random.Random(crc32(f"{self.seed} {call_id} {index}".encode()))
        kills = nature.random() < habits.killing
        calls = nature.random() < habits.calling
        chance = random.Random(crc32(f"{self.seed} {call_id} {index} {attempt}".encode()))
        later = [other for other in self.functions if int(other[3:]) > int(function_id[3:])]
        return Job(
            chance.choice(habits.seconds),
            chance.choice(FAILURES) if chance.random() < habits.failing else None,
            obeys=chance.random() >= habits.deaf,
            calls=tuple((chance.choice(later), chance.choice((1, 1, 1, 3))) for _ in range(chance.randint(1, 2)))
            if calls and later
            else (),
            kills=kills,
        )

    # --- time and messages -------------------------------------------------------------------------------------------

    @property
    def loss_seconds(self) -> float:
        return self.chance.choice(self.notices)

    @loss_seconds.setter
    def loss_seconds(self, seconds: float) -> None:
        self.notices = (seconds,)

    def post(self, channel: str, act: Callable[[], None]) -> None:
        self.latency = self.chance.choice(self.delays)
        super().post(channel, act)
        self.slowest = max(self.slowest, self._arrivals[channel] - self.now)

    def _due(self) -> float | None:
        deadline = self.scheduler.next_deadline()
        plan = self._plans[0][0] if self._plans else None
        if deadline is None or (plan is not None and plan <= deadline + self.lateness):
            return plan
        return deadline + self.lateness

    def hear(self, container: SimulatedContainer, event: on.Event) -> None:
        if container.gone:
            # Where connections outlive what the control plane believes of them, such a message may still arrive.
            fenced = isinstance(event, on.OutputsReported | on.FailureReported | on.InputsReturned)
            if fenced and self.repeating and self.chance.random() < 0.5:
                self.tell(event)
            else:
                self.tape.note(self.now, f"{container.container_id} said before it was gone, unheard: {event}")
            return
        self.tell(event)
        if self.repeating and self.chance.random() < self.repeating and not container.gone:
            self._corrupt.add(container.container_id)
            self.tape.note(self.now, f"{container.container_id} says it twice")
            self.tell(event)

    def tell(self, event: on.Event) -> None:
        deadline = self.scheduler.next_deadline()
        if deadline is not None and deadline <= self.now and not isinstance(event, on.TimePassed):
            # By itself, or what is due now would look as if the event had brought it about.
            self.tell(on.TimePassed())
        self.events += 1
        try:
            super().tell(event)
        except IllegalTransition as error:
            container_id = getattr(event, "container_id", "")
            if container_id not in self._corrupt:
                raise Violation(f"refused {event}: {error}") from error
            # As the control plane does with a container whose messages make no sense.
            self.tape.note(self.now, f"{container_id} is given up for saying it: {error}")
            self.containers[container_id].die()
        if not self._uneventful:
            self.invariants.compare(self.scheduler)
            self.invariants.all_ended()
        self.invariants.in_time()
        if self._calm:
            self._look_for_starvation()

    def handled(self, event: on.Event, commands: list[do.Command]) -> None:
        # Most looks at the clock lead to nothing; if they broke something, the next event will tell.
        self._uneventful = isinstance(event, on.TimePassed) and not commands
        if not self._uneventful:
            self.tape.handled(self.now, event, commands)
            validate(self.scheduler)
            self.invariants.follow(event, commands)

    # --- containers --------------------------------------------------------------------------------------------------

    def _start_container(self, command: do.StartContainer) -> None:
        wanted = self.settings[command.function_id].gpus
        if wanted > self.devices:
            self._not_started(command, certain=True)
        elif self.starts and self.starts[0] == "no fork":
            self.starts.popleft()
            self._not_started(command, certain=False)
        else:
            taken = sum(self.settings[c.function_id].gpus for c in self.containers.values() if not c.gone)
            if taken + wanted > self.devices:
                raise Violation(f"{command.container_id} starts without the GPUs it wants: {taken} are taken")
            super()._start_container(command)

    def _not_started(self, command: do.StartContainer, certain: bool) -> None:
        """There is no such container, as the scheduler hears in its turn."""
        container_id = command.container_id
        self.tape.note(self.now, f"{container_id} cannot be started")
        container = self._simulate(container_id, command.function_id)
        self.containers[container_id] = container
        container.dead = container.gone = True

        def tell() -> None:
            self.tell(on.ContainerGone(container_id, None, certain))
            del self.containers[container_id]

        self.later(0.0, tell)

    def _send_lease(self, command: do.SendLease) -> None:
        super()._send_lease(command)
        if command.call_id in self._yielded:
            self.later(0.0, lambda: self._give_up_generator(command.call_id))
        self._served[self.calls[command.call_id].function_id] = self.now

    def _give_up_generator(self, call_id: str) -> None:
        """Its consumer would see its first values twice."""
        if call_id in self.scheduler.calls and not self.calls[call_id].forgotten:
            self.forget(call_id)

    def _finish_call(self, command: do.FinishCall) -> None:
        super()._finish_call(command)
        call_id = command.call_id
        if self.calls[call_id].then is None and self.chance.random() < 0.8:
            self.later(0.01, lambda: self._take_results(call_id))

    def _take_results(self, call_id: str) -> None:
        """Its client has all it wanted."""
        if not self.calls[call_id].forgotten:
            self.forget(call_id)

    def begin(self, container: SimulatedContainer, held: Held) -> Job:
        self.invariants.begins(container, held)
        self.tape.note(self.now, f"{container.container_id} begins input {held.following} of {held.call_id}")
        job = super().begin(container, held)
        if self.habits[container.function_id].yields and self.calls[held.call_id].added == 1:
            self.post(f"from {container.container_id}", lambda: self._yields(container, held.call_id))
        return job

    def _yields(self, container: SimulatedContainer, call_id: str) -> None:
        if not container.gone:
            self._yielded.add(call_id)

    def ended(self, container: SimulatedContainer, held: Held, failure: FailureKind | None) -> None:
        index = held.start if container.runs_together else held.following
        self._results[held.lease_id, index] = failure

    def returned(self, lease_id: int, index: int) -> bool:
        """True if the attempt of this input under the lease returned a value."""
        return self._results.get((lease_id, index), FailureKind.LOST) is None

    # --- the end -----------------------------------------------------------------------------------------------------

    def calm_down(self) -> None:
        """No more faults: what was promised is due."""
        self.tape.note(self.now, "no more faults from here on")
        self._calm = True
        self.delays, self.notices, self.lateness, self.repeating = (0.0002,), (0.001,), 0.0, 0.0
        self.starts.clear()
        for container in list(self.containers.values()):
            container.thaw()
        for ledger in list(self.calls.values()):
            if not ledger.closed:
                self.close(ledger.call_id)
        for function_id in self.functions:
            if self.settings[function_id].gpus:
                # A container that is kept warm keeps its devices, however long others wait for them.
                self.update(function_id, min_containers=0, buffer_containers=0)
        self._served = dict.fromkeys(self.functions, self.now)
        self.finish()

    def leave(self) -> None:
        """Everybody forgets everything: nothing may be left."""
        for ledger in list(self.calls.values()):
            if not ledger.outcomes.keys() == set(range(ledger.added)):
                raise Violation("it has finished without all outcomes", ledger.call_id)
            if not ledger.forgotten:
                self.forget(ledger.call_id)
        for function_id in self.functions:
            self.update(function_id, min_containers=0, buffer_containers=0, scaledown_window=1.0)
        self.pass_time(PATIENCE)
        scheduler = self.scheduler
        if scheduler.calls or scheduler.containers or scheduler.total_active:
            raise Violation(f"left over: {[*scheduler.calls]}, {[*scheduler.containers]}, {scheduler.total_active}")
        if any(not container.dead for container in self.containers.values()):
            raise Violation(f"containers outlive their use: {[*self.containers]}")
        if set(scheduler.functions) != set(self.functions):
            raise Violation(f"functions {[*scheduler.functions]} are known, {self.functions} are there")
        self.invariants.at_rest()

    def update(self, function_id: str, **changes: Any) -> None:
        """Changes what can be changed of a function while it is in use."""
        self.settings[function_id] = msgspec.structs.replace(self.settings[function_id], **changes)
        self.tell(on.FunctionChanged(function_id, self.settings[function_id]))

    def _look_for_starvation(self) -> None:
        for function in self.scheduler.functions.values():
            if not function.backlog:
                self._served[function.function_id] = self.now
            elif self.now - self._served.get(function.function_id, self.now) > PATIENCE:
                call = next(call for call in function.line if call.pending)
                raise Violation("it waits for ever", call.call_id, call.pending[0].start)
