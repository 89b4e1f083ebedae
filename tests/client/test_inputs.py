"""The caller's iterators: slow, endless, failing, asynchronous, of things that do not pickle, of large ones."""

import itertools
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

import psutil
import pytest

from modal_lite._drive import Drive
from modal_lite._inputs import MAX_SLICE, InputSource
from modal_lite.exception import InvalidError, SerializationError
from tests.client.conftest import settled
from tests.client.functions import CannotPickle, add, async_same, blob, same


def test_the_first_result_comes_before_a_slow_iterator_goes_on(run: Any) -> None:
    first_seen = threading.Event()

    def inputs() -> Iterator[int]:
        yield 1
        # Not before the consumer has the first result, or after much more time than that takes.
        yield 2 if first_seen.wait(0.5) else -2
        yield 3

    results = []
    for x in same.map(inputs()):
        results.append(x)
        first_seen.set()
    # A pull that has begun cannot be left: the first input runs meanwhile, and is taken at the next step.
    assert results in ([1, 2, 3], [1, -2, 3])


def test_inputs_run_while_a_slow_iterator_makes_the_next(run: Any) -> None:
    first_seen, made = threading.Event(), 0

    def inputs() -> Iterator[int]:
        nonlocal made
        for made in range(40):
            yield made
            first_seen.wait(0.25)

    list(same.map(range(10)))
    results = same.map(inputs())
    assert next(results) == 0
    # The pull that goes on when a result arrives is waited for; the iterator is not run to its end first.
    assert made < 39
    first_seen.set()
    assert list(results) == list(range(1, 40))


@pytest.mark.parametrize("ordered", [True, False])
def test_an_item_that_does_not_pickle_fails_alone(run: Any, ordered: bool) -> None:
    bad = {0, 77, 78, 500, 999}
    inputs = [CannotPickle() if i in bad else i for i in range(1000)]
    results = list(same.map(inputs, order_outputs=ordered, return_exceptions=True))
    assert len(results) == 1000
    errors = [r for r in results if isinstance(r, SerializationError)]
    assert len(errors) == len(bad)
    assert "same.map()" in str(errors[0]) and "made not to be pickled" in str(errors[0])
    assert sorted(r for r in results if isinstance(r, int)) == sorted(set(range(1000)) - bad)
    if ordered:
        assert [i for i, r in enumerate(results) if isinstance(r, SerializationError)] == sorted(bad)


def test_an_item_that_does_not_pickle_is_raised_after_the_results_before_it(run: Any) -> None:
    results: list[int] = []
    with pytest.raises(SerializationError):
        results.extend(same.map([CannotPickle() if i == 300 else i for i in range(1000)]))
    assert results == list(range(300))
    settled(same)


def test_only_what_does_not_pickle(run: Any) -> None:
    results = list(same.map([CannotPickle()] * 50, return_exceptions=True))
    assert [type(r) for r in results] == [SerializationError] * 50


def test_async_iterables_are_accepted_by_the_blocking_form_and_closed(run: Any) -> None:
    closed = []

    async def inputs() -> AsyncIterator[int]:
        try:
            for i in itertools.count():
                yield i
        finally:
            closed.append(threading.get_ident())

    results = []
    for x in same.map(inputs()):
        results.append(x)
        if x == 1500:
            break
    assert results == list(range(1501))
    assert closed == [threading.get_ident()]


def test_sync_and_async_iterables_together(run: Any) -> None:
    async def inputs() -> AsyncIterator[int]:
        for i in range(5):
            yield i

    assert list(add.map(inputs(), range(100))) == [0, 2, 4, 6, 8]
    assert list(add.map(range(100), inputs())) == [0, 2, 4, 6, 8]


async def test_a_map_as_the_input_of_another(run: Any) -> None:
    assert [x async for x in same.map.aio(async_same.map.aio(range(300)))] == list(range(300))
    assert [x async for x in add.map.aio(async_same.map.aio(range(30)), same.map.aio(range(30)))] == list(
        range(0, 60, 2)
    )


