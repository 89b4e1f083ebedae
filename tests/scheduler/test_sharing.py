"""Containers that work on several inputs at once: how many they get, and what becomes of the inputs they lose."""

from typing import Any

import pytest

from modal_lite._core.messages import FailureKind
from modal_lite._core.settings import FunctionSettings
from modal_lite._scheduler import Scheduler, policy
from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on
from modal_lite._scheduler.invariants import validate
from modal_lite._scheduler.records import Container
from tests.scheduler.containers import Job
from tests.scheduler.world import World


def slow_world(slots: int = 2, seconds: float = 0.5) -> World:
    return World(slots, work=lambda function_id, call_id, index, attempt: Job(seconds))


def test_inputs_run_in_rounds_of_as_many_as_may_run() -> None:
    world = slow_world()
    world.add("fu-a", max_containers=1, max_inputs=6)
    began = world.now
    world.call("fu-a", 18)
    world.finish()
    assert 1.5 < world.now - began < 1.6
    assert world.peak["fu-a"] == 1


def test_more_containers_start_beyond_the_target() -> None:
    for target, containers in ((None, 1), (4, 1), (2, 2), (1, 3)):
        world = slow_world()
        world.add("fu-a", max_containers=3, max_inputs=4, target_inputs=target)
        world.call("fu-a", 4)
        world.finish()
        assert world.peak["fu-a"] == containers


def test_each_input_has_its_own_time() -> None:
    world = World(work=lambda function_id, call_id, index, attempt: Job(5.0 if index == 1 else 0.8))
    world.add("fu-a", max_containers=1, max_inputs=3, timeout=1.0)
    call_id = world.call("fu-a", 6)
    world.finish()
    assert world.outcomes(call_id) == [None, FailureKind.TIMEOUT, None, None, None, None]
    assert len(world.sent(do.InterruptLease)) == 1


def test_ending_one_thread_restarts_the_container_and_charges_only_that_input() -> None:
    world = World(work=lambda function_id, call_id, index, attempt: Job(5.0 if index == 1 else 0.8))
    world.add("fu-a", max_containers=1, max_inputs=3, timeout=1.0, in_threads=True)
    one, two = world.call("fu-a", 2), None
    world.pass_time(0.9)
    two = world.call("fu-a", 1)
    world.finish()
    assert world.outcomes(one) == [None, FailureKind.TIMEOUT]
    assert world.outcomes(two) == [None]
    assert world.calls[two].attempts[0] == 2
    assert not world.sent(do.InterruptLease)
    assert len(world.sent(do.StopContainer)) == 1


@pytest.mark.parametrize("seconds", [0.8, 100.0])
def test_a_forgotten_thread_may_end_by_itself(seconds: float) -> None:
    world = World(work=lambda _f, call_id, *_: Job(seconds if call_id == "fc-1" else 2.0))
    world.add("fu-a", max_containers=1, max_inputs=3, in_threads=True)
    left, neighbour = world.call("fu-a", 2), world.call("fu-a")
    world.pass_time(0.5)
    world.forget(left)
    world.finish()
    assert world.calls[neighbour].attempts[0] == 1
    world.pass_time(2 * policy.INTERRUPT_GRACE)
    assert len(world.sent(do.StopContainer)) == (1 if seconds > policy.INTERRUPT_GRACE else 0)


def test_all_inputs_of_a_lost_container_count_a_loss_and_run_alone_after_a_few() -> None:
    world = slow_world()
    world.add("fu-a", max_containers=1, max_inputs=2)
    call_id = world.call("fu-a", 2)
    for _ in range(policy.SUSPECT_LOSSES):
        world.run(lambda: any(len(container.held) == 2 for container in world.containers.values()))
        (container,) = [container for container in world.containers.values() if container.held]
        container.die()
        world.pass_time(0.01)
    began = world.now
    world.finish()
    assert world.outcomes(call_id) == [None, None]
    assert world.now - began > 1.0, "one after the other"


def test_the_next_batch_is_sent_while_one_runs_and_no_container_may_start() -> None:
    world = slow_world()
    world.add("fu-a", max_containers=1, max_batch_size=4, batch_wait=0.1)
    call_id = world.call("fu-a", 16)
    world.run(lambda: any(len(container.held) == 8 for container in world.containers.values()))
    began = world.now
    world.finish()
    assert world.now - began < 2.1
    assert world.outcomes(call_id) == [None] * 16


def test_batches_are_filled_before_others_are_begun() -> None:
    world = slow_world(slots=2)
    world.add("fu-a", min_containers=2, max_containers=2, max_batch_size=4, batch_wait=0.1)
    world.pass_time(1.0)
    for _ in range(4):
        world.call("fu-a")
    assert len({lease.container_id for lease in world.sent(do.SendLease)}) == 1
    world.finish()


