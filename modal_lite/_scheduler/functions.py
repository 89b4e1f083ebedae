"""How functions come, change and go."""

from modal_lite._scheduler import events as on
from modal_lite._scheduler.calls import Calls
from modal_lite._scheduler.cores import Cores
from modal_lite._scheduler.devices import Devices
from modal_lite._scheduler.leasing import Leasing
from modal_lite._scheduler.records import Call, Function, IllegalTransition, known
from modal_lite._scheduler.scaling import Scaling
from modal_lite._scheduler.timetable import Timetable


class Functions:
    """The events of functions.

    Args:
        functions: all functions by id; new ones are entered here.
        calls: all calls by id.
        timetable: takes when containers are to be looked at.
        cores: knows which functions have a backlog.
        devices: counts those that there are.
        scaling: makes the containers match the settings.
        leasing: gives others what a function leaves free.
        ending: cancels the calls of a removed function.
    """

    def __init__(
        self,
        functions: dict[str, Function],
        calls: dict[str, Call],
        timetable: Timetable,
        cores: Cores,
        devices: Devices,
        scaling: Scaling,
        leasing: Leasing,
        ending: Calls,
    ) -> None:
        self._functions = functions
        self._calls = calls
        self._timetable = timetable
        self._cores = cores
        self._devices = devices
        self._scaling = scaling
        self._leasing = leasing
        self._ending = ending

    def cores_found(self, event: on.CoresFound, now: float) -> None:
        """See `CoresFound`."""
        self._cores.slots = max(1, event.count)
        self._leasing.feed(now)

    def devices_found(self, event: on.DevicesFound, now: float) -> None:
        """See `DevicesFound`."""
        self._devices.found(event.count)
        self._leasing.feed(now)

    def added(self, event: on.FunctionAdded, now: float) -> None:
        """See `FunctionAdded`."""
        if event.function_id in self._functions:
            raise IllegalTransition(f"function {event.function_id} was added before")
        function = Function(event.function_id, event.settings)
        self._functions[event.function_id] = function
        self._scaling.scale(function, now)

    def changed(self, event: on.FunctionChanged, now: float) -> None:
        """See `FunctionChanged`."""
        function = known(self._functions, event.function_id, "function")
        function.settings = event.settings
        self._scaling.shrink(function, now)
        for container in function.containers.values():
            self._timetable.look_again(container)
        self._scaling.scale(function, now)
        self._leasing.feed(now)

    def removed(self, event: on.FunctionRemoved, now: float) -> None:
        """See `FunctionRemoved`."""
        function = known(self._functions, event.function_id, "function")
        function.removed = True
        for call in [call for call in self._calls.values() if call.function is function]:
            self._ending.cancel(call, now, interrupt=False)
        for container in list(function.containers.values()):
            self._scaling.stop(container, now)
        self._cores.hungry.pop(function.function_id, None)
        if not function.containers:
            del self._functions[function.function_id]
        self._leasing.feed(now)
