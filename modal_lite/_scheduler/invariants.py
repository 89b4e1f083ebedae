"""What holds between any two events. `validate` is called after every test and every step of the simulation."""

from modal_lite._scheduler import policy
from modal_lite._scheduler.records import Call, Container, ContainerState, Function
from modal_lite._scheduler.state import Scheduler


def validate(scheduler: Scheduler) -> None:
    """Raises AssertionError, with the record that is wrong, if the scheduler's state contradicts itself."""
    # Plain loops, here and below: this runs after every event of every simulated run.
    backlog = dict.fromkeys(scheduler.functions, 0)
    for call in scheduler.calls.values():
        if call.finished:
            _validate_finished(call)
        else:
            _validate_call(call)
            if call.waiting:
                backlog[call.function.function_id] += call.waiting
    active = 0
    for container in scheduler.containers.values():
        _validate_container(container)
        active += container.active
    assert active == scheduler.total_active, f"{active} active containers, {scheduler.total_active} counted"
    for function in scheduler.functions.values():
        assert function.backlog == backlog[function.function_id], function.function_id
        _validate_function(scheduler, function)
    assert scheduler.devices.given <= scheduler.devices.most, "a device is given to two containers"


def _validate_finished(call: Call) -> None:
    left = call.pending or call.leases or call.waiting or call.leased or call.delayed
    assert not left and call.closed and call.done == call.added, call


def _validate_call(call: Call) -> None:
    assert not (call.closed and call.done == call.added), f"{call} has all it waits for and has not finished"
    assert call.added == call.waiting + call.delayed + call.leased + call.done, call
    assert not call.pending or call.queued, f"{call} waits but stands in no line"
    places = []
    pending = leased = 0
    for waiting in call.pending:
        pending += waiting.stop - waiting.start
        places.append((waiting.start, waiting.stop))
    for lease in call.leases.values():
        leased += lease.outstanding
        places.append((lease.reported, lease.stop))
        assert lease in lease.container.leases, f"{lease} is nobody's"
    assert pending == call.waiting, call
    assert leased == call.leased, call
    places.sort()
    end = 0
    for start, stop in places:
        assert start < stop, call
        assert end <= start, f"inputs [{start}, {stop}) of {call} are in two places"
        end = stop


def _validate_container(container: Container) -> None:
    assert container.function.containers.get(container.container_id) is container, container
    assert container.state is not ContainerState.STARTING or not container.leases, container
    settings = container.function.settings
    most = settings.max_inputs if settings.max_inputs > 1 else max(policy.MAX_HELD, 2 * settings.max_batch_size)
    assert len(container.leases) <= most, container
    busy = container.state is ContainerState.STARTING or (bool(container.leases) and not container.waiting)
    assert container.active == busy, container
    due = policy.next_check(container)
    assert due is None or (container.check_at is not None and container.check_at <= due), f"{container} is forgotten"
    if settings.shares:
        begun = [lease.since for lease in container.leases if not lease.ahead]
        assert begun == sorted(begun), f"{container} does not have the oldest first"
        ahead = [lease.ahead for lease in container.leases]
        assert ahead == sorted(ahead), f"{container} has what waits before what runs"
    for lease in container.leases:
        assert lease.outstanding > 0, f"{container} keeps an empty lease"
        assert not settings.shares or lease.outstanding == 1, f"{container} has inputs that it cannot run at once"
        assert not lease.ahead or settings.max_batch_size > 0, f"{container} runs {lease} but it counts as waiting"


def _validate_function(scheduler: Scheduler, function: Function) -> None:
    running = active = live = idle = 0
    for container in function.containers.values():
        active += container.active
        for lease in container.leases:
            running += lease.outstanding
        if container.state is not ContainerState.STOPPING:
            live += 1
            idle += not container.leases
    assert function.running == running, function.function_id
    assert function.active == active, function.function_id
    for call in function.line:
        assert call.queued, f"{function.function_id}: {function.line}"
    assert len(set(function.line)) == len(function.line), f"{function.function_id}: {function.line}"
    assert scheduler.is_hungry(function) == (function.backlog > 0), function.function_id
    maximum = function.settings.max_containers
    # A maximum that was lowered is reached as the containers that work come free.
    assert maximum is None or live <= maximum or not idle, (
        f"{function.function_id}: more containers than max_containers={maximum}"
    )
    if function.backlog and not function.active:
        at_maximum = maximum is not None and live >= maximum
        assert at_maximum or not scheduler.devices.suffice(function), f"{function.function_id} starves"
