"""How many containers there are, when they start and when they end."""

import pytest

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on
from modal_lite._scheduler import policy
from modal_lite._scheduler.introspection import function_stats
from modal_lite._scheduler.records import CONTAINER_TRANSITIONS, Container, ContainerState, IllegalTransition
from modal_lite.types import FunctionStats
from tests.scheduler.containers import Job
from tests.scheduler.world import World


def running(world: World, function_id: str) -> int:
    return sum(1 for c in world.scheduler.functions[function_id].containers.values() if c.leases)


def slow_world(slots: int = 2, seconds: float = 0.5) -> World:
    return World(slots, work=lambda function_id, call_id, index, attempt: Job(seconds))


@pytest.mark.parametrize("state", ContainerState)
@pytest.mark.parametrize("following", ContainerState)
def test_containers_move_only_as_the_table_says(state: ContainerState, following: ContainerState) -> None:
    world = World()
    container = Container("ta-1", world.add("fu-a"), 0.0, state)
    if following in CONTAINER_TRANSITIONS[state]:
        container.become(following)
        assert container.state is following
    else:
        with pytest.raises(IllegalTransition, match=f"ta-1 cannot go from {state.value} to {following.value}"):
            container.become(following)
        assert container.state is state


def test_a_function_alone_gets_as_many_containers_as_there_are_slots() -> None:
    world = slow_world(slots=3)
    world.add("fu-a")
    world.call("fu-a", 30)
    world.finish()
    assert world.peak["fu-a"] == 3


def test_one_input_starts_one_container() -> None:
    world = slow_world()
    world.add("fu-a")
    world.call("fu-a")
    world.finish()
    assert world.peak["fu-a"] == 1


def test_functions_with_work_come_to_equal_shares() -> None:
    world = slow_world(slots=4)
    world.add("fu-a")
    world.add("fu-b")
    world.call("fu-a", 200)
    world.pass_time(5.0)
    assert running(world, "fu-a") == 4
    world.call("fu-b", 200)
    world.pass_time(0.1)
    assert running(world, "fu-b") >= 1
    world.pass_time(2.0)
    assert (running(world, "fu-a"), running(world, "fu-b")) == (2, 2)
    world.finish()


def test_what_a_function_leaves_free_is_taken_by_the_others() -> None:
    world = slow_world(slots=4)
    world.add("fu-a")
    world.add("fu-b")
    cancelled = world.call("fu-a", 1_000)
    world.call("fu-b", 100)
    world.pass_time(5.0)
    assert running(world, "fu-b") == 2
    world.cancel(cancelled)
    world.pass_time(1.0)
    assert running(world, "fu-b") == 4
    world.finish()


def test_every_function_with_work_has_a_container_even_beyond_the_slots() -> None:
    world = slow_world(slots=2)
    for number in range(5):
        world.add(f"fu-{number}")
        world.call(f"fu-{number}", 20)
    world.pass_time(1.0)
    assert [running(world, f"fu-{number}") for number in range(5)] == [1] * 5
    world.finish()


def test_an_explicit_maximum_is_taken_at_its_word() -> None:
    world = slow_world(slots=2)
    world.add("fu-wide", max_containers=8)
    world.add("fu-narrow", max_containers=1)
    world.call("fu-wide", 50)
    world.call("fu-narrow", 5)
    world.finish()
    assert world.peak == {"fu-wide": 8, "fu-narrow": 1}


def test_more_containers_than_cores_are_started_for_inputs_that_prove_slow() -> None:
    world = slow_world(slots=2, seconds=1.0)
    world.add("fu-a", max_containers=6)
    world.call("fu-a", 18)
    assert world.alive("fu-a") == 2
    world.pass_time(0.1)
    assert world.alive("fu-a") == 6
    world.pass_time(3.0)
    assert world.calls["fc-1"].finished, "more than three rounds"