def test_what_waits_for_the_next_batch_is_recalled_once_when_there_is_room_elsewhere() -> None:
    world = slow_world()
    batched = {"max_batch_size": 2, "batch_wait": 0.01}
    world.add("fu-a", max_containers=1, **batched)
    call_id = world.call("fu-a", 4)
    world.run(lambda: any(len(container.held) == 4 for container in world.containers.values()))
    world.latency = 0.1
    world.change("fu-a", max_containers=2, **batched)
    world.finish()
    assert world.outcomes(call_id) == [None] * 4
    assert world.peak["fu-a"] == 2
    recalled = [command.lease_id for command in world.sent(do.RecallLease)]
    assert len(recalled) == len(set(recalled)) > 0


def test_an_input_cancelled_before_its_batch_begins_is_looked_after_in_time() -> None:
    world = slow_world()
    world.add("fu-a", max_containers=1, max_batch_size=1, batch_wait=0.01)
    world.call("fu-a")
    # What waits behind slow inputs is looked at late.
    world.scheduler.functions["fu-a"].duration = 10.0
    ahead = world.call("fu-a")
    world.run(lambda: any(lease.ahead for c in world.scheduler.containers.values() for lease in c.leases))
    world.forget(ahead)
    (container,) = world.scheduler.containers.values()
    due = policy.next_check(container)
    assert due is not None
    assert container.check_at is not None
    assert container.check_at <= due


def kill_whoever_runs_the_first(world: World, call_id: str) -> None:
    """Until its input 0 has its outcome, ends each container soon after that was begun there."""

    def victims() -> list[str]:
        held = [lease for container in world.scheduler.containers.values() for lease in container.leases]
        return [x.container.container_id for x in held if x.call.call_id == call_id and x.start == 0 and not x.ahead]

    while True:
        world.run(lambda: bool(victims()) or 0 in world.calls[call_id].outcomes)
        if 0 in world.calls[call_id].outcomes:
            return
        world.pass_time(0.01)
        for victim in victims():
            world.containers[victim].die()
        world.pass_time(0.1)


@pytest.mark.parametrize("settings", [{"max_inputs": 4}, {"max_batch_size": 4, "batch_wait": 0.005}])
@pytest.mark.parametrize("most", [1, None])
def test_what_kills_its_containers_takes_no_neighbour_along(settings: dict[str, Any], most: int | None) -> None:
    world = slow_world()
    world.add("fu-a", max_containers=most, **settings)
    call_id, other = world.call("fu-a", 6), world.call("fu-a", 3)
    kill_whoever_runs_the_first(world, call_id)
    world.finish()
    assert world.outcomes(call_id) == [FailureKind.LOST] + [None] * 5
    assert world.outcomes(other) == [None] * 3
    assert world.calls[call_id].attempts[0] == policy.MAX_LOSSES + 1
    later_ones = [*world.calls[call_id].attempts.values()][1:] + [*world.calls[other].attempts.values()]
    assert max(later_ones) <= policy.SUSPECT_LOSSES + 1


def test_an_input_that_runs_alone_joins_those_that_wait_for_it() -> None:
    world = World(work=lambda _f, call_id, *_: Job(0.1, calls=(("fu-a", 1),) if call_id == "fc-1" else ()))
    world.add("fu-a", max_containers=1, max_inputs=4)
    call_id = world.call("fu-a", 2)
    for _ in range(policy.SUSPECT_LOSSES):
        world.run(lambda: any(len(c.leases) == 4 for c in world.scheduler.containers.values()))
        (container,) = world.containers.values()
        container.die()
        world.pass_time(0.1)
    world.finish()
    assert world.outcomes(call_id) == [None] * 2


def test_what_an_input_costs_does_not_grow_with_those_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    next_check, gone_through = policy.next_check, 0

    def counted(container: Container) -> float | None:
        nonlocal gone_through
        gone_through += len(container.leases)
        return next_check(container)

    monkeypatch.setattr(policy, "next_check", counted)
    scheduler = Scheduler(2, lambda: "ta-1")
    scheduler.handle(on.FunctionAdded("fu-a", FunctionSettings(max_containers=1, max_inputs=1000)), 0.0)
    scheduler.handle(on.CallOpened("fc-1", "fu-a", None, 1000, closed=True), 0.0)
    commands = scheduler.handle(on.ContainerReady("ta-1"), 0.1)
    leases = [command for command in commands if isinstance(command, do.SendLease)]
    assert len(leases) == 1000
    for lease in reversed(leases):
        scheduler.handle(on.OutputsReported("ta-1", lease.lease_id, lease.start, 1, 0.5), 0.6)
        if lease.start % 100 == 0:
            validate(scheduler)
    assert gone_through < 20_000, "for every input all the others were gone through"
