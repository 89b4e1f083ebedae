"""Containers from memory snapshots: what runs once, what in each, and what becomes of failures."""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from modal_lite._core.class_description import pack_parameters
from modal_lite._core.failures import Failure
from modal_lite._core.messages import FailureKind, StartFailed
from modal_lite._placement import snapshot_process
from tests.worker.harness import Container, Plane, wait_until
from tests.worker.harness import plane as open_plane

EARLY = ["early sync in None", "early async"]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def plane(plane: Plane) -> Any:
    """Forgets the snapshots of the test, too."""
    try:
        yield plane
    finally:
        plane.end_containers()
        plane.forget("fu-1")


def start(plane: Plane, name: str, log: Path, **fields: Any) -> Container:
    parameters = pack_parameters((), {"path": str(log)})
    given: dict[str, Any] = {"module_name": "snapshots_to_run", "parameters": parameters, "snapshot": True}
    return plane.start(name, **(given | fields))


def call(container: Container, method: str, *args: Any) -> Any:
    (result,) = container.results(container.call_method(method, *args))
    return result


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def go(log: Path) -> None:
    Path(f"{log}.go").touch()


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_early_hooks_run_once_and_the_others_in_each_container(plane: Plane, log: Path) -> None:
    containers = [start(plane, "Life", log, own_env={"MODAL_TASK_ID": f"ta-{n}"}).ready() for n in range(3)]
    entered = [line for n in range(3) for line in (f"enter sync in ta-{n}", "enter async, same loop: False")]
    assert lines(log) == [*EARLY, *entered]
    pids = [call(container, "pids") for container in containers]
    (snapshot,) = {parent for _, parent, _ in pids}
    assert {early for early, _, _ in pids} == {snapshot}
    assert [pid for _, _, pid in pids] == [container.placed.pid for container in containers]
    assert psutil.Process(snapshot).ppid() == plane.placer.template_pid
    assert all(call(container, "same_loop") for container in containers)
    assert [container.stop() for container in containers] == [0, 0, 0]
    plane.forget("fu-1")
    wait_until(lambda: not running(snapshot))
    assert lines(log) == [*EARLY, *entered, *["exit"] * 3]


def test_without_a_snapshot_the_same_hooks_run_first(plane: Plane, log: Path) -> None:
    container = start(plane, "Life", log, snapshot=False, own_env={"MODAL_TASK_ID": "ta-9"}).ready()
    assert lines(log) == [
        "early sync in ta-9",
        "early async",
        "enter sync in ta-9",
        "enter async, same loop: True",
    ]
    assert call(container, "pids")[1] == plane.placer.template_pid
    assert container.stop() == 0


def test_a_function_is_imported_once(plane: Plane, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"parameters": None, "env": {"SNAPSHOT_TEST_FOLDER": str(tmp_path)}}
    containers = [start(plane, "ids", tmp_path, **fields).ready() for _ in range(3)]
    pids = [container.results(container.call(1))[0] for container in containers]
    assert len(set(pids)) == 3
    assert len({parent for _, parent in pids}) == 1
    assert lines(tmp_path / "imports") == ["imported"]


def test_each_function_has_a_snapshot_of_its_own(plane: Plane, log: Path) -> None:
    first, second = start(plane, "Life", log).ready(), start(plane, "Life", log, function_id="fu-2").ready()
    assert call(first, "pids")[1] != call(second, "pids")[1]
    plane.forget("fu-2")
    assert second.exit_status() in (-signal.SIGKILL, None)
    assert call(first, "pids")


def test_output(plane: Plane, log: Path) -> None:
    first, second = start(plane, "Life", log).ready(), start(plane, "Life", log).ready()
    for container, text in ((first, "one"), (second, "two")):
        call(container, "say", text)
        assert container.stop() == 0
    assert first.output() == ("early output\none\n", "early error\n")
    assert second.output() == ("two\n", "")


def test_variables(plane: Plane, log: Path) -> None:
    env = {"SHARED": "a", "SET_BY_HOOK": "b"}
    containers = [start(plane, "Life", log, env=env, own_env={"CUDA_VISIBLE_DEVICES": n}).ready() for n in "01"]
    assert [call(container, "variable", "CUDA_VISIBLE_DEVICES") for container in containers] == ["0", "1"]
    assert [call(container, "variable", "SHARED") for container in containers] == ["a", "a"]
    assert [call(container, "variable", "SET_BY_HOOK") for container in containers] == ["hook", "hook"]


def test_chance_differs_and_pools_of_threads_that_know_of_forks_are_no_obstacle(plane: Plane, log: Path) -> None:
    containers = [start(plane, "Chance", log).ready() for _ in range(3)]
    drawn = [call(container, "draw") for container in containers]
    assert len({own for own, _ in drawn}) == 3
    assert len({numpys for _, numpys in drawn}) == 3
    assert [call(container, "compute") for container in containers] == [300.0 * 300 * 300] * 3
    assert len({psutil.Process(container.placed.pid).ppid() for container in containers} - {plane.placer.template_pid})


@linux_only
def test_memory_is_shared(plane: Plane, log: Path) -> None:
    containers = [start(plane, "Large", log).ready() for _ in range(4)]
    for container in containers:
        all_of_it, own = call(container, "memory")
        assert all_of_it > 100
        assert own < 30


# --- failures --------------------------------------------------------------------------------------------------------


def failure_of(container: Container) -> Failure:
    message, packed = container.recv()
    assert isinstance(message, StartFailed), message
    assert isinstance(packed[0][0], LookupError)
    assert container.exit_status() == 1
    return message.failure