class EndsEarly:
    """An iterator whose `__next__` runs into somebody else's StopIteration, and one whose `__iter__` does."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __iter__(self) -> Iterator[int]:
        yield 1
        raise self.error("inside")


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
def test_a_stray_stop_iteration_is_an_error_not_the_end(run: Any, error: type[BaseException]) -> None:
    with pytest.raises(RuntimeError, match=error.__name__):
        list(same.map(EndsEarly(error)))
    settled(same)


@pytest.mark.parametrize("error", [GeneratorExit, KeyError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("iterators", [1, 2])
def test_what_the_iterator_raises_reaches_the_caller(run: Any, error: type[BaseException], iterators: int) -> None:
    with pytest.raises(error, match="inside"):
        list(add.map(*[EndsEarly(error) for _ in range(iterators)]))
    settled(add)
    assert add.remote(1) == 1


@pytest.mark.parametrize("error", [StopAsyncIteration, KeyError])
async def test_what_an_async_iterator_raises_reaches_the_caller(run: Any, error: type[BaseException]) -> None:
    class Inputs:
        def __aiter__(self) -> "Inputs":
            return self

        async def __anext__(self) -> int:
            raise error("inside")

    if error is StopAsyncIteration:
        assert [x async for x in same.map.aio(Inputs())] == []
    else:
        with pytest.raises(error, match="inside"):
            _ = [x async for x in same.map.aio(Inputs())]


def test_the_users_frames_in_iterators_are_kept(run: Any) -> None:
    def deep() -> int:
        raise KeyError("deep in the iterator")

    def inputs() -> Iterator[int]:
        yield 1
        yield deep()

    with pytest.raises(KeyError) as caught:
        list(same.map(inputs()))
    names = [entry.name for entry in caught.traceback]
    assert names[-2:] == ["inputs", "deep"]
    assert not [entry for entry in caught.traceback if "/modal_lite/" in str(entry.path)]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [("abc", ["a", "b", "c"]), ({"x": 1, "y": 2}, ["x", "y"]), (range(3), [0, 1, 2]), (b"ab", [97, 98]), ([], [])],
)
def test_whatever_is_iterable(run: Any, inputs: Any, expected: list[Any]) -> None:
    assert list(same.map(inputs)) == expected


def test_the_old_sequence_protocol(run: Any) -> None:
    class Old:
        def __getitem__(self, index: int) -> int:
            if index == 3:
                raise IndexError
            return index

    assert list(same.map(Old())) == [0, 1, 2]


def test_starmap_of_what_is_no_sequence(run: Any) -> None:
    with pytest.raises(TypeError, match=r"add\.starmap\(\) takes an iterable of sequences .* of type 'int'"):
        list(add.starmap([(1, 2), 3]))
    assert list(add.starmap([[1, 2], (3,), iter((4, 5))])) == [3, 3, 9]


def test_the_window_is_bounded_whatever_the_consumer_does(run: Any) -> None:
    pulled = 0

    def inputs() -> Iterator[int]:
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled

    most = 0
    for i, x in enumerate(same.map(inputs())):
        most = max(most, pulled - x)
        if i == 5000:
            break
    assert most <= 1000 + 1


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_large_items_bound_what_is_pulled_at_a_time(kind: Callable[[int], Any], asynchronous: bool) -> None:
    async def as_async(items: Iterator[Any]) -> AsyncIterator[Any]:
        for item in items:
            yield item

    items = (kind(16 << 20) for _ in range(1000))
    source = InputSource((as_async(items) if asynchronous else items,), False, {}, "f.map()")
    drive = Drive()
    for start in range(3):
        chunks = drive.step(source.next_chunks, 1024)
        assert [(chunk.start, chunk.count) for chunk in chunks] == [(start, 1)]
    drive.step(source.close)
    drive.close()


def test_an_iterator_that_becomes_slow_holds_back_few_inputs() -> None:
    def inputs() -> Iterator[int]:
        yield from range(500)
        for i in itertools.count(500):
            time.sleep(0.01)
            yield i

    source = InputSource((inputs(),), False, {}, "f.map()")
    assert Drive().step(source.next_chunks, 100_000)[-1].start < 500 + MAX_SLICE


def _own_memory() -> int:
    """Bytes of this process, without what it shares with containers: that has a bound of its own."""
    info = psutil.Process().memory_info()
    return int(info.rss - getattr(info, "shared", 0))


def test_memory_is_bounded_for_large_inputs_and_results(run: Any) -> None:
    before = _own_memory()
    most = 0
    for i, result in enumerate(blob.map(itertools.repeat(4 << 20))):
        assert len(result) == 4 << 20
        most = max(most, _own_memory() - before)
        if i == 400:
            break
    for i, result in enumerate(same.map(bytes(4 << 20) for _ in itertools.count())):
        assert len(result) == 4 << 20
        most = max(most, _own_memory() - before)
        if i == 400:
            break
    # There is no end of them, and 1,600 MiB were taken; what runs before their size is known is a window.
    assert most < 1200 << 20


async def test_async_iterables_of_blocking_calls_in_a_notebook_are_refused(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def inputs() -> AsyncIterator[int]:
        yield 1

    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    cell: dict[str, Any] = {"__name__": "IPython.core.interactiveshell"}
    exec("def run_cell(function, inputs): return list(function.map(inputs))", cell)
    assert cell["run_cell"](same, [1, 2]) == [1, 2]
    with pytest.raises(InvalidError, match=r"Use the \.aio form here"):
        cell["run_cell"](same, inputs())
    assert same.remote(1) == 1
