"""How inputs get into containers' hands, and how they are asked back."""

from modal_lite._scheduler import commands as do
from modal_lite._scheduler import policy
from modal_lite._scheduler.cores import Cores
from modal_lite._scheduler.records import Call, Container, Function, InputRange, Lease
from modal_lite._scheduler.scaling import Scaling
from modal_lite._scheduler.timetable import Timetable


class Leasing:
    """The lines of waiting inputs, and the leases made of them.

    Args:
        commands: takes what is to be done.
        timetable: takes when containers are to be looked at.
        cores: says who may run more.
        scaling: starts containers for what is left waiting.
    """

    def __init__(self, commands: list[do.Command], timetable: Timetable, cores: Cores, scaling: Scaling) -> None:
        self._commands = commands
        self._timetable = timetable
        self._cores = cores
        self._scaling = scaling
        self._hungry = cores.hungry
        self._lease_number = 0

    # --- waiting -----------------------------------------------------------------------------------------------------

    def queue(self, call: Call, waiting: InputRange, front: bool = False) -> None:
        """Puts inputs in line; what has waited before goes to the front."""
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

    # --- assigning ---------------------------------------------------------------------------------------------------

    def feed(self, now: float) -> None:
        """Gives every function with a backlog its chance, the longest waiting first."""
        for function in list(self._hungry.values()):
            self.assign(function, now)

    def serve(self, function: Function, now: float) -> None:
        """Gives the function its chance, then the others: it may have left free what they wait for."""
        self.assign(function, now)
        if len(self._hungry) > (function.function_id in self._hungry):
            self.feed(now)

    def assign(self, function: Function, now: float) -> None:
        """Leases the function's backlog to its containers and starts more where that is allowed."""
        if not function.backlog or function.removed:
            return
        while function.backlog and (container := self._neediest(function, now)) is not None:
            self._give(function, container, now)
        if not function.backlog:
            self._hungry.pop(function.function_id, None)
        settings = function.settings
        if function.backlog or settings.buffer_containers or settings.target_inputs is not None:
            self._scaling.scale(function, now)

    def _neediest(self, function: Function, now: float) -> Container | None:
        """The container with the least load among those that may get another lease; None if none may."""
        neediest, least, may_grow = None, 0, self._scaling.may_grow
        batched = function.settings.max_batch_size > 0
        alone = policy.next_runs_alone(function)
        for container in function.containers.values():
            load = policy.load(container, now) if batched else len(container.leases)
            if neediest is not None and load >= least:
                continue
            if alone and container.leases and not container.waiting:
                continue
            if policy.may_hold_more(function, container, may_grow, now) and self._cores.may_lease(function, container):
                neediest, least = container, load
        return neediest

    def _give(self, function: Function, container: Container, now: float) -> None:
        call = _next_call(function)
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
            patience=policy.patience(function),
            ahead=function.settings.max_batch_size > 0 and not policy.gathers(container, now),
        )
        if stop == waiting.stop:
            call.pending.popleft()
        else:
            waiting.start = stop
        if size > function.lease_size:
            function.lease_size = size
        call.waiting -= size
        call.leased += size
        function.backlog -= size
        function.running += size
        call.leases[lease.lease_id] = lease
        container.leases.append(lease)
        container.used = True
        self._cores.recount(container)
        self._commands.append(
            do.SendLease(container.container_id, lease.lease_id, call.call_id, lease.start, stop, lease.chunk)
        )
        self._timetable.look_again_at(lease)

    # --- asking back -------------------------------------------------------------------------------------------------

    def recall(self, lease: Lease) -> None:
        """Asks for what has not started of the lease, once."""
        if not lease.recalled and lease.outstanding:
            lease.recalled = True
            self._commands.append(do.RecallLease(lease.container.container_id, lease.lease_id))

    def relieve(self, function: Function, idle: Container) -> None:
        """Asks for what waits in another container, the last to be run there, if this one has found nothing to do."""
        if idle.idle and not function.backlog and self._cores.may_lease(function, idle):
            crowded = policy.most_crowded(function)
            if crowded is not None:
                for lease in crowded.ahead or [crowded.leases[-1]]:
                    self.recall(lease)

    def recall_unstarted(self, container: Container) -> None:
        """Asks for all that waits in the container behind the input that runs."""
        if container.function.shares:
            for lease in container.ahead:
                self.recall(lease)
        elif container.crowded:
            head = container.leases[0]
            if head.outstanding == 1:
                # Nothing of it waits behind anything. It may not have started, for large inputs take their time to
                # arrive; taken back from one container after the other, it never would.
                head.recalled = True
            for lease in container.leases:
                self.recall(lease)

    def interrupt(self, lease: Lease, now: float, timed_out: bool, patient: bool = False) -> None:
        """Asks the input that runs under the lease to stop, once; or its container, where nothing else would help.

        That has time, if `patient`, for the input may soon end by itself.
        """
        if lease.interrupted is None:
            lease.interrupted = now
            lease.timed_out = timed_out
            if lease.call.function.settings.in_threads and not patient:
                self._scaling.stop(lease.container, now)
                return
            self._commands.append(do.InterruptLease(lease.container.container_id, lease.lease_id, timed_out))
            self._timetable.look_again_at(lease)


def _next_call(function: Function) -> Call:
    """The call whose turn it is, of a function with a backlog; it goes to the end of the line."""
    call = policy.next_call(function)
    function.line.rotate(-1)
    return call
