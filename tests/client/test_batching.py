"""`@modal_lite.batched()`: inputs that one call of the function takes together."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modal_lite
from modal_lite.exception import FunctionTimeoutError, InputCancelledError, InvalidError, SerializationError
from tests.client.sharing_functions import (
    AsyncBatchedMethod,
    BatchedMethod,
    answer,
    app,
    async_add,
    async_hold_batch,
    die_once,
    fail_once,
    hold_batch,
    noted,
    one_by_one,
    square,
)
from tests.waiting import wait_until

scratch = modal_lite.App("scratch")
HOLDS = [hold_batch, async_hold_batch]


@pytest.fixture(scope="module", autouse=True)
def run() -> Iterator[Any]:
    with app.run() as running:
        yield running


def test_a_full_batch_does_not_wait() -> None:
    assert list(square.with_options(timeout=60).map(range(8))) == [(x * x, 4) for x in range(8)]


def test_a_partial_batch_runs_after_the_wait() -> None:
    assert square.remote(5) == (25, 1)
    calls = [square.spawn(x) for x in range(3)]
    assert [call.get(timeout=20) for call in calls] == [(0, 3), (1, 3), (4, 3)]


def test_positional_and_keyword_arguments_mix() -> None:
    calls = [async_add.spawn(1, 2, c=3), async_add.spawn(4, b=5, c=6), async_add.spawn(7, c=8, b=9)]
    assert [call.get(timeout=20) for call in calls] == [6, 15, 24]


def test_arguments_that_do_not_fit_fail_only_their_input() -> None:
    wrong: Any = async_add
    calls = [async_add.spawn(1, 2, c=3), wrong.spawn(1), async_add.spawn(4, 5, c=6)]
    assert [calls[0].get(timeout=20), calls[2].get(timeout=20)] == [6, 15]
    with pytest.raises(TypeError, match="missing a required"):
        calls[1].get(timeout=20)


def test_batches_of_one_are_lists_too() -> None:
    assert list(one_by_one.map(range(100))) == [1] * 100


def test_local_is_the_plain_function() -> None:
    assert one_by_one.local([1, 2]) == [2, 2]


MESSAGES = {
    "short": "Output of batched function answer must be a list of equal length as its inputs; it returned 2 values "
    "for 3 inputs.",
    "no list": "Output of batched function answer must be a list with a value for each input, not 'tuple'.",
}


@pytest.mark.parametrize("shape", sorted(MESSAGES))
def test_a_wrong_shape_fails_every_caller(shape: str) -> None:
    for call in [answer.spawn(shape) for _ in range(3)]:
        with pytest.raises(InvalidError) as caught:
            call.get(timeout=20)
        assert str(caught.value) == MESSAGES[shape]


def test_an_exception_fails_every_input() -> None:
    for call in [answer.spawn("fail") for _ in range(3)]:
        with pytest.raises(ValueError, match="batch of 3"):
            call.get(timeout=20)


def test_a_value_that_does_not_pickle_fails_its_input() -> None:
    one, two, three = [answer.spawn("one unpicklable") for _ in range(3)]
    assert (one.get(timeout=20), three.get(timeout=20)) == (1, 3)
    with pytest.raises(SerializationError):
        two.get(timeout=20)


def test_the_first_input_stands_for_the_batch() -> None:
    call = answer.spawn_map([0, 1, 2])
    assert {call.get(index=i, timeout=20) for i in range(3)} == {call.get_call_graph()[0].input_id}


def test_inputs_are_retried_together(tmp_path: Path) -> None:
    assert list(fail_once.starmap([(str(tmp_path), "a"), (str(tmp_path), "b")])) == [2, 2]


@pytest.mark.parametrize("function", HOLDS)
def test_cancelling_one_input_leaves_the_batch(function: Any, tmp_path: Path) -> None:
    one, two, three = [function.spawn(str(tmp_path)) for _ in range(3)]
    wait_until(lambda: noted(tmp_path, "batch"), "the batch")
    two.cancel()
    with pytest.raises(InputCancelledError):
        two.get(timeout=20)
    wait_until(lambda: function.get_current_stats().num_running_inputs == 2, "the report of the cancelled input")
    (tmp_path / "go").touch()
    assert one.get(timeout=20) == three.get(timeout=20) == noted(tmp_path, "batch")[0]


@pytest.mark.parametrize("function", HOLDS)
def test_a_batch_that_nobody_waits_for_is_interrupted(function: Any, tmp_path: Path) -> None:
    calls = [function.spawn(str(tmp_path)) for _ in range(3)]
    wait_until(lambda: noted(tmp_path, "batch"), "the batch")
    for call in calls:
        call.cancel()
    error = "InputCancellation" if function is hold_batch else "CancelledError"
    wait_until(lambda: noted(tmp_path, error), "its interruption")
    (tmp_path / "go").touch()
    assert function.remote(str(tmp_path)) == noted(tmp_path, "batch")[0]


@pytest.mark.parametrize("function", HOLDS)
def test_cancelled_while_others_are_waited_for(function: Any, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    one = function.spawn(str(tmp_path))
    two = function.spawn(str(tmp_path))
    wait_until(lambda: function.get_current_stats().num_running_inputs == 2, "both")
    one.cancel()
    assert two.get(timeout=20)
    assert len(noted(tmp_path, "batch")) == 1


@pytest.mark.parametrize("function", HOLDS)
def test_the_time_of_a_batch(function: Any, tmp_path: Path) -> None:
    calls = [function.with_options(timeout=0.3).spawn(str(tmp_path)) for _ in range(3)]
    for call in calls:
        with pytest.raises(FunctionTimeoutError):
            call.get(timeout=20)


def test_a_killed_batch_runs_again(tmp_path: Path) -> None:
    pids = {call.get(timeout=20) for call in [die_once.spawn(str(tmp_path)) for _ in range(2)]}
    assert pids == {noted(tmp_path, "batch")[1]}


# --- methods ----------------------------------------------------------------------------------------------------------


def test_a_method_whose_parameters_have_batches_of_their_own() -> None:
    assert list(BatchedMethod(factor=10).scaled.map(range(4))) == [(10 * x + 1, 4) for x in range(4)]
    calls = [BatchedMethod(factor=factor).scaled.spawn(1) for factor in (1, 1, 10)]
    assert [call.get(timeout=20) for call in calls] == [(2, 2), (2, 2), (11, 1)]


def test_an_async_method() -> None:
    anything: Any = AsyncBatchedMethod()
    assert list(anything.sized.map(range(4))) == [4] * 4


def test_a_batched_method_has_its_class_to_itself() -> None:
    class Two:
        @modal_lite.batched(max_batch_size=2, wait_ms=1)
        def one(self, xs: list[int]) -> list[int]:
            return xs

        @modal_lite.method()
        def two(self) -> None: ...

    with pytest.raises(InvalidError) as caught:
        scratch.cls(serialized=True)(Two)
    message = "The method Two.one is batched, so it has to be the only one of its class, which has two too. "
    assert str(caught.value) == message + "Write a class for each."


# --- where it is written ---------------------------------------------------------------------------------------------


def plain(xs: list[int]) -> list[int]:
    return xs


def with_default(xs: list[int], y: int = 1) -> list[int]:
    return xs


def with_rest(*xs: list[int]) -> list[int]:
    return xs[0]


def without() -> list[int]:
    return []


def generator(xs: list[int]) -> Iterator[int]:
    yield from xs


BAD_FUNCTIONS = {
    with_default: "its parameter y gets a list and has no use for a default",
    with_rest: r"write its parameters out instead of `\*xs",
    without: "which has no parameters",
    generator: "it must return a list instead",
}


@pytest.mark.parametrize("function", BAD_FUNCTIONS, ids=lambda function: function.__name__)
def test_functions_that_cannot_be_batched(function: Any) -> None:
    with pytest.raises(InvalidError, match=BAD_FUNCTIONS[function]):
        modal_lite.batched(max_batch_size=2, wait_ms=1)(function)


def test_bad_numbers() -> None:
    with pytest.raises(InvalidError, match="max_batch_size=0: must be an int from 1 to 1,000."):
        modal_lite.batched(max_batch_size=0, wait_ms=1)
    with pytest.raises(InvalidError, match="wait_ms=600001: must be an int from 0 to 600,000."):
        modal_lite.batched(max_batch_size=2, wait_ms=600_001)


def test_misuse() -> None:
    wrong: Any = modal_lite.batched
    with pytest.raises(InvalidError, match="Did you forget parentheses?"):
        wrong(plain, max_batch_size=2, wait_ms=1)
    both: Any = modal_lite.concurrent(max_inputs=2)(wrong(max_batch_size=2, wait_ms=1)(plain))
    with pytest.raises(InvalidError, match="plain is both batched and concurrent"):
        scratch.function()(both)
    with pytest.raises(InvalidError, match="plain is batched and cannot be a generator"):
        scratch.function(is_generator=True)(wrong(max_batch_size=2, wait_ms=1)(plain))
