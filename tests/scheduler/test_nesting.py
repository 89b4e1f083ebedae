"""Inputs that call functions themselves, and the call graph that comes of it."""

from typing import Any

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on
from modal_lite._scheduler.calls import MAX_CHILDREN
from modal_lite._scheduler.introspection import MAX_GRAPH_DEPTH, call_graph
from modal_lite.call_graph import InputInfo, InputStatus
from modal_lite.retries import Retries
from tests.scheduler.containers import Job
from tests.scheduler.world import World


def describe(function_id: str) -> tuple[str, str]:
    return function_id.removeprefix("fu-"), "program"


def graph(world: World, call_id: str) -> list[InputInfo]:
    return call_graph(world.scheduler, call_id, describe)


def test_a_deep_chain_needs_one_slot() -> None:
    world = World(slots=1)
    chain = [f"fu-{depth}" for depth in range(50)]
    following = dict(zip(chain, chain[1:], strict=False))
    world.work = lambda function_id, *_: Job(
        0.01, calls=((following[function_id], 1),) if function_id in following else ()
    )
    for function_id in chain:
        world.add(function_id)
    call_id = world.call("fu-0")
    world.finish()
    assert world.outcomes(call_id) == [None]


def test_a_function_that_calls_itself_fifty_deep() -> None:
    world = World(slots=2)
    world.work = lambda function_id, call_id, *_: Job(0.01, calls=(("fu-a", 1),) if int(call_id[3:]) < 50 else ())
    world.add("fu-a")
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [None]
    assert len(world.calls) == 50
    world.forget(call_id)
    assert not world.scheduler.calls


def test_fibonacci_of_twelve_on_two_slots() -> None:
    numbers = {"fc-1": 12}
    world = World(slots=2, check=False)
    world.add("fu-fib")

    def work(function_id: str, call_id: str, index: int, attempt: int) -> Job:
        call = world.scheduler.calls[call_id]
        if call.parent is not None:
            parent = call.parent[0]
            numbers[call_id] = numbers[parent] - 1 - (world.scheduler.calls[parent].children.index(call_id))
        return Job(0.001, calls=(("fu-fib", 1), ("fu-fib", 1)) if numbers[call_id] > 1 else ())

    world.work = work
    world.call("fu-fib")
    world.finish()
    assert len(world.calls) == 465
    assert world.peak["fu-fib"] < 30


def test_waiting_containers_use_no_slot() -> None:
    world = World(slots=2)
    world.work = lambda function_id, *_: Job(0.5, calls=(("fu-inner", 4),) if function_id == "fu-outer" else ())
    world.add("fu-outer")
    world.add("fu-inner")
    world.call("fu-outer", 6)
    world.pass_time(0.2)
    assert sum(1 for c in world.scheduler.containers.values() if c.waiting) >= 2
    assert world.scheduler.total_active <= 3
    world.finish()


def test_a_container_that_begins_to_wait_gives_back_at_once_what_it_has_not_started() -> None:
    world = World(work=lambda *_: Job(0.001))
    world.add("fu-a", max_containers=1)
    world.call("fu-a", 1_000)
    world.run(lambda: any(len(container.held) == 2 for container in world.containers.values()))
    (container_id,) = world.containers
    leases = {lease.lease_id for lease in world.scheduler.containers[container_id].leases}
    world.commands.clear()
    world.tell(on.ContainerWaiting(container_id, True))
    assert {recall.lease_id for recall in world.sent(do.RecallLease)} == leases
    world.tell(on.ContainerWaiting(container_id, False))
    world.finish()


def test_inputs_behind_one_that_waits_run_elsewhere() -> None:
    world = World(slots=1)

    def work(function_id: str, call_id: str, index: int, attempt: int) -> Job:
        if function_id == "fu-outer" and call_id == "fc-2" and index == 80:
            # The answer depends on an input that may have been given to the very same container, behind this one.
            return Job(1e-5, calls=(("fu-inner", 1),))
        return Job(1e-5)

    world.work = work
    world.add("fu-outer")
    world.add("fu-inner")
    world.call("fu-outer", 2_000)
    world.finish()
    began = world.now
    world.call("fu-outer", 2_000)
    world.finish()
    assert world.now - began < 1.0


def test_a_container_whose_input_left_a_call_behind_is_still_used() -> None:
    world = World()
    world.add("fu-a")
    world.call("fu-a")
    world.finish()
    (container_id,) = world.containers
    world.tell(on.ContainerWaiting(container_id, True))
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [None]
    assert len(world.containers) == 1


def waiting_world(**settings: Any) -> World:
    """`fu-outer` may have one container, whose input waits for a call of its own."""
    calls = {"fu-outer": (("fu-inner", 1),)}
    world = World(work=lambda function_id, *_: Job(100.0, obeys=False, calls=calls.get(function_id, ())))
    world.add("fu-outer", max_containers=1, **settings)
    world.add("fu-inner", timeout=None)
    return world


def starts_of(world: World, function_id: str) -> int:
    return len([start for start in world.sent(do.StartContainer) if start.function_id == function_id])


