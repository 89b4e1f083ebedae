"""Retries, timeouts, lost containers, containers that cannot start."""

import pytest

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on
from modal_lite._scheduler import policy
from modal_lite.retries import Retries
from tests.scheduler.containers import Job, SimulatedContainer
from tests.scheduler.world import World

FAST = 1e-5


def holder(world: World) -> SimulatedContainer:
    """The one container that has leases."""
    (found,) = [container for container in world.containers.values() if container.held]
    return found


# --- retries ---------------------------------------------------------------------------------------------------------


def test_a_failed_input_is_tried_again_after_each_delay() -> None:
    began: list[float] = []
    world = World()

    def work(function_id: str, call_id: str, index: int, attempt: int) -> Job:
        began.append(world.now)
        return Job(0.01, FailureKind.USER if attempt <= 3 else None)

    world.work = work
    world.add("fu-a", retries=Retries(max_retries=3, initial_delay=2.0, backoff_coefficient=3.0))
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [None]
    gaps = [after - before for before, after in zip(began, began[1:], strict=False)]
    assert gaps == pytest.approx([2.0, 6.0, 18.0], abs=0.1)


@pytest.mark.parametrize(("retries", "attempts"), [(None, 1), (Retries(max_retries=0), 1), (Retries(max_retries=2), 3)])
def test_retries_are_used_up(retries: Retries | None, attempts: int) -> None:
    world = World(work=lambda *_: Job(0.01, FailureKind.USER))
    world.add("fu-a", retries=retries)
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [FailureKind.USER]
    assert world.calls[call_id].attempts[0] == attempts


def test_each_input_of_a_map_has_its_own_retries() -> None:
    world = World(work=lambda _f, _c, index, attempt: Job(FAST, FailureKind.USER if attempt <= index % 3 else None))
    world.add("fu-a", retries=Retries(max_retries=1, initial_delay=0.0))
    call_id = world.call("fu-a", 300)
    world.finish()
    assert world.outcomes(call_id) == [FailureKind.USER if index % 3 == 2 else None for index in range(300)]


@pytest.mark.parametrize("kind", [FailureKind.SERIALIZATION, FailureKind.DESERIALIZATION, FailureKind.INVALID])
def test_what_would_fail_again_is_not_retried(kind: FailureKind) -> None:
    world = World(work=lambda *_: Job(0.01, kind))
    world.add("fu-a", retries=Retries(max_retries=5))
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [kind]
    assert world.calls[call_id].attempts[0] == 1


# --- timeouts --------------------------------------------------------------------------------------------------------


def test_an_input_over_its_timeout_is_interrupted_and_its_container_lives_on() -> None:
    world = World(work=lambda _f, call_id, *_: Job(100.0 if call_id == "fc-1" else 0.01))
    world.add("fu-a", timeout=2.0)
    slow = world.call("fu-a")
    began = world.now
    world.finish()
    assert world.outcomes(slow) == [FailureKind.TIMEOUT]
    assert 2.0 <= world.now - began < 2.1
    world.call("fu-a")
    world.finish()
    assert len(world.sent(do.StartContainer)) == 1


def test_an_input_that_ignores_its_timeout_is_killed_after_a_grace() -> None:
    world = World(work=lambda *_: Job(1000.0, obeys=False))
    world.add("fu-a", timeout=2.0)
    call_id = world.call("fu-a")
    began = world.now
    world.finish()
    assert world.outcomes(call_id) == [FailureKind.TIMEOUT]
    assert world.now - began == pytest.approx(2.0 + policy.INTERRUPT_GRACE, abs=0.1)
    assert len(world.sent(do.KillContainer)) == 1


def test_an_input_that_a_stuck_container_never_began_has_not_run_into_its_timeout() -> None:
    world = World(work=lambda *_: Job(1.0))
    world.add("fu-a", timeout=2.0)
    world.call("fu-a")
    world.finish()
    (stuck,) = world.containers.values()
    for method in ("take", "recall", "interrupt"):
        setattr(stuck, method, lambda *_: None)
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [None]
    assert len(world.sent(do.KillContainer)) == 1


@pytest.mark.parametrize("obeys", [True, False])
def test_timeouts_use_retries_up(obeys: bool) -> None:
    world = World(work=lambda *_: Job(100.0, obeys=obeys))
    world.add("fu-a", timeout=2.0, retries=Retries(max_retries=2, initial_delay=0.0))
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [FailureKind.TIMEOUT]
    assert world.calls[call_id].attempts[0] == 3


def test_the_queue_does_not_count_against_the_timeout() -> None:
    world = World(work=lambda *_: Job(1.0))
    world.add("fu-a", timeout=1.5, max_containers=1)
    call_id = world.call("fu-a", 20)
    world.finish()
    assert world.outcomes(call_id) == [None] * 20


def test_a_timeout_of_one_input_leaves_those_behind_it_unharmed() -> None:
    world = World(work=lambda _f, _c, index, _a: Job(100.0 if index == 700 else FAST, obeys=False))
    world.add("fu-a", timeout=1.0)
    call_id = world.call("fu-a", 2_000)
    world.finish()
    assert [index for index, kind in enumerate(world.outcomes(call_id)) if kind] == [700]
    assert max(world.calls[call_id].attempts.values()) == 1


