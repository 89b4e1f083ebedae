"""What holds between any two events. `validate` is called after every test and every step of the simulation."""

from itertools import pairwise

from modal_lite._scheduler import policy
from modal_lite._scheduler.records import Call, Container, ContainerState, Function
from modal_lite._scheduler.state import Scheduler


def validate(scheduler: Scheduler) -> None:
    """Raises AssertionError, with the record that is wrong, if the scheduler's state contradicts itself."""
    for call in scheduler.calls.values():
        _validate_call(scheduler, call)
    for container in scheduler.containers.values():
        _validate_container(container)
    for function in scheduler.functions.values():
        _validate_function(scheduler, function)
    active = sum(1 for c in scheduler.containers.values() if c.active)
    assert active == scheduler.total_active, f"{active} active containers, {scheduler.total_active} counted"
    assert scheduler.devices.free >= 0, "a device is given to two containers"


def _validate_call(scheduler: Scheduler, call: Call) -> None:
    pending = sum(r.stop - r.start for r in call.pending)
    leased = sum(lease.outstanding for lease in call.leases.values())
    assert pending == call.waiting, call
    assert leased == call.leased, call
    assert call.added == call.waiting + call.delayed + call.leased + call.done, call
    assert call.finished == (call.closed and call.done == call.added), call
    assert not (call.pending and not call.queued), f"{call} waits but stands in no line"
    for lease in call.leases.values():
        assert lease in lease.container.leases, f"{lease} is nobody's"
    places = sorted(
        [(r.start, r.stop) for r in call.pending] + [(lease.reported, lease.stop) for lease in call.leases.values()]
    )
    assert all(start < stop for start, stop in places), call
    for (_, stop), (start, _) in pairwise(places):
        assert stop <= start, f"inputs [{start}, {stop}) of {call} are in two places"


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
    calls = [call for call in scheduler.calls.values() if call.function is function]
    assert function.backlog == sum(call.waiting for call in calls), function.function_id
    assert function.running == sum(lease.outstanding for c in function.containers.values() for lease in c.leases), (
        function.function_id
    )
    assert function.active == sum(1 for c in function.containers.values() if c.active), function.function_id
    standing = [call for call in function.line if call.queued]
    assert len(standing) == len(function.line) == len(set(standing)), f"{function.function_id}: {function.line}"
    assert scheduler.is_hungry(function) == (function.backlog > 0), function.function_id
    maximum = function.settings.max_containers
    live = function.live
    # A maximum that was lowered is reached as the containers that work come free.
    assert maximum is None or len(live) <= maximum or all(c.leases for c in live), (
        f"{function.function_id}: more containers than max_containers={maximum}"
    )
    at_maximum = maximum is not None and len(live) >= maximum
    waits_for_devices = not scheduler.devices.suffice(function)
    assert not function.backlog or function.active or at_maximum or waits_for_devices, f"{function.function_id} starves"
