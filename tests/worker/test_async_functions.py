"""Coroutine functions: one loop for the container's life."""

from pathlib import Path

import pytest

from modal_lite._core.ids import input_id
from modal_lite._core.messages import CancelInput, FailureKind
from tests.worker.harness import CALL_ID, Plane, wait_until


def test_values_come_in_order(plane: Plane) -> None:
    container = plane.start("async_same").ready()
    for count in (1, 300):
        assert container.results(container.lease(list(range(count)))) == list(range(count))
    leases = [container.lease([n] * 3) for n in range(10)]
    assert [container.results(lease) for lease in leases] == [[n] * 3 for n in range(10)]


def test_plain_function_around_a_coroutine_function(plane: Plane) -> None:
    container = plane.start("wrapped_async").ready()
    assert container.results(container.call(4)) == [4]


def test_failures(plane: Plane) -> None:
    container = plane.start("async_fail").ready()
    first, second = container.results(container.lease(["exit", "value"]))
    assert (first.kind, first.type_name) == (FailureKind.USER, "SystemExit")
    assert (second.kind, second.type_name) == (FailureKind.USER, "ValueError")
    assert "async_executor" not in second.traceback


@pytest.mark.parametrize("timed_out", [True, False])
def test_cancellation_is_asyncios_own(plane: Plane, tmp_path: Path, timed_out: bool) -> None:
    container = plane.start("async_wait").ready()
    lease = container.call(str(tmp_path))
    wait_until((tmp_path / "started").exists)
    container.control.send(CancelInput(lease, 0, timed_out))
    (failure,) = container.results(lease)
    assert failure.kind is (FailureKind.TIMEOUT if timed_out else FailureKind.CANCELLED)
    assert (tmp_path / "seen").read_text() == "CancelledError"
    (tmp_path / "started").unlink()
    lease = container.call(str(tmp_path))
    wait_until((tmp_path / "started").exists)


def test_what_a_function_leaves_running_goes_on_between_inputs(plane: Plane) -> None:
    container = plane.start("async_background").ready()
    container.results(container.call(0))
    wait_until(lambda: container.results(container.call(1))[0] > 5)
    assert container.stop() == 0
    assert container.output() == ("", "")


def test_each_input_knows_its_id(plane: Plane) -> None:
    container = plane.start("async_input_id").ready()
    assert container.results(container.lease([None] * 3)) == [input_id(CALL_ID, i) for i in range(3)]