def test_without_a_timeout_an_input_runs_as_long_as_it_likes() -> None:
    world = World(work=lambda *_: Job(1e6))
    world.add("fu-a", timeout=None)
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [None]


def test_an_interruption_that_came_too_late_gives_the_next_input_no_time_of_its_own() -> None:
    world = World(work=lambda *_: Job(FAST))
    world.add("fu-a", timeout=1.0, max_containers=1)
    world.call("fu-a", 100)
    world.run(lambda: any(lease.stop > lease.start + 1 for lease in world.sent(do.SendLease)))
    lease = next(lease for lease in world.sent(do.SendLease) if lease.stop > lease.start + 1)
    world.containers[lease.container_id].freeze()
    world.run(lambda: bool(world.sent(do.InterruptLease)))
    # It had ended by itself; now the next one runs.
    world.tell(on.OutputsReported(lease.container_id, lease.lease_id, lease.start, 1, FAST))
    world.pass_time(1.1)
    assert [interrupt.lease_id for interrupt in world.sent(do.InterruptLease)] == [lease.lease_id] * 2


def test_a_frozen_container_has_no_more_time_to_end_for_what_it_still_reports() -> None:
    world = World(work=lambda *_: Job(100.0))
    world.add("fu-a", timeout=1.0, max_inputs=2, in_threads=True)
    world.call("fu-a")
    world.run(lambda: any(c.held for c in world.containers.values()))
    container = holder(world)
    world.pass_time(0.5)
    container.freeze()
    world.run(lambda: bool(world.sent(do.StopContainer)))
    world.pass_time(policy.INTERRUPT_GRACE - 1.0)
    world.tell(on.OutputsReported(container.container_id, container.held[0].lease_id, 0, 1, 1.0))
    world.pass_time(1.1)
    assert [kill.container_id for kill in world.sent(do.KillContainer)] == [container.container_id]


# --- lost containers -------------------------------------------------------------------------------------------------


def test_a_lost_container_charges_only_the_input_it_ran() -> None:
    world = World(work=lambda *_: Job(0.001))
    world.add("fu-a", max_containers=1)
    world.call("fu-a", 1_000)
    world.finish()
    call_id = world.call("fu-a", 1_000)
    for _ in range(5):
        world.run(lambda: any(len(container.held) == 2 for container in world.containers.values()))
        holder(world).die()
        world.pass_time(0.1)
    losses = [r.losses for r in world.scheduler.calls[call_id].pending]
    assert max(losses, default=0) <= 1
    world.finish()
    assert world.outcomes(call_id) == [None] * 1_000


@pytest.mark.parametrize("known", [True, False])
def test_an_input_that_kills_its_containers_fails_after_so_many(known: bool) -> None:
    world = World(work=lambda *_: Job(1.0))
    world.add("fu-a")
    call_id = world.call("fu-a")
    for _ in range(policy.MAX_LOSSES + 1):
        world.run(lambda: any(c.held for c in world.containers.values()) or world.calls[call_id].finished)
        holder(world).die(running_known=known)
        world.pass_time(0.1)
        if not known and world.calls[call_id].attempts[0] > policy.MAX_LOSSES:
            break
    if known:
        assert world.outcomes(call_id) == [FailureKind.LOST]
        assert world.calls[call_id].attempts[0] == policy.MAX_LOSSES + 1
    else:
        # Nobody ran as far as anybody knows: nobody is to blame, and the input runs in the end.
        world.finish()
        assert world.outcomes(call_id) == [None]


def test_lost_containers_use_no_retries_up() -> None:
    world = World(work=lambda _f, _c, _i, attempt: Job(1.0, FailureKind.USER if attempt < 3 else None))
    world.add("fu-a", retries=Retries(max_retries=1, initial_delay=0.0))
    call_id = world.call("fu-a")
    world.run(lambda: any(c.held for c in world.containers.values()))
    holder(world).die()
    world.finish()
    assert world.outcomes(call_id) == [None]
    assert world.calls[call_id].attempts[0] == 3


def test_a_report_that_comes_after_its_container_was_given_up_changes_nothing() -> None:
    world = World(work=lambda *_: Job(0.5))
    world.add("fu-a")
    call_id = world.call("fu-a")
    world.run(lambda: any(c.held for c in world.containers.values()))
    lease = world.sent(do.SendLease)[0]
    world.tell(on.ContainerGone(lease.container_id))
    world.tell(on.OutputsReported(lease.container_id, lease.lease_id, 0, 1, 0.5))
    world.tell(on.FailureReported(lease.container_id, lease.lease_id, 0, 0.5, FailureKind.USER))
    world.tell(on.InputsReturned(lease.container_id, lease.lease_id, 0))
    world.tell(on.ContainerGone(lease.container_id))
    assert not world.calls[call_id].outcomes
    world.run(lambda: world.calls[call_id].finished)
    assert world.outcomes(call_id) == [None]