def test_an_exception_reaches_all_that_wait_and_the_next_one_tries_again(plane: Plane, log: Path) -> None:
    containers = [start(plane, "Fails", log) for _ in range(3)]
    go(log)
    for container in containers:
        failure = failure_of(container)
        assert (failure.kind, failure.message) == (FailureKind.INIT, "LookupError: no such model")
        assert 'raise LookupError("no such model")' in failure.traceback
    assert lines(log) == ["tried"]
    failure_of(start(plane, "Fails", log))
    assert lines(log) == ["tried", "tried"]


def test_killed_while_it_is_made(plane: Plane, log: Path) -> None:
    first, second = start(plane, "Gate", log), start(plane, "Gate", log)
    wait_until(lambda: lines(log))
    os.kill(int(lines(log)[0]), signal.SIGKILL)
    assert first.exit_status() == -signal.SIGKILL
    go(log)
    second.ready()
    assert call(second, "parent") == int(lines(log)[1])


def test_the_container_it_is_made_for_is_killed(plane: Plane, log: Path) -> None:
    first, second = start(plane, "Gate", log), start(plane, "Gate", log)
    wait_until(lambda: lines(log))
    plane.kill(first, signal.SIGKILL)
    assert first.exit_status() == -signal.SIGKILL
    go(log)
    second.ready()
    assert call(second, "parent") == int(lines(log)[1])
    assert not running(int(lines(log)[0]))


def test_containers_that_wait_are_withdrawn(plane: Plane, log: Path) -> None:
    first, second = start(plane, "Gate", log), start(plane, "Gate", log)
    wait_until(lambda: lines(log))
    assert plane.withdraw(second)
    assert second.exit_status() is None
    assert plane.withdraw(first)
    assert first.exit_status() == -signal.SIGKILL
    assert not running(int(lines(log)[0]))
    go(log)
    third = start(plane, "Gate", log).ready()
    assert not plane.withdraw(third)
    assert call(third, "parent") == int(lines(log)[1])


@linux_only
def test_killed_snapshot_takes_its_containers_along_and_is_replaced(plane: Plane, log: Path) -> None:
    containers = [start(plane, "Life", log).ready() for _ in range(2)]
    snapshot = call(containers[0], "pids")[1]
    os.kill(snapshot, signal.SIGKILL)
    for container in containers:
        assert container.exit_status() is None
        assert container.reason == "the snapshot process of its function ended with status -9"
        wait_until(lambda pid=container.placed.pid: not running(pid))
    assert call(start(plane, "Life", log).ready(), "pids")[1] != snapshot


@pytest.mark.parametrize(
    ("name", "obstacle"),
    [("Threads", "1 thread is alive: 'poller'"), ("Gpu", "it uses a GPU (CUDA is initialised)")],
)
def test_what_cannot_be_forked_is_not(
    plane: Plane, log: Path, caplog: pytest.LogCaptureFixture, name: str, obstacle: str
) -> None:
    with caplog.at_level(logging.WARNING, "modal_lite.snapshots"):
        containers = [start(plane, name, log).ready() for _ in range(2)]
    assert lines(log) == ["early"] * 3, "once in vain"
    for container in containers:
        assert psutil.Process(container.placed.pid).ppid() == plane.placer.template_pid
    (record,) = caplog.records
    assert record.getMessage() == (
        f"enable_memory_snapshot=True has no effect on {name}: after its import and its @modal_lite.enter(snap=True) "
        f"hooks {obstacle}; such a process cannot be forked safely. Each container imports and enters by itself. Start "
        "threads and use GPUs in a hook with plain @modal_lite.enter(), or in the function."
    )


# --- ends ------------------------------------------------------------------------------------------------------------


def test_a_snapshot_that_nobody_uses_ends(plane: Plane, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_process, "UNUSED_LIFE", 0.01)
    container = start(plane, "Life", log).ready()
    snapshot = call(container, "pids")[1]
    assert container.stop() == 0
    wait_until(lambda: not running(snapshot))
    assert call(start(plane, "Life", log).ready(), "pids")[1] != snapshot


@pytest.mark.parametrize("taken", [True, False])
def test_closing_leaves_nothing(log: Path, taken: bool) -> None:
    before = psutil.Process().num_fds()
    with open_plane() as own:
        if taken:
            go(log)
        container = start(own, "Gate", log)
        if taken:
            container.ready()
        wait_until(lambda: lines(log))
        template, snapshot = own.placer.template_pid, int(lines(log)[0])
        own.close_placer()
        container.exit_status()
        assert not running(snapshot)
        assert template is not None
        assert not running(template)
    assert psutil.Process().num_fds() <= before


def test_exits_run_when_the_placer_closes(log: Path) -> None:
    with open_plane() as own:
        containers = [start(own, "Life", log).ready() for _ in range(2)]
        own.close_placer()
        assert [container.exit_status() for container in containers] == [0, 0]
        assert lines(log)[-2:] == ["exit", "exit"]


def test_killed_template_takes_the_snapshot_along(log: Path) -> None:
    with open_plane() as own:
        container = start(own, "Life", log).ready()
        snapshot = call(container, "pids")[1]
        template = own.placer.template_pid
        assert template is not None
        os.kill(template, signal.SIGKILL)
        assert container.exit_status() is None
        wait_until(lambda: not running(snapshot))
        assert call(start(own, "Life", log).ready(), "pids")[1] != snapshot
