"""Large arguments and results, which locally travel in shared memory: the same as small ones in all but speed."""

import os
import pickle
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import modal_lite
from tests.client.conftest import settled

MIB = 1 << 20
app = modal_lite.App("large")


class Array:
    """What a numpy array is to the pickler."""

    def __init__(self, data: Any) -> None:
        self.data = memoryview(data)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Array, (pickle.PickleBuffer(self.data),)


@app.function(max_containers=2)
def same(value: Any) -> Any:
    return value


@app.function(max_containers=2)
def first_and_size(value: Any) -> tuple[int, int]:
    data = getattr(value, "data", value)
    return data[0], len(data)


@app.function(max_containers=2, retries=2)
def scribble_and_die_once(array: Array, folder: str) -> tuple[int, int]:
    before = array.data[0]
    array.data[:] = bytes(len(array.data))
    try:
        os.close(os.open(os.path.join(folder, str(before)), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return before, len(array.data)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@app.function()
def yields(count: int, size: int) -> Iterator[Array]:
    for i in range(count):
        yield Array(bytearray([i]) * size)


@app.function()
def maps(count: int, size: int) -> list[tuple[int, int]]:
    return list(first_and_size.map(Array(bytearray([i]) * size) for i in range(count)))


@app.function()
def in_a_fork(value: bytes) -> bytes:
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    return value


@pytest.fixture(scope="module", autouse=True)
def run() -> Iterator[None]:
    with app.run():
        yield


def arrays(count: int, size: int) -> Iterator[Array]:
    """One array after the other in the same memory."""
    data = bytearray(size)
    for i in range(count):
        data[0] = data[-1] = i
        yield Array(data)


@pytest.mark.parametrize("size", [70_000, MIB, 3 * MIB + 5])
def test_results_are_their_own_and_writable(size: int) -> None:
    found = list(same.map(arrays(40, size)))
    assert [(array.data[0], array.data[-1], len(array.data)) for array in found] == [(i, i, size) for i in range(40)]
    for array in found:
        array.data[0] = 255
    assert [array.data[-1] for array in found] == list(range(40))


def test_bytes() -> None:
    items = [bytes([i]) * (MIB + i) for i in range(60)]
    assert list(same.map(items)) == items
    assert sorted(same.map(items, order_outputs=False)) == items


@pytest.mark.parametrize("size", [21 * MIB, 100 * MIB])
def test_what_is_too_large_for_the_memory(size: int) -> None:
    assert list(first_and_size.map(arrays(2, size))) == [(0, size), (1, size)]
    result = same.remote(bytes(size))
    assert len(result) == size


def test_a_function_that_spoils_its_argument_gets_it_anew_when_it_is_retried(tmp_path: Any) -> None:
    found = scribble_and_die_once.map(arrays(6, 2 * MIB), kwargs={"folder": str(tmp_path)})
    assert list(found) == [(i, 2 * MIB) for i in range(6)]


def test_generators() -> None:
    kept = list(yields.remote_gen(30, 4 * MIB))
    assert [(array.data[0], array.data[-1]) for array in kept] == [(i, i) for i in range(30)]


def test_spawned_calls_keep_their_results() -> None:
    calls = [same.spawn(array) for array in arrays(30, 4 * MIB)]
    for _ in range(2):
        for i, call in enumerate(calls):
            array = call.get()
            assert (array.data[0], array.data[-1]) == (i, i)
            array.data[0] = 99


def test_calls_from_containers() -> None:
    assert maps.remote(10, 3 * MIB) == [(i, 3 * MIB) for i in range(10)]


def test_a_cancelled_map_leaves_nothing_behind() -> None:
    for _ in range(3):
        found = iter(same.map(arrays(30, 4 * MIB)))
        assert next(found).data[0] == 0
        found.close()
    settled(same)
    assert [array.data[0] for array in same.map(arrays(20, 4 * MIB))] == list(range(20))


def test_a_container_that_forks() -> None:
    items = [bytes([i]) * MIB for i in range(20)]
    assert list(in_a_fork.map(items)) == items


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_caller_that_forks() -> None:
    found = []
    for array in same.map(arrays(20, 2 * MIB)):
        if (pid := os.fork()) == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        found.append(array.data[-1])
    assert found == list(range(20))
