"""How inputs are leased: sizes, prefetch, recall, order."""

import pytest

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on
from modal_lite._scheduler import policy
from modal_lite._scheduler.invariants import validate
from modal_lite._scheduler.records import IllegalTransition
from tests.scheduler.containers import Job
from tests.scheduler.world import World

FAST, SLOW = 1e-5, 0.5


def always(seconds: float) -> World:
    return World(work=lambda function_id, call_id, index, attempt: Job(seconds))


def sizes(world: World, call_id: str) -> list[int]:
    return [c.stop - c.start for c in world.sent(do.SendLease) if c.call_id == call_id]


def test_leases_of_a_fast_map_grow_to_the_target_duration() -> None:
    world = always(FAST)
    world.add("fu-a")
    call_id = world.call("fu-a", 20_000)
    world.finish()
    grown = sizes(world, call_id)
    assert grown[0] == 1
    assert all(size <= policy.GROWTH * max(grown[:number]) for number, size in enumerate(grown) if number)
    assert max(grown) == policy.MAX_LEASE
    assert len(grown) < 150
    assert world.outcomes(call_id) == [None] * 20_000


def test_slow_inputs_travel_alone() -> None:
    world = always(SLOW)
    world.add("fu-a")
    call_id = world.call("fu-a", 200)
    world.finish()
    assert set(sizes(world, call_id)) == {1}


def test_a_small_call_is_never_batched() -> None:
    world = always(FAST)
    world.add("fu-a")
    world.call("fu-a", 10_000)
    world.finish()
    call_id = world.call("fu-a", policy.SMALL_CALL)
    world.finish()
    assert set(sizes(world, call_id)) == {1}


def test_a_call_of_many_chunks_is_leased_chunk_by_chunk() -> None:
    world = always(FAST)
    world.add("fu-a")
    call_id = world.call("fu-a", 0, closed=False)
    for _ in range(20):
        world.add_inputs(call_id, 100)
        world.pass_time(0.001)
    world.close(call_id)
    world.finish()
    for lease in world.sent(do.SendLease):
        assert lease.chunk == lease.start // 100 * 100
        assert lease.stop <= lease.chunk + 100


def test_a_call_without_inputs_finishes_when_it_is_closed() -> None:
    world = always(FAST)
    world.add("fu-a")
    at_once = world.call("fu-a", 0)
    later = world.call("fu-a", 0, closed=False)
    assert world.calls[at_once].finished
    assert not world.calls[later].finished
    world.close(later)
    assert world.calls[later].finished


def test_fast_functions_get_leases_ahead_and_slow_ones_do_not() -> None:
    for seconds, ahead in ((FAST, 20), (SLOW, 1)):
        world = always(seconds)
        world.add("fu-a", max_containers=1)
        world.call("fu-a", 1)
        world.finish()
        world.call("fu-a", 20)
        held = max(len(c.leases) for c in world.scheduler.containers.values())
        assert held == ahead
        world.finish()


def test_leases_ahead_are_bounded() -> None:
    world = always(FAST)
    world.add("fu-a", max_containers=2)
    world.call("fu-a", 1)
    world.finish()
    for _ in range(500):
        world.call("fu-a", 1)
    held = [len(c.leases) for c in world.scheduler.containers.values()]
    assert max(held) == policy.MAX_HELD
    world.finish()


def test_inputs_behind_a_slow_one_are_recalled_and_taken_by_others() -> None:
    slow: set[tuple[str, int]] = set()
    world = World(work=lambda function_id, call_id, index, attempt: Job(100.0 if (call_id, index) in slow else FAST))
    world.add("fu-a")
    world.call("fu-a", 10_000)
    world.finish()
    began = world.now
    call_id = f"fc-{len(world.calls) + 1}"
    slow.add((call_id, 500))
    world.call("fu-a", 1_000)
    ledger = world.calls[call_id]
    world.run(lambda: len(ledger.outcomes) == 999)
    assert 500 not in ledger.outcomes
    assert world.now - began < 10 * policy.SLOW_SECONDS
    assert world.sent(do.RecallLease)
    world.finish()
    assert set(ledger.attempts.values()) == {1}


def test_recalled_inputs_with_nobody_idle_run_where_they_were_in_the_end() -> None:
    world = World(work=lambda function_id, call_id, index, attempt: Job(1.0 if index == 70 else FAST))
    world.add("fu-a", max_containers=1)
    call_id = world.call("fu-a", 1_000)
    world.finish()
    assert world.outcomes(call_id) == [None] * 1_000
    assert set(world.calls[call_id].attempts.values()) == {1}


