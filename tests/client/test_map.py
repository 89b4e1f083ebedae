"""The map pipeline: order, many at once, nesting, leaving early, failures among results, memory."""

import asyncio
import itertools
import random
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from modal_lite.exception import ExecutionError, InvalidError, SerializationError, UserCodeException
from tests.client.conftest import settled
from tests.client.functions import (
    add,
    count_to,
    fail_if_multiple_of,
    hang_generator,
    hang_unless_zero,
    jitter,
    memory,
    odd_results,
    same,
    sum_of_map,
    yield_then_fail,
)
from tests.waiting import wait_until


@pytest.mark.parametrize("seed", [1, 2])
def test_order_whatever_the_durations(run: Any, seed: int) -> None:
    inputs = random.Random(seed).sample(range(10_000), 300)
    assert list(jitter.map(inputs)) == inputs
    assert sorted(jitter.map(inputs, order_outputs=False)) == sorted(inputs)


async def test_many_maps_at_once(run: Any) -> None:
    async def one(i: int) -> list[int]:
        return [x async for x in same.map.aio(range(i, i + 200))]

    results = await asyncio.gather(*[one(i) for i in range(20)])
    assert results == [list(range(i, i + 200)) for i in range(20)]


def test_many_maps_of_one_thread_side_by_side(run: Any) -> None:
    maps = [same.map(itertools.count(i)) for i in range(10)]
    for n in range(300):
        assert [next(results) for results in maps] == [n + i for i in range(10)]
    for results in maps:
        results.close()
    settled(same)


def test_maps_inside_functions_that_are_mapped(run: Any) -> None:
    assert list(sum_of_map.map([10, 100, 1000])) == [45, 4950, 499500]


def test_a_map_over_a_map_over_a_map(run: Any) -> None:
    assert list(same.map(add.map(same.map(range(500)), kwargs={"y": 1}))) == list(range(1, 501))


def test_a_map_over_the_values_of_a_generator_function(run: Any) -> None:
    assert list(same.map(count_to.remote_gen(3000))) == list(range(3000))
    with pytest.raises(LookupError, match="after the values"):
        list(same.map(yield_then_fail.remote_gen(10)))


@pytest.mark.parametrize("leave", ["close", "break", "raise", "forget"])
def test_leaving_early_cancels_what_is_in_flight(run: Any, tmp_path: Path, leave: str) -> None:
    path = str(tmp_path / "hang")

    def body() -> None:
        results = hang_unless_zero.map([0, 1, 2, 3], kwargs={"path": path})
        for x in results:
            assert x == 0
            wait_until(Path(path + ".started").exists)
            if leave == "break":
                break
            if leave == "raise":
                raise KeyError("on the way out")
            if leave == "forget":
                return
            results.close()
            results.close()

    try:
        body()
    except KeyError as error:
        # The frames of the traceback hold the iterator for as long as the exception lives.
        error.__traceback__ = None
    wait_until(Path(path + ".ended").exists, "the interruption")
    settled(hang_unless_zero)


def test_an_exception_in_the_middle(run: Any) -> None:
    results: list[int] = []
    with pytest.raises(ValueError, match="bad 700"):
        results.extend(fail_if_multiple_of.map(itertools.count(1), kwargs={"n": 700}))
    assert results == list(range(1, 700))
    settled(fail_if_multiple_of)


def test_failures_take_their_places(run: Any) -> None:
    results = list(fail_if_multiple_of.map(range(1, 2001), return_exceptions=True))
    for i, result in enumerate(results, 1):
        if i % 7:
            assert result == i
        else:
            assert repr(result) == f"UserCodeException(ValueError('bad {i}'))"
    bare = list(fail_if_multiple_of.map([7, 8], return_exceptions=True, wrap_returned_exceptions=False))
    assert type(bare[0]) is ValueError and bare[1] == 8


