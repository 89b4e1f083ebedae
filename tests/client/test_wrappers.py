"""One async implementation, two forms: names, signatures, translation, threads, loops, interruptions."""

import asyncio
import contextlib
import inspect
import itertools
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modal_lite
from modal_lite._app import _App
from modal_lite._core.library_loop import library
from modal_lite._function_call import _FunctionCall
from modal_lite._functions import _Function
from modal_lite.exception import InvalidError
from tests.client.conftest import settled
from tests.client.functions import add, app, count_to, gate, hang, same
from tests.waiting import wait_until

PAIRS = [(modal_lite.Function, _Function), (modal_lite.FunctionCall, _FunctionCall), (modal_lite.App, _App)]
NO_TWIN = {
    "Function": {"local", "get_raw_f", "with_options", "from_name"},
    "FunctionCall": {"from_id"},
    "App": {"function", "cls", "local_entrypoint", "include"},
}
"""Methods that wait for nothing."""


def methods(cls: type) -> dict[str, Any]:
    return {
        name: value
        for name, value in inspect.getmembers(cls, callable)
        if not name.startswith("_") and name != "gather"
    }


@pytest.mark.parametrize(("public", "implementation"), PAIRS)
def test_methods_that_wait_have_a_twin_and_the_others_none(public: type, implementation: type) -> None:
    for name in methods(implementation):
        has_twin = hasattr(inspect.getattr_static(public, name), "aio") or hasattr(getattr(public, name), "aio")
        assert has_twin == (name not in NO_TWIN[public.__name__]), name


@pytest.mark.parametrize(("public", "implementation"), PAIRS)
def test_both_forms_keep_name_signature_and_docstring(public: type, implementation: type) -> None:
    for name, method in methods(implementation).items():
        form = getattr(public, name)
        assert form.__name__ == name
        assert form.__qualname__ == f"{public.__name__}.{name}"
        assert inspect.getdoc(form), name
        assert inspect.getdoc(form) == inspect.getdoc(method), name


def test_signatures_are_those_of_the_implementation() -> None:
    expected = [name for name in inspect.signature(_Function.map).parameters if name != "self"]
    for form in (same.map, same.map.aio):
        assert list(inspect.signature(form).parameters) == expected
    assert list(inspect.signature(modal_lite.gather).parameters) == ["function_calls"]


@pytest.mark.parametrize(("public", "implementation"), PAIRS)
def test_private_methods_are_not_on_public_classes(public: type, implementation: type) -> None:
    private = [name for name in vars(implementation) if name[0] == "_" != name[1]]
    assert private, "the implementation is expected to have some"
    assert [name for name in private if hasattr(public, name)] == []


def test_objects_are_translated(run: Any) -> None:
    assert run is app
    assert same.app is app
    assert type(same) is modal_lite.Function
    call = same.spawn(1)
    assert type(call) is modal_lite.FunctionCall
    assert type(modal_lite.FunctionCall.from_id(call.object_id)) is modal_lite.FunctionCall
    assert type(same.with_options(timeout=3)) is modal_lite.Function
    assert app.registered_functions["same"] is same
    assert app.include(app) is app


async def test_objects_are_translated_by_the_aio_forms(run: Any) -> None:
    call = await same.spawn.aio(1)
    assert type(call) is modal_lite.FunctionCall
    assert await call.get.aio() == 1
    calls = await same.spawn_map.aio([1, 2])
    assert type(calls) is modal_lite.FunctionCall
    assert [x async for x in calls.iter.aio()] == [1, 2]


def test_users_objects_are_not_looked_into(run: Any) -> None:
    # A public object inside of arguments and results stays public, at any depth.
    call = same.spawn(1)
    (again,) = same.remote([call])
    assert type(again) is modal_lite.FunctionCall
    assert again.object_id == call.object_id
    assert again.get() == 1
    (function,) = list(same.map([same]))
    assert type(function) is modal_lite.Function
    assert function.remote(3) == 3


