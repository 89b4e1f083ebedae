"""Generator functions: values as they are made, and no more of them than the consumer can take."""

from pathlib import Path

import pytest

from modal_lite._core.messages import CancelInput, FailureKind, GeneratorCredit, GeneratorDone, InputFailed, Yielded
from modal_lite._worker.generator_stream import MAX_AHEAD, MAX_BYTES_AHEAD
from tests.worker.harness import Plane, wait_until

KINDS = ["count_to", "async_count_to"]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_values_and_their_number(plane: Plane, name: str, count: int) -> None:
    container = plane.start(name, is_generator=True).ready()
    for _ in range(2):
        lease = container.call(count)
        values, end = container.values(lease)
        assert values == list(range(count))
        assert isinstance(end, GeneratorDone)


def test_fast_values_travel_together(plane: Plane) -> None:
    container = plane.start("count_to", is_generator=True).ready()
    container.call(1000)
    messages = 0
    while isinstance(container.recv()[0], Yielded):
        messages += 1
    assert messages < 200


def test_no_value_waits_for_the_next_one(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("yield_and_wait", is_generator=True).ready()
    lease = container.call(str(tmp_path))
    assert container.recv()[1] == [1]
    wait_until((tmp_path / "started").exists)
    container.control.send(CancelInput(lease, 0))
    _, end = container.values(lease)
    assert end.failure.kind is FailureKind.CANCELLED
    assert (tmp_path / "closed").exists()
    assert "InputCancellation" in (tmp_path / "seen").read_text()


@pytest.mark.parametrize("name", KINDS)
def test_generator_does_not_run_ahead_of_its_consumer(plane: Plane, name: str) -> None:
    container = plane.start(name, is_generator=True).ready()
    total = MAX_AHEAD * 3
    lease = container.call(total)
    taken: list[int] = []
    granted = 0
    while True:
        message, values = container.recv()
        if isinstance(message, GeneratorDone):
            break
        taken += values
        assert len(taken) <= granted + MAX_AHEAD
        if len(taken) == granted + MAX_AHEAD:
            granted += MAX_AHEAD // 2
            container.control.send(GeneratorCredit(lease, granted))
    assert taken == list(range(total))


def test_large_values_are_counted_by_their_size(plane: Plane) -> None:
    container = plane.start("yield_large", is_generator=True).ready()
    lease = container.call(6)
    received = 0
    while received < MAX_BYTES_AHEAD:
        received += sum(len(value) for value in container.recv()[1])
    assert received == MAX_BYTES_AHEAD
    container.placed.data.settimeout(0.1)
    with pytest.raises(Exception, match="timed out"):
        container.recv()
    container.placed.data.settimeout(10)
    for consumed in (2, 4):
        container.control.send(GeneratorCredit(lease, consumed))
        assert len([*container.recv()[1], *container.recv()[1]]) == 2
    container.control.send(GeneratorCredit(lease, 6))
    assert isinstance(container.recv()[0], GeneratorDone)


@pytest.mark.parametrize("name", KINDS)
def test_cancelled_while_it_waits_for_its_consumer(plane: Plane, name: str) -> None:
    container = plane.start(name, is_generator=True).ready()
    lease = container.call(MAX_AHEAD * 2)
    received = 0
    while received < MAX_AHEAD:
        received += container.recv()[0].count
    container.control.send(CancelInput(lease, 0, timed_out=True))
    message, _ = container.recv()
    assert isinstance(message, InputFailed)
    assert message.failure.kind is FailureKind.TIMEOUT
    values, _ = container.values(container.call(3))
    assert values == [0, 1, 2]


def test_async_generator_is_cancelled_in_its_await(plane: Plane, tmp_path: Path) -> None:
    container = plane.start("async_yield_and_wait", is_generator=True).ready()
    lease = container.call(str(tmp_path))
    wait_until((tmp_path / "started").exists)
    container.control.send(CancelInput(lease, 0))
    values, end = container.values(lease)
    assert values == [1]
    assert end.failure.kind is FailureKind.CANCELLED
    assert (tmp_path / "closed").exists()


def test_values_before_a_failure_come_first(plane: Plane) -> None:
    container = plane.start("count_then_fail", is_generator=True).ready()
    values, end = container.values(container.call(5))
    assert values == list(range(5))
    assert end.failure.message == "ValueError: after the last"


def test_each_value_is_what_it_was_when_it_was_yielded(plane: Plane) -> None:
    container = plane.start("yield_same_list", is_generator=True).ready()
    values, _ = container.values(container.call(4))
    assert values == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_value_that_cannot_be_pickled(plane: Plane) -> None:
    container = plane.start("yield_lock", is_generator=True).ready()
    values, end = container.values(container.call(None))
    assert values == [1]
    assert end.failure.kind is FailureKind.SERIALIZATION
    assert "of type _thread.lock" in end.failure.message


def test_function_that_returns_no_generator(plane: Plane) -> None:
    container = plane.start("same", is_generator=True).ready()
    _, end = container.values(container.call(5))
    assert end.failure.kind is FailureKind.INVALID
    assert "'int'" in end.failure.message
