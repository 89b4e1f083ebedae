"""What the control thread does while user code runs: recall, interruption, the end."""

import random
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from modal_lite._core.messages import ANY_INPUT, CancelInput, FailureKind, Leaving, Outputs, Recall, Returned, Stop
from tests.worker.harness import Plane, wait_until


def test_recall_reports_what_is_finished_and_gives_back_the_rest(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("wait_or_return").ready()
    lease = container.lease([None, None, str(tmp_path), None, None])
    wait_until((tmp_path / "started").exists)
    container.control.send(Recall(lease))
    outputs, values = container.recv()
    assert (outputs.start, outputs.count, values) == (0, 2, ["quick"] * 2)
    returned, _ = container.recv()
    assert returned == Returned(lease, 3)
    container.control.send(CancelInput(lease, 2))
    failed, _ = container.recv()
    assert (failed.index, failed.failure.kind) == (2, FailureKind.CANCELLED)
    assert container.results(container.call(None)) == ["quick"]


def test_recall_of_leases_that_wait(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("wait_or_return").ready()
    running = container.lease([str(tmp_path)])
    first, second = container.lease([None] * 3), container.lease([None] * 3)
    wait_until((tmp_path / "started").exists)
    container.control.send(Recall(second))
    assert container.recv()[0] == Returned(second, 0)
    container.control.send(CancelInput(running, 0))
    assert container.results(running)[0].kind is FailureKind.CANCELLED
    assert container.results(first) == ["quick"] * 3


def test_recall_of_a_lease_still_to_come(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("wait_for_cancel").ready()
    first = container.call(str(tmp_path))
    wait_until((tmp_path / "started").exists)
    container.control.send(Recall(first + 1))
    container.control.send(CancelInput(first, 0))
    # Messages are read in order: once this one has shown its effect, the container has read the other as well.
    assert container.results(first)[0].kind is FailureKind.CANCELLED
    second = container.call(str(tmp_path))
    assert second == first + 1
    assert container.recv()[0] == Returned(second, 0)
    (tmp_path / "started").unlink()
    container.call(str(tmp_path))
    wait_until((tmp_path / "started").exists)


@pytest.mark.parametrize("name", ["wait_for_cancel", "async_wait"])
def test_a_recall_that_overtakes_its_lease_does_not_wait_for_what_runs(plane: Plane, tmp_path: Path, name: str) -> None:
    container = plane.start(name).ready()
    running, waiting = container.call(str(tmp_path)), container.call(str(tmp_path))
    wait_until((tmp_path / "started").exists)
    container.control.send(Recall(waiting + 1))
    container.control.send(CancelInput(waiting + 2, ANY_INPUT))
    container.control.send(Recall(waiting))
    # Messages are read in order: with this one the container has read the others.
    assert container.recv()[0] == Returned(waiting, 0)
    for _ in range(2):
        late = container.call(str(tmp_path))
        assert container.recv()[0] == Returned(late, 0)
    container.control.send(CancelInput(running, 0))
    assert container.results(running)[0].kind is FailureKind.CANCELLED


def test_recall_of_an_ended_lease_changes_nothing(plane: Plane) -> None:
    container = plane.start("same").ready()
    lease = container.lease([1])
    assert container.results(lease) == [1]
    container.control.send(Recall(lease))
    container.control.send(CancelInput(lease, 0))
    assert container.results(container.lease([2])) == [2]


@pytest.mark.parametrize("name", ["same", "slow_every_tenth", "async_same"])
def test_every_input_is_accounted_for_once_whenever_it_is_recalled(plane: Plane, name: str) -> None:
    container = plane.start(name).ready()
    chance = random.Random(20)
    for _ in range(150):
        count = chance.choice([1, 50, 300])
        lease = container.lease(list(range(count)))
        waiting = container.lease([7] * 3) if chance.random() < 0.3 else None
        pause = time.perf_counter() + chance.random() * 0.0015
        while time.perf_counter() < pause:
            pass
        container.control.send(Recall(waiting if waiting and chance.random() < 0.5 else lease))
        messages = _all_reports(container, {lease: count} | ({waiting: 3} if waiting else {}))
        assert messages[lease] == list(range(len(messages[lease])))
        if waiting is not None:
            assert messages[waiting] in ([7] * n for n in range(4))


def test_interruptions_at_any_moment_hit_only_their_input(plane: Plane) -> None:
    container = plane.start("slow_every_tenth").ready()
    chance = random.Random(30)
    for _ in range(100):
        lease = container.lease(list(range(100)))
        pause = time.perf_counter() + chance.random() * 0.01
        while time.perf_counter() < pause:
            pass
        index = chance.randrange(100)
        container.control.send(CancelInput(lease, index))
        results = container.results(lease)
        assert [r for i, r in enumerate(results) if i != index] == [i for i in range(100) if i != index]
        if results[index] != index:
            assert results[index].kind is FailureKind.CANCELLED


def test_cancelled_function_cleans_up_and_the_container_lives_on(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("wait_or_return").ready()
    lease = container.lease([str(tmp_path), None])
    wait_until((tmp_path / "started").exists)
    container.control.send(CancelInput(lease, 0))
    failure, value = container.results(lease)
    assert (failure.kind, value) == (FailureKind.CANCELLED, "quick")
    assert (tmp_path / "seen").read_text() == "InputCancellation finally"


def test_timeout_is_told_from_cancellation(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("wait_for_cancel").ready()
    lease = container.call(str(tmp_path))
    wait_until((tmp_path / "started").exists)
    container.control.send(CancelInput(lease, 0, timed_out=True))
    assert container.results(lease)[0].kind is FailureKind.TIMEOUT


def test_swallowed_cancellation_is_still_one(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("swallow_cancel").ready()
    lease = container.call(str(tmp_path))
    wait_until((tmp_path / "started").exists)
    container.control.send(CancelInput(lease, 0))
    assert container.results(lease)[0].kind is FailureKind.CANCELLED


def test_input_cancelled_before_its_turn_never_starts(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("wait_or_return").ready()
    never = tmp_path / "never"
    never.mkdir()
    lease = container.lease([None, str(tmp_path), str(never), None])
    wait_until((tmp_path / "started").exists)
    container.control.send(CancelInput(lease, 2))
    container.control.send(CancelInput(lease, 1))
    results = container.results(lease)
    assert (results[0], results[3]) == ("quick", "quick")
    assert [results[1].kind, results[2].kind] == [FailureKind.CANCELLED] * 2
    assert not (never / "started").exists()


def test_cancelling_any_input_gives_back_those_not_started(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("wait_or_return").ready()
    lease = container.lease([None, str(tmp_path), None, None])
    wait_until((tmp_path / "started").exists)
    container.control.send(CancelInput(lease, ANY_INPUT, timed_out=True))
    results = container.results(lease)
    assert len(results) == 2
    assert results[1].kind is FailureKind.TIMEOUT


def test_cancelling_any_input_of_a_lease_that_waits_gives_it_back(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("wait_or_return").ready()
    running = container.lease([str(tmp_path)])
    waiting = container.lease([None, None])
    wait_until((tmp_path / "started").exists)
    container.control.send(CancelInput(waiting, ANY_INPUT))
    assert container.recv()[0] == Returned(waiting, 0)
    container.control.send(CancelInput(running, ANY_INPUT))
    assert container.results(running)[0].kind is FailureKind.CANCELLED


@pytest.mark.parametrize("name", ["same", "async_same", "count_to"])
def test_stop_ends_an_idle_container(plane: Plane, name: str) -> None:
    container = plane.start(name, is_generator=name == "count_to").ready()
    assert container.stop() == 0
    assert container.output() == ("", "")


@pytest.mark.parametrize("name", ["wait_for_cancel", "async_wait"])
def test_stop_interrupts_what_runs_and_reports_nothing_of_it(plane: Plane, tmp_path: Path, name: str) -> None:
    container = plane.start(name).ready()
    container.call(str(tmp_path))
    wait_until((tmp_path / "started").exists)
    assert container.stop() == 0
    assert (tmp_path / "seen").exists()
    assert container.placed.data.recv(1) == b""
    assert container.output() == ("", "")


def test_stop_is_bounded_by_its_grace(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("swallow_for_ever").ready()
    container.call(str(tmp_path))
    wait_until((tmp_path / "started").exists)
    assert container.stop(grace=0.2) == 0


@pytest.mark.parametrize("name", ["same", "async_same"])
@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_end_an_idle_container(plane: Plane, name: str, signum: int, status: int) -> None:
    container = plane.start(name).ready()
    plane.kill(container, signum)
    assert container.recv() == (Leaving(), None)
    assert container.exit_status() == status
    assert container.output() == ("", "")


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_end_a_running_function(plane: Plane, tmp_path: Path, signum: int, status: int) -> None:
    container = plane.start("wait_for_cancel").ready()
    container.call(str(tmp_path))
    wait_until((tmp_path / "started").exists)
    plane.kill(container, signum)
    assert container.recv() == (Leaving(), None)
    assert container.exit_status() == status
    assert "finally" in (tmp_path / "seen").read_text()
    assert container.output() == ("", "")


@pytest.mark.parametrize("name", ["spin", "wait_for_cancel", "async_wait"])
def test_container_ends_with_its_plane_whatever_it_runs(plane: Plane, tmp_path: Path, name: str) -> None:
    container = plane.start(name).ready()
    container.call(str(tmp_path))
    wait_until((tmp_path / "started").exists)
    container.placed.control.shutdown(socket.SHUT_RDWR)
    assert container.exit_status() == 0


def test_idle_container_ends_with_its_plane(plane: Plane) -> None:
    container = plane.start("same").ready()
    container.placed.close()
    assert container.exit_status() == 0


def test_exit_functions_run_and_threads_are_waited_for(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("leave_work_for_the_end").ready()
    container.results(container.call(str(tmp_path)))
    assert container.stop() == 0
    assert (tmp_path / "atexit").exists()
    assert (tmp_path / "thread").exists()


def test_what_a_container_started_ends_with_it(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("spawn_child").ready()
    (pid,) = container.results(container.call(str(tmp_path)))
    assert psutil.pid_exists(pid)
    assert container.stop() == 0
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_stop_during_a_slow_import(plane: Plane, tmp_path: Path) -> None:
    (tmp_path / "imports_for_ever.py").write_text("import time\ntime.sleep(600)\ndef f(): ...\n")
    container = plane.start("f", module_name="imports_for_ever", sys_path=[str(tmp_path)])
    container.control.send(Stop(1.0))
    assert container.exit_status() == 0


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_during_a_slow_import(plane: Plane, tmp_path: Path, signum: int, status: int) -> None:
    started = tmp_path / "started"
    code = f"import pathlib, time\npathlib.Path({str(started)!r}).touch()\ntime.sleep(600)\n"
    (tmp_path / "imports_for_ever.py").write_text(code)
    container = plane.start("f", module_name="imports_for_ever", sys_path=[str(tmp_path)])
    wait_until(started.exists)
    plane.kill(container, signum)
    assert container.exit_status() == status


def _all_reports(container: object, counts: dict[int, int]) -> dict[int, list[object]]:
    """The values of several leases at once; checks that each input is reported in its place, or given back."""
    found: dict[int, list[object]] = {lease: [] for lease in counts}
    stops = dict(counts)
    while any(len(found[lease]) < stops[lease] for lease in stops):
        message, content = container.recv()  # type: ignore[attr-defined]
        values = found[message.lease_id]
        if isinstance(message, Outputs):
            assert message.start == len(values)
            values += content
        else:
            assert isinstance(message, Returned)
            assert len(values) <= message.start <= stops[message.lease_id]
            stops[message.lease_id] = message.start
        assert len(values) <= stops[message.lease_id]
    return found