def test_blocking_calls_from_many_threads(run: Any) -> None:
    results: list[Any] = []

    def work(start: int) -> None:
        results.append([same.remote(start), list(add.map(range(start, start + 50), kwargs={"z": 1}))])

    threads = [threading.Thread(target=work, args=(100 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == [[100 * i, list(range(100 * i + 1, 100 * i + 51))] for i in range(8)]


async def test_blocking_calls_inside_a_loop(run: Any) -> None:
    assert same.remote(1) == 1
    assert list(count_to.remote_gen(3)) == [0, 1, 2]
    assert same.spawn(2).get() == 2
    with pytest.raises(InvalidError, match=r"\.map\.aio"):
        list(same.map([1]))
    with pytest.raises(InvalidError, match=r"\.for_each\.aio"):
        same.for_each([1])


async def test_the_result_of_map_can_be_iterated_in_a_loop_as_well(run: Any) -> None:
    assert [x async for x in same.map([1, 2, 3])] == [1, 2, 3]
    assert [x async for x in count_to.remote_gen(3)] == [0, 1, 2]


def test_blocking_calls_inside_an_input_iterator(run: Any) -> None:
    def inputs() -> Iterator[int]:
        for i in range(20):
            yield add.remote(i, 1)
            yield asyncio.run(add.remote.aio(i, 2))

    assert list(same.map(inputs())) == [x for i in range(20) for x in (i + 1, i + 2)]


async def test_blocking_calls_inside_an_input_iterator_of_the_aio_form(run: Any) -> None:
    def inputs() -> Iterator[int]:
        for i in range(20):
            yield add.remote(i, 1)

    assert [x async for x in same.map.aio(inputs())] == [i + 1 for i in range(20)]


class CallsWhilePickled:
    def __reduce__(self) -> Any:
        return int, (str(add.remote(40, 2)),)


def test_blocking_calls_inside_reduce(run: Any) -> None:
    assert same.remote(CallsWhilePickled()) == 42
    assert list(same.map([CallsWhilePickled()] * 3)) == [42] * 3
    assert asyncio.run(same.remote.aio(CallsWhilePickled())) == 42


def test_input_iterators_and_reduce_run_in_the_callers_thread(run: Any) -> None:
    seen: set[int] = set()

    class Notes:
        def __reduce__(self) -> Any:
            seen.add(threading.get_ident())
            return int, ()

    def inputs() -> Iterator[Notes]:
        for _ in range(300):
            seen.add(threading.get_ident())
            yield Notes()

    assert len(list(same.map(inputs()))) == 300
    assert seen == {threading.get_ident()}


@contextlib.contextmanager
def ctrl_c_once_there(path: str) -> Iterator[None]:
    """Presses Ctrl-C, so to say, once the file exists, unless the block has ended before."""
    main, left = threading.get_ident(), threading.Event()

    def press() -> None:
        wait_until(lambda: left.is_set() or Path(path).exists(), path)
        if not left.is_set():
            signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()


INTERRUPTED = {
    "remote": lambda path: hang.remote(path),
    "map": lambda path: list(hang.map([path])),
    "for_each": lambda path: hang.for_each([path]),
}


@pytest.mark.parametrize("how", sorted(INTERRUPTED))
def test_ctrl_c_while_waiting_cancels_the_call(run: Any, tmp_path: Path, how: str) -> None:
    path = str(tmp_path / "hang")
    with pytest.raises(KeyboardInterrupt), ctrl_c_once_there(path + ".started"):
        INTERRUPTED[how](path)
    wait_until(Path(path + ".ended").exists, "the interruption of the function")
    settled(hang)
    assert same.remote(1) == 1


def test_ctrl_c_while_waiting_for_a_result_leaves_the_call(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "gate")
    call = gate.spawn(path)
    with pytest.raises(KeyboardInterrupt), ctrl_c_once_there(path + ".started"):
        call.get()
    Path(path).touch()
    assert call.get(timeout=20) == path


def test_a_blocking_call_on_the_librarys_loop_is_refused(run: Any) -> None:
    async def inside() -> Any:
        return same.remote(1)

    future = asyncio.run_coroutine_threadsafe(inside(), library().loop)
    with pytest.raises(RuntimeError, match="would wait for itself"):
        future.result(10)


def test_the_callers_loop_may_be_closed_while_a_call_is_under_way(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "gate")

    async def main() -> None:
        asyncio.get_running_loop().create_task(gate.remote.aio(path))
        while not Path(path + ".started").exists():
            await asyncio.sleep(0.005)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be destroyed
    loop.close()
    Path(path).touch()
    settled(gate)
    assert same.remote(1) == 1


def test_bound_methods_look_like_what_they_are(run: Any) -> None:
    assert repr(same.remote) == "<bound method Function.remote of <Function same of tests.client.functions>>"
    assert same.remote.__self__ is same
    with pytest.raises(
        TypeError, match=r"same is a modal_lite Function and cannot be called directly\. Use same\.remote"
    ):
        same(1)
    with pytest.raises(TypeError, match=r"count_to\.remote_gen"):
        count_to(1)


# CPython handles signals also between the making of a coroutine and its first name, where nobody can close it.
@pytest.mark.filterwarnings("ignore:coroutine '.*' was never awaited:RuntimeWarning")
@pytest.mark.parametrize("kind", ["remote", "map", "get", "remote_gen"])
def test_a_storm_of_ctrl_c_leaves_the_app_usable(run: Any, kind: str) -> None:
    def calls(timer: threading.Timer) -> None:
        timer.start()
        while True:
            match kind:
                case "remote":
                    same.remote(1)
                case "map":
                    for _ in same.map(itertools.count()):
                        pass
                case "get":
                    same.spawn(1).get()
                case "remote_gen":
                    list(count_to.remote_gen(100))

    main = threading.get_ident()
    for i in range(15):
        timer = threading.Timer(0.01 + i / 1000, signal.pthread_kill, (main, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            calls(timer)
        timer.join()
    assert list(same.map(range(10))) == list(range(10))
    settled(same)
    settled(count_to)
