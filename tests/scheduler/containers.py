"""A container that exists only in virtual time: it takes leases and does with them what a real one would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on
from modal_lite._worker.running_lease import FLUSH_INTERVAL
from tests.scheduler.client import Client

if TYPE_CHECKING:
    from tests.scheduler.world import World


@dataclass(frozen=True)
class Job:
    """What one attempt of one input does."""

    seconds: float = 0.01
    failure: FailureKind | None = None
    """It ends with this instead of a value."""
    obeys: bool = True
    """It ends when it is interrupted."""
    calls: tuple[tuple[str, int], ...] = ()
    """Functions it calls before its own work, each with so many inputs, waiting for one after the other."""
    kills: bool = False
    """Instead of ending it takes its container with it."""


@dataclass
class Held:
    """A lease in the container's hands: [start, following) ended, `following` runs or comes next."""

    lease_id: int
    call_id: str
    start: int
    stop: int
    following: int
    reported: int
    elapsed: float = 0.0


class SimulatedContainer:
    """Runs leases input by input; reports what it finished in time, and when a lease ends, fails, or is recalled."""

    runs_together = False
    """It runs several inputs at once."""

    def __init__(self, world: World, container_id: str, function_id: str) -> None:
        self.world = world
        self.container_id = container_id
        self.function_id = function_id
        self.held: list[Held] = []
        self.stopping = False
        self.dead = False
        self.gone = False
        self.client = Client(world, container_id, every=False)
        self._ended: set[int] = set()
        self._foretold: set[int] = set()
        """Leases that were recalled before they arrived: the two come over different connections."""
        self._postponed: list[Callable[[], None]] | None = None
        """What happened to it while it was frozen; None if it is not."""
        self.was_frozen = False
        self._job: Job | None = None
        self._run = 0
        """Grows with every input begun or given up: what was planned for an earlier one is then void."""
        self._child: int | None = None

    # --- being frozen ------------------------------------------------------------------------------------------------

    def act(self, act: Callable[[], None]) -> None:
        """Does what it is to do now; one that is frozen, when it is thawed."""
        if self._postponed is not None:
            self._postponed.append(act)
        elif not self.dead:
            act()

    def freeze(self) -> None:
        if self._postponed is None:
            self._postponed = []
            self.was_frozen = True

    def thaw(self) -> None:
        postponed, self._postponed = self._postponed, None
        for act in postponed or ():
            self.act(act)

    @property
    def frozen(self) -> bool:
        return self._postponed is not None

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self.world.later(seconds, lambda: self.act(act))

    # --- what the control plane sends --------------------------------------------------------------------------------

    def take(self, lease: do.SendLease) -> None:
        if self.stopping:
            return
        held = Held(lease.lease_id, lease.call_id, lease.start, lease.stop, lease.start, lease.start)
        self.held.append(held)
        if lease.lease_id in self._foretold:
            self._give_back(held, held.start)
        else:
            self._arrived(held)

    def _arrived(self, held: Held) -> None:
        self._begin()

    def recall(self, lease_id: int) -> None:
        held = self._find(lease_id)
        if held is None:
            self._foretell(lease_id)
            return
        self._report(held)
        running = self._job is not None and held is self.held[0]
        self._give_back(held, held.following + running)

    def interrupt(self, lease_id: int, timed_out: bool) -> None:
        held = self._find(lease_id)
        if held is None:
            self._foretell(lease_id)
            return
        self.recall(lease_id)
        if self._job is not None and self._job.obeys and held is self.held[0]:
            self._withdraw_child()
            self._end(FailureKind.TIMEOUT if timed_out else FailureKind.CANCELLED)

    def stop(self) -> None:
        self.stopping = True
        if self._job is None or self._job.obeys:
            self.die()

    def die(self, running_known: bool = True, start_error: bool = False, vanished: bool = False) -> None:
        """The process ends; the control plane hears of it a moment later."""
        if self.dead:
            return
        running = (self.held[0].lease_id, self.held[0].following) if self._job is not None else None
        self.dead = True
        self._run += 1
        gone = on.ContainerGone(self.container_id, running if running_known else None, start_error, vanished)
        self.world.later(self.world.loss_seconds, lambda: self._noticed(gone))

    def _noticed(self, gone: on.ContainerGone) -> None:
        self.gone = True
        self.client.close()
        self.world.tell(gone)
        del self.world.containers[self.container_id]

    # --- running -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self.stopping:
            self.die()
        if self.dead or self._job is not None or not self.held:
            return
        held = self.held[0]
        self._run += 1
        self._job = self.world.begin(self, held)
        self._call_next(self._run, 0)

    def _call_next(self, run: int, number: int) -> None:
        if run != self._run or self._job is None:
            return
        if number == len(self._job.calls):
            self._later(self._job.seconds, lambda: self._completed(run))
            return
        function_id, count = self._job.calls[number]
        held = self.held[0]
        self._child = self.client.call(
            function_id, count, (held.call_id, held.following), lambda: self._answered(run, number)
        )

    def _answered(self, run: int, number: int) -> None:
        if run == self._run and not self.dead:
            self._withdraw_child()
            self._call_next(run, number + 1)

    def _withdraw_child(self) -> None:
        if self._child is not None:
            self.client.withdraw(self._child)
            self._child = None

    def _completed(self, run: int) -> None:
        if run != self._run or self._job is None:
            return
        if self._job.kills:
            self.die()
        else:
            self._end(self._job.failure)

    def _end(self, failure: FailureKind | None) -> None:
        held = self.held[0]
        assert self._job is not None
        seconds, index = self._job.seconds, held.following
        self._job = None
        self._run += 1
        self.world.ended(self, held, failure)
        if failure is None:
            held.following += 1
            held.elapsed += seconds
            if held.elapsed >= FLUSH_INTERVAL:
                self._report(held)
        else:
            self._report(held)
            held.following = held.reported = index + 1
            self.send(on.FailureReported(self.container_id, held.lease_id, index, seconds, failure))
        if held.following == held.stop:
            self._report(held)
            self._drop(held)
        self._begin()

    # --- reporting ---------------------------------------------------------------------------------------------------

    def _report(self, held: Held) -> None:
        count = held.following - held.reported
        if count:
            self.send(on.OutputsReported(self.container_id, held.lease_id, held.reported, count, held.elapsed))
            held.reported = held.following
            held.elapsed = 0.0

    def _give_back(self, held: Held, start: int) -> None:
        if start < held.stop:
            held.stop = start
            self.send(on.InputsReturned(self.container_id, held.lease_id, start))
        if held.following == held.stop:
            self._drop(held)

    def _drop(self, held: Held) -> None:
        self.held.remove(held)
        self._ended.add(held.lease_id)

    def _foretell(self, lease_id: int) -> None:
        if lease_id not in self._ended:
            self._foretold.add(lease_id)

    def send(self, event: on.Event) -> None:
        self.world.post(f"from {self.container_id}", lambda: self.world.hear(self, event))

    def _find(self, lease_id: int) -> Held | None:
        return next((held for held in self.held if held.lease_id == lease_id), None)
