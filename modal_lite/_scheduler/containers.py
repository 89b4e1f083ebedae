"""What becomes of containers: ready, waiting for a call of their own, lost."""

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import events as on
from modal_lite._scheduler import policy
from modal_lite._scheduler.cores import Cores
from modal_lite._scheduler.leasing import Leasing
from modal_lite._scheduler.outcomes import Outcomes
from modal_lite._scheduler.records import Container, ContainerState, Function, InputRange, Lease, known
from modal_lite._scheduler.scaling import Scaling
from modal_lite._scheduler.timetable import Timetable


class Containers:
    """The events of containers.

    Args:
        functions: all functions by id; removed ones go with their last container.
        containers: all containers by id; those that are gone are removed here.
        timetable: takes when containers are to be looked at.
        cores: counts those that are active.
        scaling: replaces the lost ones.
        leasing: gives them inputs, and takes back what they had.
        outcomes: ends the inputs that cost too many containers.
    """

    def __init__(
        self,
        functions: dict[str, Function],
        containers: dict[str, Container],
        timetable: Timetable,
        cores: Cores,
        scaling: Scaling,
        leasing: Leasing,
        outcomes: Outcomes,
    ) -> None:
        self._functions = functions
        self._containers = containers
        self._timetable = timetable
        self._cores = cores
        self._scaling = scaling
        self._leasing = leasing
        self._outcomes = outcomes

    def awaits_place(self, event: on.ContainerAwaitsPlace, now: float) -> None:
        """See `ContainerAwaitsPlace`."""
        container = self._containers.get(event.container_id)
        if container is not None and container.state is ContainerState.STARTING:
            container.placed = False
            self._timetable.look_again(container)

    def placed(self, event: on.ContainerPlaced, now: float) -> None:
        """See `ContainerPlaced`."""
        container = self._containers.get(event.container_id)
        if container is not None and not container.placed:
            container.placed = True
            if container.state is ContainerState.STARTING:
                container.since = now
                self._timetable.look_again(container)

    def ready(self, event: on.ContainerReady, now: float) -> None:
        """See `ContainerReady`."""
        container = known(self._containers, event.container_id, "container")
        if container.state is ContainerState.STOPPING:
            return
        container.become(ContainerState.READY)
        container.since = now
        container.function.start_failures = 0
        container.function.no_start_before = 0.0
        self._cores.recount(container)
        self._timetable.look_again(container)
        self._leasing.serve(container.function, now)
        self._leasing.relieve(container.function, container)

    def waiting(self, event: on.ContainerWaiting, now: float) -> None:
        """See `ContainerWaiting`."""
        container = known(self._containers, event.container_id, "container")
        container.waits = event.waits
        self._cores.recount(container)
        if container.waiting:
            self._leasing.recall_unstarted(container)
            self._leasing.feed(now)

    def leaving(self, event: on.ContainerLeaving, now: float) -> None:
        """See `ContainerLeaving`."""
        container = known(self._containers, event.container_id, "container")
        self._scaling.let_go(container, now)
        self._scaling.scale(container.function, now)
        self._leasing.feed(now)

    def gone(self, event: on.ContainerGone, now: float) -> None:
        """See `ContainerGone`."""
        container = self._containers.pop(event.container_id, None)
        if container is None:
            return
        function = container.function
        del function.containers[container.container_id]
        died_at_start = container.state is ContainerState.STARTING
        was_told_to_end = container.state is ContainerState.STOPPING and not container.leaves
        container.state = ContainerState.STOPPING
        container.check_at = None
        for lease in reversed(container.leases):
            self._lose(lease, event.running, was_told_to_end, now)
        container.leases.clear()
        self._cores.recount(container)
        if died_at_start:
            self.start_failed(function, event.start_error, now, event.vanished)
        if function.removed:
            if not function.containers:
                self._functions.pop(function.function_id, None)
        else:
            self._scaling.scale(function, now)
        self._leasing.feed(now)

    def start_failed(self, function: Function, start_error: bool, now: float, vanished: bool = False) -> None:
        """Counts a container that was never ready; too many, or a certain error, fail the inputs that wait for it.

        As long as another container runs them they only wait longer. What is lost with its machine soon after another
        has failed may be lost with the same one, and is not counted again.
        """
        if vanished and now < function.no_start_before:
            return
        function.start_failures += 1
        delay = policy.START_BACKOFF * 2 ** min(function.start_failures - 1, 10)
        function.no_start_before = now + min(delay, policy.MAX_START_BACKOFF)
        self._timetable.add(function.no_start_before, function)
        given_up = start_error or function.start_failures >= policy.max_start_failures(function.settings)
        if given_up and not function.at_work:
            for call in function.line:
                self._outcomes.fail_pending(call, FailureKind.INIT)
                self._outcomes.finish_if_done(call)

    # --- losses ------------------------------------------------------------------------------------------------------

    def _lose(self, lease: Lease, running: tuple[int, int] | None, was_told_to_end: bool, now: float) -> None:
        """Takes back what a lost container had: what it ran is charged, the others were only waiting.

        Of several inputs that ran at once any may have killed it, so that all are charged; but none when it was told to
        end, for the sake of one of them.
        """
        call, index = lease.call, lease.reported
        outstanding = lease.outstanding
        call.function.running -= outstanding
        if not lease.current:
            return
        del call.leases[lease.lease_id]
        call.leased -= outstanding
        if lease.begun:
            kind = FailureKind.TIMEOUT if lease.timed_out else FailureKind.LOST
            self._outcomes.fail(call, lease.rest(), kind, lease.container.container_id)
            self._outcomes.finish_if_done(call)
            return
        charged = None
        if call.function.shares:
            if lease.interrupted is not None or not (lease.ahead or was_told_to_end):
                charged = index
        elif running is not None and running[0] == lease.lease_id and index <= running[1] < lease.stop:
            charged = running[1]
        elif lease.interrupted is not None:
            # It never began, in a container that was stuck: that is no fault of the input's, nor its timeout.
            charged, lease.timed_out = index, False
        if charged is None:
            self._leasing.queue(call, lease.rest(), front=True)
            return
        if charged + 1 < lease.stop:
            self._leasing.queue(call, lease.rest(charged + 1), front=True)
        if index < charged:
            before = InputRange(index, charged, lease.chunk, lease.attempt, lease.losses)
            self._leasing.queue(call, before, front=True)
        self._charge(lease, charged, now)
        self._outcomes.finish_if_done(call)

    def _charge(self, lease: Lease, index: int, now: float) -> None:
        """Decides what becomes of the input that a lost container was running."""
        call, container_id = lease.call, lease.container.container_id
        again = InputRange(index, index + 1, lease.chunk, lease.attempt, lease.losses)
        if lease.timed_out:
            if not self._outcomes.retry(lease, index, FailureKind.TIMEOUT, now):
                self._outcomes.fail(call, again, FailureKind.TIMEOUT, container_id)
        elif again.losses >= policy.max_losses(lease.call.function.settings):
            self._outcomes.fail(call, again, FailureKind.LOST, container_id)
        else:
            self._outcomes.attempted(lease, index, FailureKind.LOST)
            again.losses += 1
            self._leasing.queue(call, again, front=True)