@pytest.mark.parametrize("ordered", [True, False])
def test_results_that_do_not_pickle_or_unpickle_among_good_ones(run: Any, ordered: bool) -> None:
    results = list(odd_results.map(range(2000), return_exceptions=True, order_outputs=ordered))
    kinds = {kind: sum(type(r) is kind for r in results) for kind in (int, SerializationError, ExecutionError)}
    assert kinds == {int: 1960, SerializationError: 20, ExecutionError: 20}
    if ordered:
        for i, result in enumerate(results):
            expected = {50: SerializationError, 51: ExecutionError}.get(i % 100, int)
            assert type(result) is expected, i
            assert expected is not int or result == i
    assert not [r for r in results if isinstance(r, UserCodeException)]


def test_a_result_that_does_not_unpickle_is_raised_in_its_turn(run: Any) -> None:
    results: list[int] = []
    with pytest.raises(SerializationError):
        results.extend(odd_results.map(range(300)))
    assert results == list(range(50))
    with pytest.raises(ExecutionError, match="made not to be unpickled here"):
        list(odd_results.map([51]))


def test_zip_kwargs_and_starmap(run: Any) -> None:
    assert list(add.map(range(100), range(50), kwargs={"z": 1})) == [2 * i + 1 for i in range(50)]
    assert list(add.starmap([(1, 2)] * 500, {"z": 3}, False)) == [6] * 500


def test_misuse_is_said_at_once(run: Any) -> None:
    with pytest.raises(TypeError, match=r"same\.map\(\) needs at least one iterable"):
        same.map()
    with pytest.raises(TypeError, match=r"same\.map\(\) takes iterables of inputs, not 'int': 5"):
        same.map(5)
    with pytest.raises(TypeError, match=r"same\.spawn_map\(\)"):
        same.spawn_map(5)
    with pytest.raises(InvalidError, match=r"count_to is a generator function"):
        list(count_to.map([1]))
    with pytest.raises(TypeError):
        same.map([1], kwargs=5)


def test_maps_in_threads_that_are_left_early(run: Any) -> None:
    problems: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                for i, x in enumerate(same.map(itertools.count())):
                    assert i == x
                    if i == 100:
                        break
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert problems == []
    settled(same)


def test_memory_is_flat_in_the_number_of_inputs(run: Any) -> None:
    process = psutil.Process()
    total = 0
    before = 0
    for i, x in enumerate(same.map(iter(range(300_000)))):
        total += x
        if i == 20_000:
            before = process.memory_info().rss
    assert total == 300_000 * 299_999 // 2
    assert process.memory_info().rss - before < 40 << 20


def test_a_generator_that_is_left_early_is_interrupted(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "generator")
    for x in hang_generator.remote_gen(10, path):
        if x == 5:
            break
    wait_until(Path(path + ".ended").exists, "the interruption of the generator")
    settled(hang_generator)


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_large_results_of_one_chunk_do_not_share_memory(run: Any, size: int) -> None:
    first, second = memory.map([size, size])
    first.view[:] = b"x" * size
    assert not any(second.view[:100])


async def test_an_async_loop_that_is_left_early_cancels_what_is_in_flight(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "hang")
    async for x in hang_unless_zero.map.aio([0, 1, 2, 3], kwargs={"path": path}):
        assert x == 0
        await asyncio.to_thread(wait_until, Path(path + ".started").exists)
        break
    await asyncio.to_thread(wait_until, Path(path + ".ended").exists, "the interruption")
    await asyncio.to_thread(settled, hang_unless_zero)


@pytest.mark.parametrize("method", ["map", "remote_gen", "remote"])
async def test_tracebacks_of_the_aio_forms_show_the_users_frames_only(run: Any, method: str) -> None:
    async def caller() -> None:
        match method:
            case "map":
                async for _ in fail_if_multiple_of.map.aio([7]):
                    pass
            case "remote_gen":
                async for _ in yield_then_fail.remote_gen.aio(3):
                    pass
            case "remote":
                await fail_if_multiple_of.remote.aio(7)

    with pytest.raises((ValueError, LookupError)) as caught:
        await caller()
    names = [entry.name for entry in caught.traceback]
    remote = "yield_then_fail" if method == "remote_gen" else "fail_if_multiple_of"
    assert names[-2:] == ["caller", remote]
    assert not [entry for entry in caught.traceback if "/modal_lite/" in str(entry.path)]
