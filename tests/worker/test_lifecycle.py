"""The life of a class in a real container: entered, called, left, whatever ends it."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modal_lite._core.class_description import pack_parameters
from modal_lite._core.messages import CancelInput, FailureKind, StartFailed, Stop
from tests.worker.harness import Container, Plane, wait_until

ENTERS = ["enter sync, main thread: True", "enter async"]
EXITS = ["exit sync", "exit async, same loop: True"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def start(plane: Plane, name: str, log: Path) -> Container:
    parameters = pack_parameters((), {"path": str(log)})
    return plane.start(name, module_name="classes_to_run", parameters=parameters)


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_the_order_of_a_life(plane: Plane, log: Path) -> None:
    container = start(plane, "Life", log).ready()
    assert lines(log) == ENTERS
    [ticks] = container.results(container.call_method("sync"))
    assert ticks >= 1, "what an async hook has begun has had a turn"
    assert container.results(container.call_method("same_loop")) == [(True, "async")]
    assert container.stop() == 0
    assert lines(log) == [*ENTERS, "sync", *EXITS]
    assert container.output() == ("", "")


def test_what_runs_on_the_loop_goes_on_between_inputs(plane: Plane, log: Path) -> None:
    container = start(plane, "Life", log).ready()
    ticks = [container.results(container.call_method("sync"))[0]]

    def has_ticked() -> bool:
        ticks.append(container.results(container.call_method("sync"))[0])
        return bool(ticks[-1] > ticks[0] + 3)

    wait_until(has_ticked)


def test_a_failed_input_changes_nothing(plane: Plane, log: Path) -> None:
    container = start(plane, "Life", log).ready()
    [failure] = container.results(container.call_method("fail"))
    assert failure.message == "ValueError: failed"
    assert container.results(container.call_method("same_loop")) == [(True, "async")]
    assert container.stop() == 0
    assert lines(log) == [*ENTERS, *EXITS]


@pytest.mark.parametrize("method", ["sleep", "sleep_sync"])
def test_inputs_of_either_kind_are_interrupted(plane: Plane, log: Path, method: str) -> None:
    container = start(plane, "Life", log).ready()
    lease_id = container.call_method(method)
    wait_until(lambda: "sleeps" in lines(log))
    container.control.send(CancelInput(lease_id, 0))
    [failure] = container.results(lease_id)
    assert failure.kind is FailureKind.CANCELLED
    assert container.results(container.call_method("same_loop")) == [(True, "async")]


ENDS: dict[str, tuple[Callable[[Plane, Container], Any], int]] = {
    "stopped": (lambda plane, container: container.control.send(Stop(5.0)), 0),
    "SIGTERM": (lambda plane, container: plane.kill(container, signal.SIGTERM), 0),
    "SIGINT": (lambda plane, container: plane.kill(container, signal.SIGINT), 128 + signal.SIGINT),
}


@pytest.mark.parametrize("method", ["", "sleep", "sleep_sync"])
@pytest.mark.parametrize("how", sorted(ENDS))
def test_the_exits_run_whatever_ends_it(plane: Plane, log: Path, how: str, method: str) -> None:
    container = start(plane, "Life", log).ready()
    if method:
        container.call_method(method)
        wait_until(lambda: "sleeps" in lines(log))
    end, status = ENDS[how]
    end(plane, container)
    assert container.exit_status() == status
    assert lines(log)[-2:] == EXITS


def test_the_exits_run_after_keyboard_interrupt(plane: Plane, log: Path) -> None:
    container = start(plane, "Life", log).ready()
    container.call_method("interrupted")
    assert container.exit_status() == 128 + signal.SIGINT
    assert lines(log) == [*ENTERS, *EXITS]


def test_an_enter_that_fails(plane: Plane, log: Path) -> None:
    container = start(plane, "FailsToEnter", log)
    message, _ = container.recv()
    assert isinstance(message, StartFailed)
    assert message.failure.message == "LookupError: no such model"
    assert "in start" in message.failure.traceback
    assert container.exit_status() == 1
    assert lines(log) == []


@pytest.mark.parametrize("how", sorted(ENDS))
def test_an_interrupted_enter_skips_the_exits(plane: Plane, log: Path, how: str) -> None:
    container = start(plane, "EntersForLong", log)
    wait_until(lambda: lines(log))
    end, status = ENDS[how]
    end(plane, container)
    assert container.exit_status() == status
    assert lines(log) == ["entering"]


def test_exits_that_fail_or_do_not_end(plane: Plane, log: Path) -> None:
    container = start(plane, "ExitsBadly", log).ready()
    assert len(container.results(container.call_method("call"))) == 1
    assert container.stop(grace=1.0) == 0
    assert lines(log) == ["second exit"]
    _, stderr = container.output()
    assert "RuntimeError: first exit" in stderr
    assert "modal_lite/_worker" not in stderr


def test_a_constructor_that_fails(plane: Plane) -> None:
    container = plane.start("NoDefaultInit", module_name="classes_to_run", parameters=pack_parameters((-1,), {}))
    message, _ = container.recv()
    assert isinstance(message, StartFailed)
    assert message.failure.message == "ValueError: negative"


def test_parameters_arrive(plane: Plane) -> None:
    container = plane.start("NoDefaultInit", module_name="classes_to_run", parameters=pack_parameters((4,), {}))
    container.ready()
    assert container.results(container.call_method("call", 2)) == [(4, 2)]