def test_more_containers_than_cores_are_started_at_once_for_a_function_known_to_be_slow() -> None:
    world = slow_world(slots=2, seconds=1.0)
    world.add("fu-a", max_containers=6)
    world.call("fu-a")
    world.finish()
    world.call("fu-a", 18)
    assert world.alive("fu-a") == 6
    world.finish()


def test_more_containers_than_cores_are_started_for_inputs_that_become_slow() -> None:
    world = World(2, lambda function_id, call_id, index, attempt: Job(0.000_1 if call_id == "fc-1" else 60.0))
    world.add("fu-a", max_containers=6)
    world.call("fu-a", 100)
    world.finish()
    world.call("fu-a", 18)
    world.pass_time(0.09)
    assert world.alive("fu-a") == 2
    world.pass_time(0.11)
    assert world.alive("fu-a") == 6
    world.finish()


@pytest.mark.parametrize("count", [10, 1_000, 20_000])
def test_tiny_inputs_get_no_more_containers_than_cores(count: int) -> None:
    world = World(2, lambda function_id, call_id, index, attempt: Job(0.000_001), check=False)
    world.add("fu-a", max_containers=64)
    call_id = world.call("fu-a", 1, closed=False)
    for _ in range(count // 500):
        world.run(lambda: world.scheduler.functions["fu-a"].backlog < 500)
        world.add_inputs(call_id, 500)
    world.close(call_id)
    world.finish()
    assert world.peak["fu-a"] <= 2


def test_containers_are_not_more_than_the_work_at_hand_is_worth() -> None:
    world = slow_world(slots=2, seconds=0.01)
    world.add("fu-a", max_containers=100)
    world.call("fu-a", 50)
    world.finish()
    assert 2 < world.peak["fu-a"] <= 0.01 * 50 / policy.START_SECONDS + 1


def test_containers_that_are_slow_to_start_start_side_by_side() -> None:
    world = slow_world(slots=2, seconds=1.0)
    world.start_seconds = 60.0
    world.add("fu-a", max_containers=8)
    world.call("fu-a", 8)
    world.pass_time(2.0)
    assert world.alive("fu-a") == 8
    world.finish()


def test_a_lower_maximum_takes_hold_as_containers_come_free() -> None:
    world = slow_world()
    world.add("fu-a", max_containers=6)
    world.call("fu-a", 100)
    world.pass_time(2.0)
    assert running(world, "fu-a") == 6
    world.change("fu-a", max_containers=2)
    world.pass_time(2.0)
    assert running(world, "fu-a") == world.alive("fu-a") == 2
    world.finish()


def test_a_lower_maximum_also_ends_containers_that_still_start() -> None:
    world = World(start_seconds=1.0)
    world.add("fu-a", min_containers=4)
    world.change("fu-a", max_containers=1)
    world.pass_time(5.0)
    assert world.alive("fu-a") == 1


def test_a_higher_maximum_takes_hold_at_once() -> None:
    world = slow_world()
    world.add("fu-a", max_containers=1)
    world.call("fu-a", 100)
    world.pass_time(1.0)
    world.change("fu-a", max_containers=5)
    world.pass_time(0.1)
    assert running(world, "fu-a") == 5
    world.finish()


def test_the_minimum_is_started_at_once_kept_and_restored() -> None:
    world = World()
    world.add("fu-a", min_containers=3, scaledown_window=1.0)
    world.pass_time(10.0)
    assert world.alive("fu-a") == 3
    next(iter(world.containers.values())).die()
    world.pass_time(10.0)
    assert world.alive("fu-a") == 3
    world.change("fu-a", min_containers=1, scaledown_window=1.0)
    world.pass_time(10.0)
    assert world.alive("fu-a") == 1
    world.change("fu-a", min_containers=2, scaledown_window=1.0)
    world.pass_time(0.1)
    assert world.alive("fu-a") == 2


def test_buffer_containers_are_idle_beside_the_busy_ones_while_the_function_is_in_use() -> None:
    world = slow_world(slots=1, seconds=30.0)
    world.add("fu-a", buffer_containers=2, scaledown_window=2.0)
    assert world.alive("fu-a") == 0
    world.call("fu-a")
    world.pass_time(20.0)
    assert (running(world, "fu-a"), world.alive("fu-a")) == (1, 3)
    world.finish()
    world.pass_time(10.0)
    assert world.alive("fu-a") == 0


def test_idle_containers_end_after_the_scaledown_window() -> None:
    world = slow_world()
    world.add("fu-a", scaledown_window=10.0)
    world.call("fu-a", 4)
    world.finish()
    world.pass_time(9.0)
    assert world.alive("fu-a") == 2
    world.pass_time(2.0)
    assert world.alive("fu-a") == 0
    assert world.scheduler.next_deadline() is None or not world.scheduler.containers


def test_a_scaledown_window_of_zero_does_not_spin() -> None:
    world = World()
    world.add("fu-a", min_containers=1, scaledown_window=0.0)
    call_id = world.call("fu-a", 5)
    world.finish()
    assert world.outcomes(call_id) == [None] * 5
    world.pass_time(5.0)
    assert world.alive("fu-a") == 1


def test_a_removed_function_leaves_nothing() -> None:
    world = World(work=lambda function_id, call_id, index, attempt: Job(100.0, obeys=index % 2 == 0))
    world.add("fu-a", min_containers=4)
    call_id = world.call("fu-a", 10)
    world.pass_time(1.0)
    world.tell(on.FunctionRemoved("fu-a"))
    assert world.outcomes(call_id) == [FailureKind.CANCELLED] * 10
    with pytest.raises(IllegalTransition, match="it cannot be called"):
        world.scheduler.handle(on.CallOpened("fc-late", "fu-a", None, 1, True), world.now)
    world.pass_time(policy.INTERRUPT_GRACE + 1.0)
    assert not world.scheduler.containers
    assert not world.scheduler.functions
    assert world.scheduler.total_active == 0


def test_statistics_count_what_waits_who_lives_and_what_runs() -> None:
    world = slow_world()
    function = world.add("fu-a", max_containers=3)
    world.call("fu-a", 10)
    assert function_stats(function) == FunctionStats(10, 2, 0, 0)
    world.pass_time(0.1)
    assert function_stats(function) == FunctionStats(7, 3, 3, 3)
    world.finish()
    assert function_stats(function) == FunctionStats(0, 3, 0, 0)


def test_what_waits_in_a_container_is_backlog() -> None:
    world = slow_world(slots=1, seconds=0.001)
    function = world.add("fu-a", max_containers=1)
    world.call("fu-a", 1_000)
    world.pass_time(0.1)
    assert function.running > 1
    stats = function_stats(function)
    assert stats.backlog == function.backlog + function.running - 1
    assert (stats.num_running_inputs, stats.num_active_runners) == (1, 1)
    world.finish()


def test_a_batch_that_waits_in_a_container_is_backlog() -> None:
    world = slow_world(slots=1)
    function = world.add("fu-a", max_containers=1, max_batch_size=4, batch_wait=0.01)
    world.call("fu-a", 20)
    world.pass_time(0.2)
    assert function_stats(function) == FunctionStats(16, 1, 4, 1)
    world.finish()


def test_cancelled_inputs_are_no_backlog() -> None:
    world = World(1, lambda function_id, call_id, index, attempt: Job(2.0, obeys=False))
    function = world.add("fu-a", max_containers=1)
    cancelled = world.call("fu-a", 5)
    world.pass_time(0.1)
    world.cancel(cancelled)
    world.call("fu-a", 2)
    assert function_stats(function) == FunctionStats(2, 1, 1, 1)
    world.finish()


def test_many_single_calls_leave_no_trace() -> None:
    world = World(check=False)
    world.add("fu-a")
    for _ in range(20_000):
        call_id = world.call("fu-a")
        world.run(lambda ledger=world.calls[call_id]: ledger.finished)
        world.forget(call_id)
        del world.calls[call_id]
        world.commands.clear()
    assert not world.scheduler.calls
    assert len(world.scheduler._timetable) < 100
    assert len(world.scheduler.functions["fu-a"].line) < 10


def test_a_long_map_keeps_the_timetable_short() -> None:
    world = World(work=lambda function_id, call_id, index, attempt: Job(0.0005), check=False, max_steps=400_000)
    world.add("fu-a", scaledown_window=3600.0)
    call_id = world.call("fu-a", 100, closed=False)
    for _ in range(1_000):
        world.run(lambda: not world.scheduler.functions["fu-a"].running)
        world.add_inputs(call_id, 100)
    assert len(world.scheduler._timetable) < 300
    assert len(world.sent(do.StartContainer)) == 2
    world.close(call_id)
    world.finish()


def test_a_container_that_leaves_by_itself_gets_nothing_and_is_replaced() -> None:
    world = World(work=lambda *_: Job(5.0))
    world.add("fu-a", max_containers=1)
    first = world.call("fu-a")
    world.run(lambda: any(container.held for container in world.containers.values()))
    (leaving,) = world.containers.values()
    world.tell(on.ContainerLeaving(leaving.container_id))
    world.tell(on.ContainerLeaving(leaving.container_id))
    second = world.call("fu-a")
    world.pass_time(1.0)
    assert [lease.call_id for lease in world.sent(do.SendLease)] == [first, second]
    assert leaving.container_id not in {lease.container_id for lease in world.sent(do.SendLease)[1:]}
    leaving.die()
    world.finish()
    assert world.outcomes(first) == world.outcomes(second) == [None]
    assert world.calls[first].attempts[0] == 2


def test_a_container_that_says_that_it_leaves_and_does_not_is_killed() -> None:
    world = World(work=lambda *_: Job(0.01))
    world.add("fu-a", max_containers=1)
    world.call("fu-a")
    world.finish()
    (leaving,) = world.containers.values()
    world.tell(on.ContainerLeaving(leaving.container_id))
    world.pass_time(policy.INTERRUPT_GRACE + 1.0)
    assert [kill.container_id for kill in world.sent(do.KillContainer)] == [leaving.container_id]


@pytest.mark.parametrize("leaves", [True, False])
def test_all_that_ran_together_in_a_container_that_left_count_a_loss(leaves: bool) -> None:
    world = World(work=lambda *_: Job(5.0))
    world.add("fu-a", max_containers=1, max_inputs=4)
    call_id = world.call("fu-a", 3)
    world.run(lambda: any(len(container.held) == 3 for container in world.containers.values()))
    (leaving,) = world.containers.values()
    if leaves:
        world.tell(on.ContainerLeaving(leaving.container_id))
    leaving.die()
    world.pass_time(0.01)
    assert [waiting.losses for waiting in world.scheduler.calls[call_id].pending] == [1, 1, 1]


def test_a_container_without_a_place_does_not_use_its_startup_timeout_up() -> None:
    world = World()
    world.starts.append("waits")
    world.place_seconds = 1000.0
    world.add("fu-a", startup_timeout=5.0, max_containers=1)
    call = world.call("fu-a", 1)
    world.pass_time(900.0)
    assert world.alive("fu-a") == 1
    world.finish()
    assert len(world.calls[call].outcomes) == 1


def test_a_container_without_a_place_is_withdrawn_when_nothing_waits_for_it() -> None:
    world = World()
    world.starts.append("waits")
    world.place_seconds = 1000.0
    world.add("fu-a", scaledown_window=10.0)
    world.cancel(world.call("fu-a", 1))
    world.pass_time(30.0)
    assert world.alive("fu-a") == 0


def test_more_cores_are_used_at_once() -> None:
    world = slow_world(slots=1, seconds=1.0)
    world.add("fu-a")
    world.call("fu-a", 40)
    world.pass_time(1.5)
    world.tell(on.CoresFound(4))
    world.pass_time(0.1)
    assert world.alive("fu-a") >= 4
    world.finish()
