"""Calls that outlive the statement that made them: waiting, reading again, cancelling, gathering, finding by id."""

import asyncio
import builtins
import threading
from pathlib import Path
from typing import Any

import pytest

import modal_lite
from modal_lite.call_graph import InputStatus
from modal_lite.exception import (
    InputCancelledError,
    InvalidError,
    NotFoundError,
    RemoteError,
    SerializationError,
)
from tests.client.conftest import settled
from tests.client.functions import (
    CannotPickle,
    count_to,
    fail_if_multiple_of,
    gate,
    hang,
    memory,
    retried,
    same,
)
from tests.waiting import wait_until


@pytest.mark.parametrize("timeout", [0, 0.05, -1])
def test_not_ready_is_the_builtin_timeout_error(run: Any, tmp_path: Path, timeout: float) -> None:
    path = str(tmp_path / "gate")
    call = gate.spawn(path)
    # Without it the call would wait for the file.
    with pytest.raises(builtins.TimeoutError):
        call.get(timeout=timeout)
    Path(path).touch()
    assert call.get(timeout=20) == path
    assert call.get(timeout=0) == path


def test_many_waiters_of_one_call(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "gate")
    call = gate.spawn(path)
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(call.get(timeout=20))) for _ in range(10)]
    for thread in threads:
        thread.start()
    Path(path).touch()
    for thread in threads:
        thread.join(20)
    assert results == [path] * 10


@pytest.mark.parametrize("index", [1, -1, 100])
def test_an_index_that_does_not_exist(run: Any, index: int) -> None:
    call = same.spawn(1)
    assert call.get() == 1
    with pytest.raises(InvalidError, match=f"{call.object_id} has no input number {index}"):
        call.get(timeout=10, index=index)


def test_spawn_map_results_by_index_and_range(run: Any) -> None:
    call = same.spawn_map(range(500))
    assert call.num_inputs() == 500
    assert call.get(index=499) == 499
    assert list(call.iter()) == list(range(500))
    assert list(call.iter(start=490)) == list(range(490, 500))
    assert list(call.iter(start=3, end=5)) == [3, 4]
    assert list(call.iter(start=5, end=5)) == []
    assert list(call.iter()) == list(range(500)), "results can be read again and again"
    for start, end in [(-1, 3), (0, 501), (5, 4)]:
        with pytest.raises(ValueError, match=f"{start} to {end}, for a call of 500 inputs"):
            list(call.iter(start=start, end=end))
    with pytest.raises(InvalidError, match="no input number 500"):
        call.get(index=500)


def test_spawn_map_of_nothing(run: Any) -> None:
    call = same.spawn_map([])
    assert call.num_inputs() == 0
    assert list(call.iter()) == []
    with pytest.raises(InvalidError, match="no input number 0"):
        call.get(timeout=5)


def test_spawn_map_with_an_input_that_does_not_pickle(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "hang")
    with pytest.raises(SerializationError):
        hang.spawn_map([path, path, *range(5), CannotPickle()])
    settled(hang)


def test_iter_stops_at_the_failure(run: Any) -> None:
    call = fail_if_multiple_of.spawn_map(range(1, 20))
    results: list[int] = []
    with pytest.raises(ValueError, match="bad 7"):
        results.extend(call.iter())
    assert results == [1, 2, 3, 4, 5, 6]
    assert call.get(index=18) == 19
    for _ in range(2):
        with pytest.raises(ValueError, match="bad 14"):
            call.get(index=13)


def test_a_failure_read_twice_is_raised_twice_the_same(run: Any) -> None:
    call = fail_if_multiple_of.spawn(7)
    texts = []
    for _ in range(2):
        with pytest.raises(ValueError) as caught:
            call.get()
        texts.append([entry.name for entry in caught.traceback])
    assert texts[0] == texts[1]
    assert texts[0][-1] == "fail_if_multiple_of"


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_each_reading_gives_memory_of_its_own(run: Any, size: int) -> None:
    call = memory.spawn(size)
    first = call.get()
    first.view[:] = b"x" * size
    assert not any(call.get().view[:100])
    (gathered,) = modal_lite.gather(call)
    gathered.view[:] = b"x" * size
    (iterated,) = call.iter()
    assert not any(iterated.view[:100])


