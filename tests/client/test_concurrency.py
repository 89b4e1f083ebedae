"""`@modal_lite.concurrent()`: several inputs at once in a container, each on its own."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modal_lite
from modal_lite._concurrency import Concurrency, class_concurrency
from modal_lite.exception import FunctionTimeoutError, InputCancelledError, InvalidError, SerializationError
from tests.client.sharing_functions import (
    AsyncHooks,
    AsyncMethods,
    MixedMethods,
    PlainMethods,
    app,
    async_count,
    async_hold,
    async_meet,
    call_another,
    count,
    crowd,
    fail_if_odd,
    fibonacci,
    hold,
    interrupt_once,
    meet,
    meet_by_option,
    napping_pid,
    noted,
    same,
)
from tests.waiting import wait_until

scratch = modal_lite.App("scratch")
HOLDS = {"tasks": async_hold, "threads": hold}
KINDS = sorted(HOLDS)


@pytest.fixture(scope="module", autouse=True)
def run() -> Iterator[Any]:
    with app.run() as running:
        yield running


def begun(folder: Path, *names: str) -> None:
    """Returns once inputs of these names run."""
    for name in names:
        wait_until(lambda name=name: noted(folder, name), f"the beginning of {name}")


@pytest.mark.parametrize("function", [meet, async_meet])
def test_inputs_meet_in_one_container_and_know_themselves(function: Any, tmp_path: Path) -> None:
    rows = list(function.starmap([(str(tmp_path), i, 6) for i in range(6)]))
    pids, before, after = zip(*rows, strict=True)
    assert len(set(pids)) == 1
    assert before == after
    assert len(set(before)) == 6


def test_as_many_inputs_of_a_map_meet_as_a_container_may_run() -> None:
    assert list(crowd.starmap((i, 1000) for i in range(1000))) == list(range(1000))


def test_the_former_option(tmp_path: Path) -> None:
    assert len({row[0] for row in meet_by_option.starmap([(str(tmp_path), i, 2) for i in range(2)])}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_at_once_than_asked_for(kind: str, tmp_path: Path) -> None:
    calls = [HOLDS[kind].spawn(str(tmp_path), f"{i}") for i in range(6)]
    begun(tmp_path, "0", "1", "2", "3")
    assert HOLDS[kind].get_current_stats() == modal_lite.FunctionStats(2, 1, 4, 1)
    (tmp_path / "go").touch()
    assert len({call.get(timeout=20) for call in calls}) == 1


def test_failures_stay_apart() -> None:
    results = list(fail_if_odd.map(range(20), return_exceptions=True, wrap_returned_exceptions=False))
    assert [str(each) for each in results] == [f"{x} is odd" if x % 2 else str(x) for x in range(20)]


def test_calls_have_the_right_parents() -> None:
    call = call_another.spawn_map(range(8))
    for index in range(8):
        own, value = call.get(index=index, timeout=20)
        assert value == index
        (root,) = [each for each in call.get_call_graph() if each.input_id == own]
        (child,) = root.children
        assert child.function_name == same.tag


def test_a_function_that_calls_itself() -> None:
    assert fibonacci.remote(7) == 13


@pytest.mark.parametrize("function", [count, async_count])
def test_generators_at_once(function: Any) -> None:
    first, second = function.remote_gen(3000), function.remote_gen(5)
    assert [next(first), next(second)] == [0, 0]
    assert list(second) == [1, 2, 3, 4]
    assert list(first) == list(range(1, 3000))


def test_cancelling_one_task_leaves_its_neighbours(tmp_path: Path) -> None:
    one, two, three = [async_hold.spawn(str(tmp_path), name) for name in ("one", "two", "three")]
    begun(tmp_path, "one", "two", "three")
    two.cancel()
    begun(tmp_path, "cancelled two")
    (tmp_path / "go").touch()
    assert one.get(timeout=20) == three.get(timeout=20) == noted(tmp_path, "two")[0]
    with pytest.raises(InputCancelledError):
        two.get(timeout=20)
    assert len(noted(tmp_path, "one")) == 1


def test_cancelling_one_thread_restarts_the_container_and_reschedules_its_neighbours(tmp_path: Path) -> None:
    one, two, three = [hold.spawn(str(tmp_path), name) for name in ("one", "two", "three")]
    begun(tmp_path, "one", "two", "three")
    two.cancel()
    wait_until(lambda: len(noted(tmp_path, "one")) == len(noted(tmp_path, "three")) == 2, "their second beginning")
    (tmp_path / "go").touch()
    assert one.get(timeout=20) == three.get(timeout=20) == noted(tmp_path, "one")[1]
    assert len(noted(tmp_path, "two")) == 1


def test_a_map_over_threads_that_is_left_early_restarts_nothing() -> None:
    pids = set()
    for _ in range(3):
        pids.add(next(iter(napping_pid.map(range(1000)))))
    assert len(pids) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_timeouts_are_of_each_input(kind: str, tmp_path: Path) -> None:
    limited = HOLDS[kind].with_options(timeout=0.6)
    late = limited.spawn(str(tmp_path), "late")
    begun(tmp_path, "late")
    with pytest.raises(FunctionTimeoutError):
        late.get(timeout=20)
    (tmp_path / "go").touch()
    # Tasks go on in the same container, threads in another one.
    assert (limited.remote(str(tmp_path), "next") == noted(tmp_path, "late")[0]) == (kind == "tasks")


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_ran_in_a_killed_container_runs_again(kind: str, tmp_path: Path) -> None:
    calls = [HOLDS[kind].spawn(str(tmp_path), name) for name in ("one", "two")]
    begun(tmp_path, "one", "two")
    (killed,) = {*noted(tmp_path, "one"), *noted(tmp_path, "two")}
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(noted(tmp_path, "one")) == len(noted(tmp_path, "two")) == 2, "their second beginning")
    (tmp_path / "go").touch()
    (again,) = {call.get(timeout=20) for call in calls}
    assert again != killed


def test_a_thread_that_raises_keyboard_interrupt_ends_its_container(tmp_path: Path) -> None:
    assert interrupt_once.remote(str(tmp_path)) != noted(tmp_path, "interrupted")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_app_ends_while_they_run(kind: str, tmp_path: Path) -> None:
    own = modal_lite.App("ends")
    function = own.function(serialized=True, max_containers=1)(
        modal_lite.concurrent(max_inputs=2)(HOLDS[kind].get_raw_f())
    )
    with own.run():
        function.spawn(str(tmp_path), "held")
        begun(tmp_path, "held")
    (pid,) = noted(tmp_path, "held")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# --- where it is written ---------------------------------------------------------------------------------------------


def plain(x: int) -> int:
    return x


BAD: dict[str, dict[str, Any]] = {
    "max_inputs=0: must be an int from 1 to 1,000.": {"max_inputs": 0},
    "max_inputs=1001: must be an int from 1 to 1,000.": {"max_inputs": 1001},
    "max_inputs=True: must be an int from 1 to 1,000.": {"max_inputs": True},
    "target_inputs=5: must be an int from 1 to 4.": {"max_inputs": 4, "target_inputs": 5},
}


@pytest.mark.parametrize("message", sorted(BAD))
def test_bad_numbers(message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        modal_lite.concurrent(**BAD[message])
    assert str(caught.value) == message


def test_misuse() -> None:
    wrong: Any = modal_lite.concurrent
    with pytest.raises(InvalidError, match="Did you forget parentheses?"):
        wrong(plain, max_inputs=2)
    with pytest.raises(InvalidError, match="decorates plain twice"):
        wrong(max_inputs=2)(wrong(max_inputs=2)(plain))
    with pytest.raises(InvalidError, match="is above the decorator of the app; put it below"):
        wrong(max_inputs=2)(scratch.function()(plain))
    with pytest.raises(InvalidError, match="is the former form of @modal_lite.concurrent"):
        scratch.function(allow_concurrent_inputs=2)(wrong(max_inputs=2)(plain))
    with pytest.raises(InvalidError, match="it cannot share its container"):
        scratch.function(single_use_containers=True)(wrong(max_inputs=2)(plain))


@pytest.mark.parametrize("cls", [AsyncMethods, PlainMethods])
def test_inputs_of_a_class_meet_in_one_container(cls: Any, tmp_path: Path) -> None:
    assert len(set(cls().meet.starmap([(str(tmp_path), i, 4) for i in range(4)]))) == 1


def test_async_and_other_methods_meet_in_one_container(tmp_path: Path) -> None:
    both = MixedMethods()
    calls = [method.spawn(str(tmp_path), i, 4) for i, method in enumerate([both.meet, both.plain_meet] * 2)]
    assert len({call.get(timeout=20) for call in calls}) == 1


def test_errors_name_the_method_that_they_are_of(tmp_path: Path) -> None:
    plain = PlainMethods()
    meeting = plain.meet.spawn(str(tmp_path), 0, 2)
    with pytest.raises(SerializationError, match="PlainMethods.unpicklable"):
        plain.unpicklable.remote(1)
    assert plain.meet.remote(str(tmp_path), 1, 2) == meeting.get(timeout=20)


def test_generators_of_both_kinds_at_once() -> None:
    both = MixedMethods()
    first, second = both.plain_count.remote_gen(3000), both.count.remote_gen(3000)
    assert [next(first), next(second)] == [0, 0]
    assert list(second) == list(first) == list(range(1, 3000))


def test_cancelling_an_async_method_leaves_its_neighbours(tmp_path: Path) -> None:
    one, two = [AsyncMethods().hold.spawn(str(tmp_path), name) for name in ("one", "two")]
    begun(tmp_path, "one", "two")
    two.cancel()
    with pytest.raises(InputCancelledError):
        two.get(timeout=20)
    (tmp_path / "go").touch()
    assert [one.get(timeout=20)] == noted(tmp_path, "one")


def test_cancelling_a_method_beside_threads_restarts_the_container(tmp_path: Path) -> None:
    both = MixedMethods()
    calls = [both.plain_hold.spawn(str(tmp_path), "one"), both.hold.spawn(str(tmp_path), "two")]
    begun(tmp_path, "one", "two")
    calls[1].cancel()
    wait_until(lambda: len(noted(tmp_path, "one")) == 2, "its second beginning")
    (tmp_path / "go").touch()
    assert calls[0].get(timeout=20) == noted(tmp_path, "one")[1]
    assert len(noted(tmp_path, "two")) == 1


def test_what_async_hooks_left_running_goes_on() -> None:
    assert AsyncHooks().watch.remote() >= 3


def test_misuse_on_classes() -> None:
    mark: Any = modal_lite.concurrent(max_inputs=2)
    with pytest.raises(InvalidError, match="is above the decorator of the app; put it below"):
        mark(AsyncMethods)

    class OnMethod:
        @mark
        @modal_lite.method()
        def run(self) -> None: ...

    with pytest.raises(InvalidError, match="put on the method OnMethod.run. All methods share a container"):
        scratch.cls(serialized=True)(OnMethod)

    @mark
    class Both:
        @modal_lite.batched(max_batch_size=2, wait_ms=1)
        def run(self, xs: list[int]) -> list[int]:
            return xs

    with pytest.raises(InvalidError, match="is both batched and concurrent"):
        scratch.cls(serialized=True)(Both)


def test_classes_keep_what_it_says() -> None:
    @modal_lite.concurrent(max_inputs=4, target_inputs=2)
    class Base:
        pass

    class Derived(Base):
        pass

    assert class_concurrency(Base) == class_concurrency(Derived) == Concurrency(4, 2)
    assert class_concurrency(object) is None
