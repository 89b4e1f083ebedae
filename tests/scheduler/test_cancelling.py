"""Cancelling and forgetting calls, wherever their inputs are."""

import pytest

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import commands as do
from modal_lite._scheduler import policy
from modal_lite.retries import Retries
from tests.scheduler.containers import Job
from tests.scheduler.world import World

CANCELLED = FailureKind.CANCELLED


def test_pending_inputs_of_a_cancelled_call_never_start() -> None:
    world = World(work=lambda *_: Job(1.0))
    world.add("fu-a", max_containers=1)
    world.call("fu-a", 3)
    cancelled = world.call("fu-a", 5)
    world.cancel(cancelled)
    assert world.outcomes(cancelled) == [CANCELLED] * 5
    world.finish()
    assert not world.calls[cancelled].attempts


def test_the_running_input_is_interrupted_and_the_container_lives_on() -> None:
    world = World(work=lambda _f, call_id, *_: Job(100.0 if call_id == "fc-1" else 0.01))
    world.add("fu-a", max_containers=1)
    cancelled = world.call("fu-a", 2)
    world.pass_time(1.0)
    world.cancel(cancelled)
    assert world.outcomes(cancelled) == [CANCELLED] * 2
    following = world.call("fu-a")
    began = world.now
    world.finish()
    assert world.outcomes(following) == [None]
    assert world.now - began < 0.1
    assert len(world.sent(do.StartContainer)) == 1


def test_finished_inputs_keep_their_outcome() -> None:
    world = World(work=lambda _f, _c, index, _a: Job(0.01 if index < 4 else 100.0))
    world.add("fu-a")
    call_id = world.call("fu-a", 10)
    world.run(lambda: len(world.calls[call_id].outcomes) == 4)
    world.cancel(call_id)
    assert world.outcomes(call_id) == [None] * 4 + [CANCELLED] * 6
    world.cancel(call_id)
    world.finish()


def test_an_input_that_ignores_its_cancellation_is_killed_after_a_grace() -> None:
    world = World(work=lambda _f, call_id, *_: Job(1e4 if call_id == "fc-1" else 0.01, obeys=False))
    world.add("fu-a", max_containers=1, timeout=None)
    cancelled = world.call("fu-a")
    world.pass_time(1.0)
    world.cancel(cancelled)
    following = world.call("fu-a")
    began = world.now
    world.finish()
    assert world.outcomes(following) == [None]
    assert world.now - began == pytest.approx(policy.INTERRUPT_GRACE, abs=0.1)


def test_a_delayed_retry_is_cancelled() -> None:
    world = World(work=lambda *_: Job(0.01, FailureKind.USER))
    world.add("fu-a", retries=Retries(max_retries=5, initial_delay=50.0))
    call_id = world.call("fu-a", 3)
    other = world.call("fu-a", 1)
    world.pass_time(10.0)
    world.cancel(call_id)
    assert world.outcomes(call_id) == [CANCELLED] * 3
    assert all(count == 1 for count in world.calls[call_id].attempts.values())
    world.finish()
    assert world.outcomes(other) == [FailureKind.USER]


def test_inputs_added_to_a_cancelled_call_are_cancelled() -> None:
    world = World()
    world.add("fu-a")
    call_id = world.call("fu-a", 2, closed=False)
    world.cancel(call_id)
    world.add_inputs(call_id, 3)
    assert world.outcomes(call_id) == [CANCELLED] * 5


def test_terminating_kills_the_containers_at_once_and_harms_no_other_call() -> None:
    world = World(work=lambda _f, call_id, *_: Job(100.0 if call_id == "fc-2" else 1e-5, obeys=False))
    world.add("fu-a", max_containers=2)
    world.call("fu-a", 1_000)
    world.finish()
    cancelled = world.call("fu-a", 2)
    others = [world.call("fu-a", 1) for _ in range(4)]
    world.cancel(cancelled, terminate_containers=True)
    assert len(world.sent(do.KillContainer)) == 2
    began = world.now
    world.finish()
    assert world.now - began < 0.2
    for call_id in others:
        assert world.outcomes(call_id) == [None]


def test_cancelling_before_any_container_is_ready() -> None:
    world = World(start_seconds=5.0)
    world.add("fu-a")
    call_id = world.call("fu-a", 2)
    world.cancel(call_id, terminate_containers=True)
    assert world.outcomes(call_id) == [CANCELLED] * 2
    world.pass_time(100.0)
    assert not world.scheduler.containers


@pytest.mark.parametrize("after", [0.0, 0.01, 0.0205, 0.3, 2.0])
def test_a_forgotten_call_is_cancelled_and_dropped(after: float) -> None:
    world = World(work=lambda *_: Job(0.2))
    world.add("fu-a")
    call_id = world.call("fu-a", 4)
    world.pass_time(after)
    world.forget(call_id)
    assert call_id not in world.scheduler.calls
    assert world.calls[call_id].finished
    world.pass_time(100.0)
    assert not world.scheduler.containers


def test_an_open_call_can_be_forgotten() -> None:
    world = World()
    world.add("fu-a")
    call_id = world.call("fu-a", 0, closed=False)
    world.forget(call_id)
    assert not world.scheduler.calls