def test_cancel_is_idempotent_and_does_nothing_to_a_finished_call(run: Any, tmp_path: Path) -> None:
    call = same.spawn(1)
    assert call.get() == 1
    call.cancel()
    call.cancel(terminate_containers=True)
    assert call.get() == 1

    path = str(tmp_path / "hang")
    running = hang.spawn(path)
    wait_until(Path(path + ".started").exists)
    for _ in range(3):
        running.cancel()
    with pytest.raises(InputCancelledError, match="was cancelled"):
        running.get(timeout=10)
    assert issubclass(InputCancelledError, RemoteError)
    assert [node.status for node in running.get_call_graph()] == [InputStatus.TERMINATED]
    wait_until(Path(path + ".ended").exists)


def test_cancelling_what_waits_for_a_container(run: Any, tmp_path: Path) -> None:
    one = hang.with_options(max_containers=1)
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    running, pending = one.spawn(first), one.spawn(second)
    wait_until(Path(first + ".started").exists)
    pending.cancel()
    with pytest.raises(InputCancelledError):
        pending.get(timeout=10)
    running.cancel()
    settled(one)
    assert not Path(second + ".started").exists()


def test_cancelling_what_waits_for_its_next_attempt(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "attempts"
    call = retried.spawn(str(path))
    wait_until(path.exists)
    settled(retried)
    call.cancel()
    with pytest.raises(InputCancelledError):
        call.get(timeout=5)
    assert path.read_text() == "x"


def test_cancel_can_end_the_container(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "hang")
    one = hang.with_options(max_containers=1)
    call = one.spawn(path)
    wait_until(Path(path + ".started").exists)
    call.cancel(terminate_containers=True)
    with pytest.raises(InputCancelledError):
        call.get(timeout=10)
    wait_until(lambda: one.get_current_stats().num_total_runners == 0, "the end of the container")


def test_gather_raises_the_first_failure_at_once_and_the_others_go_on(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "gate")
    waiting, failing = gate.spawn(path), fail_if_multiple_of.spawn(7)
    with pytest.raises(ValueError, match="bad 7"):
        modal_lite.gather(waiting, failing, waiting)
    with pytest.raises(builtins.TimeoutError):
        waiting.get(timeout=0)
    Path(path).touch()
    assert waiting.get(timeout=20) == path


def test_gather_keeps_the_order_and_takes_a_call_twice(run: Any) -> None:
    calls = [same.spawn(i) for i in range(50)]
    assert modal_lite.gather(*reversed(calls), calls[3]) == [*reversed(range(50)), 3]
    assert modal_lite.gather() == []
    assert modal_lite.FunctionCall.gather is modal_lite.gather


def test_unknown_ids(run: Any) -> None:
    for bad in ("", "fu-123", "nonsense", "in-123-0"):
        with pytest.raises(InvalidError, match="is not the id of a function call"):
            modal_lite.FunctionCall.from_id(bad)
    unknown: Any = modal_lite.FunctionCall.from_id("fc-0000")
    for use in (unknown.get, unknown.cancel, unknown.num_inputs, unknown.get_call_graph, lambda: list(unknown.iter())):
        with pytest.raises(NotFoundError, match="There is no function call fc-0000 here"):
            use()


def test_from_id_and_equality_of_what_it_gives(run: Any) -> None:
    call = same.spawn({"a": 1})
    again: Any = modal_lite.FunctionCall.from_id(call.object_id)
    assert again.get() == {"a": 1}
    assert again.object_id == call.object_id
    assert repr(again) == f"<FunctionCall {call.object_id}>"


def test_a_spawned_generator_runs_and_gives_nothing(run: Any) -> None:
    assert count_to.spawn(100_000) is None
    settled(count_to)


async def test_aio_get_with_a_timeout_of_the_callers(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "gate")
    call = await gate.spawn.aio(path)
    with pytest.raises(builtins.TimeoutError):
        async with asyncio.timeout(0.05):
            await call.get.aio()
    Path(path).touch()
    assert await call.get.aio() == path