def test_a_lease_returned_in_the_background_does_not_extend_the_timeout_of_the_one_that_runs() -> None:
    world = World(work=lambda function_id, call_id, index, attempt: Job(100.0 if call_id == "fc-2" else FAST))
    world.add("fu-a", max_containers=1, timeout=1.0)
    world.call("fu-a", 1)
    world.finish()
    began = world.now
    slow = world.call("fu-a", 1)
    world.call("fu-a", 1)
    world.run(lambda: world.calls[slow].finished)
    assert world.outcomes(slow) == [FailureKind.TIMEOUT]
    assert world.now - began < 1.0 + policy.SLOW_SECONDS / 2


def test_calls_of_one_function_take_turns() -> None:
    world = always(SLOW)
    world.add("fu-a")
    world.call("fu-a", 1_000)
    world.pass_time(1.0)
    late = world.call("fu-a", 2)
    began = world.now
    world.run(lambda: world.calls[late].finished)
    assert world.now - began < 4 * SLOW


def test_a_single_use_container_takes_one_input_and_ends() -> None:
    world = always(FAST)
    world.add("fu-a", single_use=True)
    world.call("fu-a", 100)
    world.finish()
    used = [c.container_id for c in world.sent(do.SendLease)]
    assert len(used) == len(set(used)) == 100
    world.pass_time(1.0)
    assert not world.scheduler.containers


def test_reports_that_make_no_sense_are_refused_and_change_nothing() -> None:
    world = always(SLOW)
    world.add("fu-a")
    call_id = world.call("fu-a", 2)
    world.run(lambda: bool(world.sent(do.SendLease)))
    lease = world.sent(do.SendLease)[0]
    for event in (
        on.OutputsReported(lease.container_id, lease.lease_id, lease.start + 1, 1, 0.1),
        on.OutputsReported(lease.container_id, lease.lease_id, lease.start, 2, 0.1),
        on.FailureReported(lease.container_id, lease.lease_id, lease.start + 1, 0.1, FailureKind.USER),
        on.InputsReturned(lease.container_id, lease.lease_id, lease.stop + 1),
        on.ContainerReady(lease.container_id),
        on.ContainerReady("ta-unknown"),
        on.FunctionAdded("fu-a", world.scheduler.functions["fu-a"].settings),
        on.FunctionRemoved("fu-unknown"),
        on.CallOpened(call_id, "fu-a", None, 1, True),
        on.CallOpened("fc-new", "fu-unknown", None, 1, True),
        on.InputsAdded(call_id, 2, 1),
        on.InputsClosed("fc-unknown"),
        on.CallCancelled("fc-unknown"),
    ):
        with pytest.raises(IllegalTransition):
            world.scheduler.handle(event, world.now)
        validate(world.scheduler)
    world.finish()
    assert world.outcomes(call_id) == [None, None]


def test_an_idle_container_takes_over_what_waits_in_another_one_at_once() -> None:
    slow: set[tuple[str, int]] = set()
    world = World(work=lambda function_id, call_id, index, attempt: Job(0.009 if (call_id, index) in slow else 0.001))
    world.add("fu-a", max_containers=2)
    world.call("fu-a", 400)
    world.finish()
    began = world.now
    call_id = f"fc-{len(world.calls) + 1}"
    # The first container has 0 and 2, the other one, done with 1 and 3, nothing more to do.
    slow.add((call_id, 0))
    world.call("fu-a", 4)
    ledger = world.calls[call_id]
    world.run(lambda: len(ledger.outcomes) == 3)
    assert 0 not in ledger.outcomes
    assert world.now - began < policy.SLOW_SECONDS / 2
    world.finish()
    assert set(ledger.attempts.values()) == {1}


def test_idle_containers_share_a_chunk_of_an_open_call() -> None:
    world = always(0.001)
    world.add("fu-a", max_containers=2)
    world.call("fu-a", 400)
    world.finish()
    call_id = world.call("fu-a", 0, closed=False)
    world.add_inputs(call_id, 100)
    world.run(lambda: len(world.calls[call_id].outcomes) == 100)
    world.close(call_id)
    first, second = [c.container_id for c in world.sent(do.SendLease) if c.call_id == call_id][:2]
    assert first != second


def test_the_last_leases_of_a_map_are_short() -> None:
    world = always(0.001)
    world.add("fu-a", max_containers=2)
    call_id = world.call("fu-a", 1_000)
    world.finish()
    whole = round(policy.LEASE_SECONDS / 0.001)
    assert max(sizes(world, call_id)) == whole
    assert max(sizes(world, call_id)[-4:]) <= 2


def test_a_second_lease_waits_only_where_no_other_container_may_start() -> None:
    slower = (policy.PREFETCH_BELOW + policy.PREFETCH_AT_LIMIT) / 2
    for maximum, containers in ((1, 1), (2, 2)):
        world = always(slower)
        function = world.add("fu-a", max_containers=maximum)
        world.call("fu-a", 1)
        world.finish()
        for _ in range(2):
            world.call("fu-a", 1)
        held = [len(c.leases) for c in function.containers.values()]
        assert len(held) == containers
        assert max(held) == 3 - maximum
        world.finish()
