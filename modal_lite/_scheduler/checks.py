"""What time brings: overdue containers, timeouts, slow leases, retries."""

from modal_lite._scheduler import policy
from modal_lite._scheduler.containers import Containers
from modal_lite._scheduler.leasing import Leasing
from modal_lite._scheduler.records import Container, ContainerState, Function
from modal_lite._scheduler.scaling import Scaling
from modal_lite._scheduler.timetable import Entry, Timetable


class Checks:
    """Looks at the entries of the timetable when they are due.

    Args:
        timetable: takes when to look again.
        scaling: ends containers, starts others, says who may start one.
        leasing: asks inputs back.
        containers: counts those that were not ready in time.
    """

    def __init__(self, timetable: Timetable, scaling: Scaling, leasing: Leasing, containers: Containers) -> None:
        self._timetable = timetable
        self._scaling = scaling
        self._leasing = leasing
        self._containers = containers

    def look_at(self, what: Entry, now: float) -> None:
        """Does what is due for an entry that was taken out of the timetable."""
        if isinstance(what, Container):
            self._check(what, now)
        elif isinstance(what, Function):
            self._scaling.scale(what, now)
        else:
            call, again = what
            self._leasing.queue(call, again)
            self._leasing.assign(call.function, now)

    def _check(self, container: Container, now: float) -> None:
        due = policy.next_check(container)
        if due is None:
            return
        if due > now:
            self._timetable.look_again(container)
            return
        if container.state is ContainerState.STARTING and not container.placed:
            self._end_idle(container, now)
        elif container.state is ContainerState.STARTING:
            self._scaling.kill(container, "it was not ready within its startup_timeout", now)
            self._containers.start_failed(container.function, False, now)
            self._leasing.feed(now)
        elif container.state is ContainerState.STOPPING:
            container.since = now
            self._scaling.kill(container, "it did not end when asked to", now)
        elif not container.leases:
            self._end_idle(container, now)
        elif container.function.shares:
            self._check_each_lease(container, now)
        else:
            self._check_leases(container, now)

    def _end_idle(self, container: Container, now: float) -> None:
        function = container.function
        if len(function.live) > policy.wanted_containers(function):
            self._scaling.stop(container, now)
        else:
            container.since = max(now, now + policy.MIN_SCALEDOWN - function.settings.scaledown_window)
            self._timetable.look_again(container)

    def _check_leases(self, container: Container, now: float) -> None:
        head = container.leases[0]
        if head.interrupted is not None:
            head.interrupted = now
            self._give_up(container, now)
            return
        timeout = container.function.settings.timeout
        if timeout is not None and now >= head.since + timeout:
            self._leasing.interrupt(head, now, timed_out=True)
        elif head.outstanding > 1 and not head.recalled:
            # Also for the sake of what it has finished: that is reported now.
            self._leasing.recall(head)
        elif self._has_room_elsewhere(container):
            self._leasing.recall_unstarted(container)
        else:
            container.looked = now
        self._timetable.look_again(container)

    def _check_each_lease(self, container: Container, now: float) -> None:
        """As `_check_leases`, of a container whose leases all run."""
        overdue = [lease for lease in container.leases if (due := policy.deadline(lease)) is not None and due <= now]
        if any(lease.interrupted is not None for lease in overdue):
            if container.function.settings.in_threads:
                self._scaling.stop(container, now)
                self._leasing.feed(now)
            else:
                self._give_up(container, now)
            return
        for lease in overdue:
            self._leasing.interrupt(lease, now, timed_out=True)
        if container.state is ContainerState.STOPPING:
            self._leasing.feed(now)
        if not overdue and self._has_room_elsewhere(container):
            self._leasing.recall_unstarted(container)
        elif not overdue:
            container.looked = now
        self._timetable.look_again(container)

    def _give_up(self, container: Container, now: float) -> None:
        self._scaling.kill(container, "its input did not end when interrupted", now)
        # While it was waiting for a call of its own it used no core: others need not wait until it is gone.
        self._leasing.feed(now)

    def _has_room_elsewhere(self, container: Container) -> bool:
        """True if inputs that wait in this container could begin in another one."""
        function = container.function
        return any(c.idle for c in function.live) or self._scaling.may_grow(function)
