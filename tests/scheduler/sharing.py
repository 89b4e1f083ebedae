"""Containers in virtual time that run several inputs at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_lite._core.messages import FailureKind
from modal_lite._core.settings import FunctionSettings
from modal_lite._scheduler import events as on
from tests.scheduler.client import Client
from tests.scheduler.containers import Held, Job, SimulatedContainer

if TYPE_CHECKING:
    from tests.scheduler.world import World


@dataclass
class Run:
    """An input that runs."""

    held: Held
    job: Job
    child: int | None = None
    over: bool = False


class SharingContainer(SimulatedContainer):
    """Runs each lease, of one input, as soon as it has it."""

    runs_together = True

    def __init__(self, world: World, container_id: str, function_id: str, settings: FunctionSettings) -> None:
        super().__init__(world, container_id, function_id)
        self.client = Client(world, container_id, every=settings.max_inputs > 1)
        self.settings = settings
        self.runs: dict[int, Run] = {}
        """By lease."""

    # --- what the control plane sends --------------------------------------------------------------------------------

    def recall(self, lease_id: int) -> None:
        held = self._find(lease_id)
        if held is None:
            self._foretell(lease_id)
        elif lease_id not in self.runs:
            self._give_back(held, held.start)

    def interrupt(self, lease_id: int, timed_out: bool) -> None:
        if self.settings.in_threads:
            return  # They go on.
        self.recall(lease_id)
        run = self.runs.get(lease_id)
        if run is not None and run.job.obeys:
            self._finish(run, FailureKind.TIMEOUT if timed_out else FailureKind.CANCELLED)

    def stop(self) -> None:
        self.stopping = True
        if self.settings.in_threads or all(run.job.obeys for run in self.runs.values()):
            self.die()

    # --- running -----------------------------------------------------------------------------------------------------

    def _arrived(self, held: Held) -> None:
        assert len(self.runs) < self.settings.max_inputs, "more inputs than the container may run"
        self._call_next_of(self._start(held), 0)

    def _start(self, held: Held) -> Run:
        assert held.stop == held.start + 1
        run = self.runs[held.lease_id] = Run(held, self.world.begin(self, held))
        return run

    def _call_next_of(self, run: Run, number: int) -> None:
        if number == len(run.job.calls):
            self._later(run.job.seconds, lambda: self._completed_run(run))
            return
        function_id, count = run.job.calls[number]
        parent = (run.held.call_id, run.held.following)
        run.child = self.client.call(function_id, count, parent, lambda: self._child_ended(run, number))

    def _child_ended(self, run: Run, number: int) -> None:
        if not run.over and not self.dead:
            self._withdraw(run)
            self._call_next_of(run, number + 1)

    def _withdraw(self, run: Run) -> None:
        if run.child is not None:
            self.client.withdraw(run.child)
            run.child = None

    def _completed_run(self, run: Run) -> None:
        if run.over or self.dead:
            return
        if run.job.kills:
            self.die()
        else:
            self._end_run(run, run.job.failure)

    def _end_run(self, run: Run, failure: FailureKind | None) -> None:
        """The function ended by itself."""
        self._finish(run, failure)

    def _finish(self, run: Run, failure: FailureKind | None) -> None:
        if run.over or self.dead:
            return
        run.over = True
        self._withdraw(run)
        held = run.held
        del self.runs[held.lease_id]
        self._drop(held)
        self.world.ended(self, held, failure)
        if failure is None:
            self.send(on.OutputsReported(self.container_id, held.lease_id, held.start, 1, run.job.seconds))
        else:
            self.send(on.FailureReported(self.container_id, held.lease_id, held.start, run.job.seconds, failure))
        if self.stopping and not self.runs:
            self.die()


class BatchingContainer(SharingContainer):
    """Gathers leases and runs them together: the first input says how long, and whether it fails."""

    def __init__(self, world: World, container_id: str, function_id: str, settings: FunctionSettings) -> None:
        super().__init__(world, container_id, function_id, settings)
        self._gathering = 0
        """Grows with every batch: a wait that was for an earlier one is void."""
        self._waits = False

    def interrupt(self, lease_id: int, timed_out: bool) -> None:
        self.recall(lease_id)
        run = self.runs.get(lease_id)
        if run is None:
            return
        if not timed_out and len(self.runs) > 1:
            leader = self._leader()
            self._finish(run, FailureKind.CANCELLED)
            if run is leader:
                self._call_next_of(self._leader(), len(self._leader().job.calls))
        elif self._leader().job.obeys:
            kind = FailureKind.TIMEOUT if timed_out else FailureKind.CANCELLED
            self._end_run(self._leader(), kind)

    def _leader(self) -> Run:
        return next(iter(self.runs.values()))

    def _arrived(self, held: Held) -> None:
        self._gather()

    def _gather(self) -> None:
        if self.runs or self.dead or not self.held:
            return
        if len(self.held) >= self.settings.max_batch_size:
            self._run_batch()
        elif not self._waits:
            self._waits = True
            number = self._gathering
            self._later(self.settings.batch_wait, lambda: self._waited(number))

    def _waited(self, number: int) -> None:
        if number == self._gathering and not self.dead:
            self._waits = False
            self._run_batch()

    def _run_batch(self) -> None:
        self._gathering += 1
        self._waits = False
        for held in self.held[: self.settings.max_batch_size]:
            self._start(held)
        if self.runs:
            self._call_next_of(self._leader(), 0)

    def _end_run(self, run: Run, failure: FailureKind | None) -> None:
        if run.over or self.dead:
            return
        for each in list(self.runs.values()):
            self._finish(each, failure)
        self._gather()
