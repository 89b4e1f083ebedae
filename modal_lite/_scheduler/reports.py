"""What containers report of their leases: values, failures, inputs given back."""

from itertools import islice
from math import inf

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import events as on
from modal_lite._scheduler import policy
from modal_lite._scheduler.cores import Cores
from modal_lite._scheduler.leasing import Leasing
from modal_lite._scheduler.outcomes import Outcomes
from modal_lite._scheduler.records import Container, ContainerState, IllegalTransition, Lease
from modal_lite._scheduler.scaling import Scaling
from modal_lite._scheduler.timetable import Timetable

_RETRIED = frozenset({FailureKind.USER, FailureKind.TIMEOUT})


class Reports:
    """The events of leases.

    Args:
        containers: all of them by id.
        timetable: takes when containers are to be looked at.
        cores: counts those that run something.
        scaling: ends containers that are used up.
        leasing: gives them more.
        outcomes: takes how the inputs ended.
    """

    def __init__(
        self,
        containers: dict[str, Container],
        timetable: Timetable,
        cores: Cores,
        scaling: Scaling,
        leasing: Leasing,
        outcomes: Outcomes,
    ) -> None:
        self._containers = containers
        self._timetable = timetable
        self._cores = cores
        self._scaling = scaling
        self._leasing = leasing
        self._outcomes = outcomes

    def outputs(self, event: on.OutputsReported, now: float) -> None:
        """See `OutputsReported`."""
        lease = self._lease(event.container_id, event.lease_id)
        if lease is None:
            return
        if event.start != lease.reported or not 0 < event.count <= lease.outstanding:
            raise IllegalTransition(f"outputs [{event.start}, +{event.count}) are not next in {lease.container}")
        _check_time(event.elapsed)
        policy.learn(lease.call.function, event.count, event.elapsed)
        if lease.current:
            self._outcomes.succeeded(lease, event.start, event.count)
            lease.call.leased -= event.count
        self._advance(lease, event.count, now)

    def begun(self, event: on.OutputBegan, now: float) -> None:
        """See `OutputBegan`."""
        lease = self._lease(event.container_id, event.lease_id)
        if lease is not None:
            lease.begun = True

    def failure(self, event: on.FailureReported, now: float) -> None:
        """See `FailureReported`."""
        lease = self._lease(event.container_id, event.lease_id)
        if lease is None:
            return
        if event.index != lease.reported or not lease.outstanding:
            raise IllegalTransition(f"a failure of input {event.index} is not next in {lease.container}")
        _check_time(event.elapsed)
        policy.learn(lease.call.function, 1, event.elapsed)
        if lease.current:
            lease.call.leased -= 1
            may_retry = event.kind in _RETRIED and not lease.begun
            if not may_retry or not self._outcomes.retry(lease, event.index, event.kind, now):
                self._outcomes.failed(lease, event.index, event.kind)
        self._advance(lease, 1, now)

    def returned(self, event: on.InputsReturned, now: float) -> None:
        """See `InputsReturned`."""
        lease = self._lease(event.container_id, event.lease_id)
        if lease is None:
            return
        if not lease.reported <= event.start <= lease.stop:
            raise IllegalTransition(f"[{event.start}, …) cannot be given back by {lease.container}")
        given_back = lease.rest(event.start)
        count = lease.stop - event.start
        lease.stop = event.start
        if count and lease.current:
            lease.call.leased -= count
            self._leasing.queue(lease.call, given_back, front=True)
        lease.call.function.running -= count
        self._settle(lease, now)
        self._leasing.serve(lease.call.function, now)

    def _lease(self, container_id: str, lease_id: int) -> Lease | None:
        """The lease, or None for a report of something the container does not hold any more."""
        container = self._containers.get(container_id)
        if container is None:
            return None
        for lease in container.leases:
            if lease.lease_id == lease_id:
                return lease
        return None

    def _advance(self, lease: Lease, count: int, now: float) -> None:
        call = lease.call
        lease.reported += count
        lease.since = now
        if lease.interrupted is not None:
            # Of a cancelled call, the next input is to end as well; of another, the interrupted one has ended.
            lease.interrupted = None if lease.current else now
            lease.timed_out = False
            # The next input's time may be over before the grace of this one would have been.
            self._timetable.look_again(lease.container)
        call.function.running -= count
        self._settle(lease, now)
        self._outcomes.finish_if_done(call)
        self._leasing.serve(call.function, now)
        self._leasing.relieve(call.function, lease.container)

    def _settle(self, lease: Lease, now: float) -> None:
        """Drops the lease from its container once nothing of it is outstanding."""
        if lease.outstanding:
            return
        container = lease.container
        was_head = lease is container.leases[0]
        container.leases.remove(lease)
        lease.call.leases.pop(lease.lease_id, None)
        settings = container.function.settings
        if not container.leases:
            self._now_idle(container, now)
        elif settings.max_inputs > 1:
            self._cores.recount(container)
            return  # The others are looked at in time, as they were before.
        elif settings.max_batch_size > 0:
            _begin_batch(container, settings.max_batch_size, now)
        elif was_head:
            head = container.leases[0]
            head.since = now
            if head.interrupted is not None:
                head.interrupted = now
        self._timetable.look_again(container)

    def _now_idle(self, container: Container, now: float) -> None:
        if container.state is not ContainerState.STOPPING:
            container.since = now
        self._cores.recount(container)
        if container.function.settings.single_use and container.used:
            self._scaling.stop(container, now)
        else:
            self._scaling.shrink(container.function, now)


def _check_time(elapsed: float) -> None:
    if not 0.0 <= elapsed < inf:
        raise IllegalTransition(f"no inputs take {elapsed} seconds")


def _begin_batch(container: Container, size: int, now: float) -> None:
    """A batch has ended; what is left in the container is, or will be, the next one, and its time begins now."""
    for lease in islice(container.leases, size):
        lease.since = now
        lease.ahead = False
