"""How containers start and end."""

from collections.abc import Callable

from modal_lite._scheduler import commands as do
from modal_lite._scheduler import policy
from modal_lite._scheduler.cores import Cores
from modal_lite._scheduler.devices import Devices
from modal_lite._scheduler.records import Container, ContainerState, Function
from modal_lite._scheduler.timetable import Timetable


class Scaling:
    """Starts the containers that are wanted and allowed, and ends those that are not.

    Args:
        containers: all of them by id; the new ones are entered here.
        new_container_id: makes the id of a container to be started.
        commands: takes what is to be done.
        timetable: takes when containers are to be looked at.
        cores: says who may start.
        devices: says for whom there are GPUs.
    """

    def __init__(
        self,
        containers: dict[str, Container],
        new_container_id: Callable[[], str],
        commands: list[do.Command],
        timetable: Timetable,
        cores: Cores,
        devices: Devices,
    ) -> None:
        self._containers = containers
        self._new_container_id = new_container_id
        self._commands = commands
        self._timetable = timetable
        self._cores = cores
        self._devices = devices

    def scale(self, function: Function, now: float) -> None:
        """Starts what is wanted and allowed."""
        settings = function.settings
        explicit = settings.min_containers or settings.buffer_containers
        if function.removed or not (explicit or self._cores.may_activate(function)):
            return
        live = len(function.live)
        if settings.max_containers is not None and live >= settings.max_containers:
            return
        wanted = policy.wanted_containers(function)
        failing = function.start_failures > 0 and now < function.no_start_before
        while live < wanted:
            if failing and (not function.backlog or function.at_work):
                return
            if live >= policy.warm_containers(function):
                if not self._cores.may_activate(function):
                    return
                if self._cores.full_with(function) and not policy.is_worth_a_start(function, live, now):
                    self._look_again_soon(function, now)
                    return
            if not self._devices.suffice(function):
                self._make_room(function, now)
                return
            self._start(function, now)
            live += 1

    def _look_again_soon(self, function: Function, now: float) -> None:
        """Has the function looked at when its inputs may have proved slow, if it is not to be already."""
        if now >= function.growth_at:
            function.growth_at = now + policy.GROWTH_INTERVAL
            self._timetable.add(function.growth_at, function)

    def may_grow(self, function: Function) -> bool:
        """True if one more container of the function may start now."""
        maximum = function.settings.max_containers
        within = maximum is None or len(function.live) < maximum
        return within and self._cores.may_activate(function) and self._devices.obtainable(function)

    def shrink(self, function: Function, now: float) -> None:
        """Stops containers without inputs beyond an explicit maximum."""
        limit = function.settings.max_containers
        if limit is None or len(function.containers) <= limit:
            return
        live = function.live
        for container in [c for c in live if not c.leases][: max(0, len(live) - limit)]:
            self.stop(container, now)

    def _start(self, function: Function, now: float) -> None:
        container = Container(self._new_container_id(), function, now)
        if function.settings.gpus <= self._devices.total:
            container.gpus = function.settings.gpus
        self._containers[container.container_id] = container
        function.containers[container.container_id] = container
        self._cores.recount(container)
        self._timetable.look_again(container)
        self._commands.append(do.StartContainer(container.container_id, function.function_id))

    def _make_room(self, function: Function, now: float) -> None:
        """Ends idle containers of others for the devices they have; the function is served when they are gone."""
        for container in self._devices.to_end(function) or ():
            self.stop(container, now)

    def stop(self, container: Container, now: float) -> None:
        """Asks the container to leave, if it was not asked before."""
        if container.state is not ContainerState.STOPPING:
            self._leave(container, now)
            self._commands.append(do.StopContainer(container.container_id))
            self._timetable.look_again(container)

    def let_go(self, container: Container, now: float) -> None:
        """The container leaves by itself, if it was not asked to."""
        if container.state is not ContainerState.STOPPING:
            container.leaves = True
            self._leave(container, now)
            self._timetable.look_again(container)

    def kill(self, container: Container, reason: str, now: float) -> None:
        """Ends the container at once."""
        if container.state is not ContainerState.STOPPING:
            self._leave(container, now)
        self._commands.append(do.KillContainer(container.container_id, reason))
        self._timetable.look_again(container)

    def _leave(self, container: Container, now: float) -> None:
        container.become(ContainerState.STOPPING)
        container.since = now
        self._cores.recount(container)
