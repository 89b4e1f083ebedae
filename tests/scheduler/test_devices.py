"""Who gets the GPUs, and who waits for them."""

import pytest

from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on
from tests.scheduler.containers import Job
from tests.scheduler.world import World


def world_with(gpus: int, slots: int = 8, seconds: float = 0.1) -> World:
    world = World(slots, work=lambda function_id, call_id, index, attempt: Job(seconds))
    world.tell(on.DevicesFound(gpus))
    return world


@pytest.mark.parametrize(("wanted", "containers"), [(1, 4), (2, 2), (3, 1)])
def test_no_more_containers_than_there_are_devices_for(wanted: int, containers: int) -> None:
    world = world_with(4)
    world.add("fu-a", gpus=wanted, max_containers=8)
    world.call("fu-a", 40)
    world.finish()
    assert world.peak["fu-a"] == containers


def test_functions_without_devices_are_not_held_back() -> None:
    world = world_with(1)
    world.add("fu-a", gpus=1)
    world.add("fu-b")
    world.call("fu-a", 40)
    world.call("fu-b", 40)
    world.finish()
    assert world.peak["fu-a"] == 1 and world.peak["fu-b"] > 1


def test_an_idle_container_makes_way_for_another_function() -> None:
    world = world_with(1)
    for function_id in ("fu-a", "fu-b", "fu-c"):
        world.add(function_id, gpus=1, scaledown_window=600)
    began = world.now
    for function_id in ("fu-a", "fu-b", "fu-c", "fu-a"):
        world.call(function_id)
        world.finish()
    assert world.now - began < 10
    assert len(world.sent(do.StopContainer)) == 3


def test_only_as_many_make_way_as_are_needed() -> None:
    world = world_with(4)
    world.add("fu-a", gpus=1, scaledown_window=600)
    world.add("fu-b", gpus=2)
    world.call("fu-a", 4)
    world.finish()
    world.call("fu-b")
    world.finish()
    assert world.alive("fu-a") == 2


def test_a_container_at_work_is_waited_for() -> None:
    world = world_with(1)
    world.add("fu-a", gpus=1)
    world.add("fu-b", gpus=1)
    first, second = world.call("fu-a", 30), world.call("fu-b", 1)
    world.run(lambda: world.calls[first].finished)
    assert not world.calls[second].outcomes and not world.alive("fu-b")
    world.finish()


def test_warm_containers_keep_their_devices() -> None:
    world = world_with(1)
    world.add("fu-a", gpus=1, min_containers=1)
    world.add("fu-b", gpus=1)
    waiting = world.call("fu-b")
    world.pass_time(30)
    assert not world.calls[waiting].finished and world.alive("fu-a") == 1
    world.change("fu-a", gpus=1)
    world.call("fu-a")
    world.finish()


def test_a_lost_container_gives_its_devices_back() -> None:
    world = world_with(1)
    world.add("fu-a", gpus=1)
    world.starts.extend(["dies", "ready"])
    world.call("fu-a", 3)
    world.finish()
    assert world.scheduler.devices.free == 0 and world.alive("fu-a") == 1


def test_who_wants_more_than_there_are_learns_it_from_a_start() -> None:
    world = world_with(1)
    world.add("fu-a", gpus=2)
    world.starts.extend(["error"] * 8)
    call = world.call("fu-a")
    world.finish()
    assert world.outcomes(call) != [None]
