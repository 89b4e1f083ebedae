"""Containers that work on several inputs at once: how many they get, and what becomes of the inputs they lose."""

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import commands as do
from modal_lite._scheduler import policy
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


def test_all_inputs_of_a_lost_container_count_a_loss() -> None:
    world = slow_world()
    world.add("fu-a", max_containers=1, max_inputs=2)
    call_id = world.call("fu-a", 2)
    for _ in range(policy.MAX_LOSSES + 1):
        world.run(lambda: any(len(container.held) == 2 for container in world.containers.values()))
        next(iter(world.containers.values())).die()
        world.pass_time(0.01)
    world.finish()
    assert world.outcomes(call_id) == [FailureKind.LOST] * 2
    assert world.calls[call_id].attempts == {0: policy.MAX_LOSSES + 1, 1: policy.MAX_LOSSES + 1}


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