def test_a_container_killed_while_it_waits_is_replaced_before_it_is_gone() -> None:
    world = waiting_world(timeout=2.0)
    world.call("fu-outer", 2)
    world.loss_seconds = 10.0
    world.run(lambda: bool(world.sent(do.KillContainer)))
    assert starts_of(world, "fu-outer") == 2


def test_a_container_of_threads_that_is_left_while_it_waits_is_replaced_before_it_is_gone() -> None:
    world = waiting_world(max_inputs=2, in_threads=True)
    unwanted = world.call("fu-outer", 2)
    world.run(lambda: any(c.waiting for c in world.scheduler.containers.values()))
    world.call("fu-outer")
    world.loss_seconds = 10.0
    world.cancel(unwanted)
    assert starts_of(world, "fu-outer") == 2


def test_a_container_of_threads_that_is_out_of_time_while_it_waits_is_replaced_before_it_is_gone() -> None:
    world = waiting_world(max_inputs=2, in_threads=True, timeout=2.0)
    world.call("fu-outer", 3)
    world.loss_seconds = 10.0
    world.run(lambda: bool(world.sent(do.StopContainer)))
    assert starts_of(world, "fu-outer") == 2


def test_the_graph_links_inputs_to_the_calls_they_made() -> None:
    world = World()
    world.work = lambda function_id, *_: Job(0.01, calls=(("fu-b", 2), ("fu-c", 1)) if function_id == "fu-a" else ())
    for function_id in ("fu-a", "fu-b", "fu-c"):
        world.add(function_id)
    call_id = world.call("fu-a", 2)
    world.finish()
    roots = graph(world, call_id)
    assert [root.input_id for root in roots] == ["in-1-0", "in-1-1"]
    for root in roots:
        assert (root.function_name, root.module_name, root.status) == ("a", "program", InputStatus.SUCCESS)
        assert root.task_id.startswith("ta-")
        assert [child.function_name for child in root.children] == ["b", "b", "c"]
        assert all(child.status is InputStatus.SUCCESS for child in root.children)


def test_the_graph_shows_every_input_wherever_it_is() -> None:
    world = World(
        work=lambda _f, _c, index, _a: Job(*((0.01, None), (0.01, FailureKind.USER), (50.0, None))[min(index, 2)])
    )
    world.add("fu-a", max_containers=2, retries=Retries(max_retries=1, initial_delay=20.0))
    call_id = world.call("fu-a", 6)
    world.pass_time(1.0)
    assert world.scheduler.calls[call_id].delayed == 1
    nodes = graph(world, call_id)
    assert [node.input_id for node in nodes] == [f"in-1-{index}" for index in range(6)]
    assert [node.status for node in nodes] == [InputStatus.SUCCESS] + [InputStatus.PENDING] * 5
    world.cancel(call_id)
    assert [node.status for node in graph(world, call_id)] == [InputStatus.SUCCESS] + [InputStatus.TERMINATED] * 5


def test_outcomes_have_their_own_status() -> None:
    kinds = {0: FailureKind.USER, 1: FailureKind.SERIALIZATION}
    world = World(work=lambda _f, _c, index, _a: Job(0.01 if index < 2 else 100.0, kinds.get(index)))
    world.add("fu-a", timeout=1.0)
    call_id = world.call("fu-a", 3)
    world.finish()
    statuses = [node.status for node in graph(world, call_id)]
    assert statuses == [InputStatus.FAILURE, InputStatus.FAILURE, InputStatus.TIMEOUT]
    world.starts.append("error")
    world.add("fu-b", max_containers=1)
    broken = world.call("fu-b")
    world.finish()
    assert [node.status for node in graph(world, broken)] == [InputStatus.INIT_FAILURE]


def test_forgotten_children_stay_in_the_story_until_their_root_is_forgotten() -> None:
    world = World()
    world.work = lambda function_id, *_: Job(0.01, calls=(("fu-b", 1),) if function_id == "fu-a" else ())
    world.add("fu-a")
    world.add("fu-b")
    root = world.call("fu-a")
    world.finish()
    assert [node.function_name for node in graph(world, root)[0].children] == ["b"]
    world.forget(root)
    assert not world.scheduler.calls


def test_a_long_lived_parent_remembers_a_bounded_number_of_children() -> None:
    world = World(check=False)
    world.add("fu-a")
    parent = world.call("fu-a", 0, closed=False)
    for _ in range(MAX_CHILDREN + 2_000):
        child = world.call("fu-a", parent=(parent, 0))
        world.forget(child)
    assert len(world.scheduler.calls) <= MAX_CHILDREN + 1
    world.forget(parent)
    assert not world.scheduler.calls


def test_a_very_deep_story_can_be_forgotten() -> None:
    world = World(check=False)
    world.add("fu-a")
    root = call_id = world.call("fu-a")
    for _ in range(2_000):
        call_id = world.call("fu-a", parent=(call_id, 0))
    world.finish()
    for forgotten in [call_id for call_id in world.calls if call_id != root]:
        world.forget(forgotten)
    assert len(world.scheduler.calls) == 2_001
    generations, nodes = 0, graph(world, root)
    while nodes:
        generations, nodes = generations + 1, nodes[0].children
    assert generations == MAX_GRAPH_DEPTH
    world.forget(root)
    assert not world.scheduler.calls
