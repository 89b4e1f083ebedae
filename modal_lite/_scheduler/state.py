"""The state machine as a whole: which part takes which event.

The life of an input:

    pending ──lease──► leased ──report──► done
       ▲                 │
       │                 ├─ given back (recall), container lost ──► pending, in front
       └──── retry ──────┴─ failed with retries left ──► delayed, then pending

A report counts only for the lease that currently holds the input: leases have fresh numbers and inputs leave them when
they are given back, fail or are lost with the container, so a late report of a container given up for lost changes
nothing.

Each part does one thing to the records, which all parts share, and knows only the parts made before it:

    timetable, cores, devices < scaling < leasing, outcomes < calls, reports, containers < functions, checks
"""

from collections.abc import Callable
from typing import Any

from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on
from modal_lite._scheduler.calls import Calls
from modal_lite._scheduler.checks import Checks
from modal_lite._scheduler.containers import Containers
from modal_lite._scheduler.cores import Cores
from modal_lite._scheduler.devices import Devices
from modal_lite._scheduler.functions import Functions
from modal_lite._scheduler.leasing import Leasing
from modal_lite._scheduler.outcomes import Outcomes
from modal_lite._scheduler.records import Call, Container, Function, InputRange
from modal_lite._scheduler.reports import Reports
from modal_lite._scheduler.scaling import Scaling
from modal_lite._scheduler.timetable import Timetable


class Scheduler:
    """The state machine. Events must come in the order they happened; `now` must not decrease.

    Args:
        slots: cores to share, at least 1.
        new_container_id: makes the id of a container to be started.
    """

    def __init__(self, slots: int, new_container_id: Callable[[], str]) -> None:
        self.functions: dict[str, Function] = {}
        self.calls: dict[str, Call] = {}
        self.containers: dict[str, Container] = {}
        self._commands: list[do.Command] = []
        self._timetable = timetable = Timetable()
        self._cores = cores = Cores(slots)
        self.devices = devices = Devices(self.containers)
        scaling = Scaling(self.containers, new_container_id, self._commands, timetable, cores, devices)
        leasing = Leasing(self._commands, timetable, cores, scaling)
        outcomes = Outcomes(self.calls, self._commands, timetable, cores)
        calls = Calls(self.functions, self.calls, timetable, scaling, leasing, outcomes)
        reports = Reports(self.containers, timetable, cores, scaling, leasing, outcomes)
        containers = Containers(self.functions, self.containers, timetable, cores, scaling, leasing, outcomes)
        functions = Functions(self.functions, self.calls, timetable, cores, devices, scaling, leasing, calls)
        self._checks = Checks(timetable, scaling, leasing, containers)
        self._handlers: dict[type[on.Event], Callable[[Any, float], None]] = {
            on.CoresFound: functions.cores_found,
            on.DevicesFound: functions.devices_found,
            on.FunctionAdded: functions.added,
            on.FunctionChanged: functions.changed,
            on.FunctionRemoved: functions.removed,
            on.CallOpened: calls.opened,
            on.InputsAdded: calls.inputs_added,
            on.InputsClosed: calls.inputs_closed,
            on.CallCancelled: calls.cancelled,
            on.CallForgotten: calls.forgotten,
            on.ContainerAwaitsPlace: containers.awaits_place,
            on.ContainerPlaced: containers.placed,
            on.ContainerReady: containers.ready,
            on.ContainerWaiting: containers.waiting,
            on.ContainerLeaving: containers.leaving,
            on.ContainerGone: containers.gone,
            on.OutputsReported: reports.outputs,
            on.OutputBegan: reports.begun,
            on.FailureReported: reports.failure,
            on.InputsReturned: reports.returned,
            on.TimePassed: lambda event, now: None,
        }

    @property
    def total_active(self) -> int:
        """Containers that count against the cores."""
        return self._cores.total_active

    def handle(self, event: on.Event, now: float) -> list[do.Command]:
        """Takes an event in and returns what is to be done about it, in order.

        Raises IllegalTransition, having changed nothing, if the event cannot follow what happened before.
        """
        self._handlers[type(event)](event, now)
        while (due := self._timetable.take_due(now)) is not None:
            self._checks.look_at(due, now)
        commands = self._commands.copy()
        self._commands.clear()
        return commands

    def next_deadline(self) -> float | None:
        """When `TimePassed` is due at the latest; None if nothing waits for time."""
        return self._timetable.next_deadline()

    def delayed_inputs(self, call: Call) -> list[InputRange]:
        """The call's inputs that wait for the time of their retry."""
        return self._timetable.delayed_inputs(call)

    def is_hungry(self, function: Function) -> bool:
        """True if the function stands among those to be served when something comes free."""
        return function.function_id in self._cores.hungry