# --- containers that cannot start ------------------------------------------------------------------------------------


def test_a_start_error_fails_what_waits_at_once() -> None:
    world = World()
    world.add("fu-a", max_containers=1)
    world.starts.append("error")
    calls = [world.call("fu-a", 3), world.call("fu-a", 1)]
    world.finish()
    for call_id in calls:
        assert set(world.outcomes(call_id)) == {FailureKind.INIT}
    assert len(world.sent(do.StartContainer)) == 1


def test_silent_deaths_at_start_fail_what_waits_after_a_few() -> None:
    world = World()
    world.add("fu-a")
    world.starts.extend(["dies"] * policy.MAX_START_FAILURES)
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [FailureKind.INIT]
    assert len(world.sent(do.StartContainer)) == policy.MAX_START_FAILURES
    again = world.call("fu-a")
    world.finish()
    assert world.outcomes(again) == [None]


def test_a_machine_that_is_lost_while_many_containers_start_on_it_fails_nothing() -> None:
    world = World(slots=8)
    world.add("fu-a")
    world.starts.extend(["hangs"] * 8)
    call_id = world.call("fu-a", 20)
    world.run(lambda: len(world.containers) == 8)
    for container in list(world.containers.values()):
        container.die(vanished=True)
    world.finish()
    assert world.outcomes(call_id) == [None] * 20


def test_a_function_that_loses_one_machine_after_the_other_is_given_up() -> None:
    world = World(start_seconds=5.0)
    world.add("fu-a", max_containers=1)
    world.starts.extend(["vanishes"] * 100)
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [FailureKind.INIT]
    assert len(world.sent(do.StartContainer)) == policy.MAX_START_FAILURES


def test_a_few_deaths_at_start_are_survived() -> None:
    world = World()
    world.add("fu-a")
    world.starts.extend(["dies"] * (policy.MAX_START_FAILURES - 1))
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [None]
    assert world.scheduler.functions["fu-a"].start_failures == 0


def test_a_container_that_hangs_at_start_is_killed_and_replaced() -> None:
    world = World()
    world.add("fu-a", startup_timeout=10.0)
    world.starts.append("hangs")
    call_id = world.call("fu-a")
    began = world.now
    world.finish()
    assert world.outcomes(call_id) == [None]
    assert 10.0 < world.now - began < 10.2


def test_warm_containers_that_cannot_start_are_tried_ever_more_rarely() -> None:
    world = World()
    world.starts.extend(["error"] * 1_000)
    world.add("fu-a", min_containers=1)
    world.pass_time(1_000.0)
    assert 10 < len(world.sent(do.StartContainer)) < 30
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [FailureKind.INIT]
    world.starts.clear()
    world.pass_time(2 * policy.MAX_START_BACKOFF)
    assert world.alive("fu-a") == 1


@pytest.mark.parametrize("how", ["dies", "error"])
def test_while_one_container_works_others_that_cannot_start_fail_nothing(how: str) -> None:
    world = World(slots=4, work=lambda *_: Job(0.3))
    world.add("fu-a")
    world.call("fu-a")
    world.finish()
    world.starts.extend([how] * 100)
    call_id = world.call("fu-a", 30)
    world.finish()
    assert world.outcomes(call_id) == [None] * 30
    assert len(world.sent(do.StartContainer)) < 10, "they are tried ever more rarely"


def test_what_waits_for_a_nested_call_is_no_container_at_work() -> None:
    world = World(work=lambda _f, call_id, *_: Job(0.1, calls=(("fu-a", 1),) if call_id == "fc-1" else ()))
    world.add("fu-a")
    world.starts.extend(["ready"] + ["dies"] * 100)
    call_id = world.call("fu-a")
    world.finish()
    assert world.outcomes(call_id) == [None]
    assert world.outcomes("fc-2") == [FailureKind.INIT]


# --- generators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["lost", "told to end", "raised", "timed out", "killed after its timeout"])
def test_what_has_delivered_values_is_not_run_again(how: str) -> None:
    failure = FailureKind.USER if how == "raised" else None
    world = World(work=lambda *_: Job(10.0, failure, obeys=how != "killed after its timeout"))
    world.add("fu-a", timeout=2.0 if "time" in how else None, retries=Retries(max_retries=3, initial_delay=0.0))
    call_id = world.call("fu-a")
    world.run(lambda: any(c.held for c in world.containers.values()))
    lease = world.sent(do.SendLease)[0]
    world.tell(on.OutputBegan(lease.container_id, lease.lease_id))
    if how == "lost":
        holder(world).die()
    elif how == "told to end":
        holder(world).die(running_known=False)
    world.finish()
    kinds = {"lost": FailureKind.LOST, "told to end": FailureKind.LOST, "raised": FailureKind.USER}
    assert world.outcomes(call_id) == [kinds.get(how, FailureKind.TIMEOUT)]
    assert world.calls[call_id].attempts[0] == 1
    world.tell(on.OutputBegan(lease.container_id, lease.lease_id))
