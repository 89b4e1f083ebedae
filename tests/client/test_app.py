"""Apps: running, again, nested, together, included; names; where they may not run."""

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path
from typing import Any

import psutil
import pytest

import modal_lite
from modal_lite.exception import DeprecationError, ExecutionError, InvalidError, NotFoundError, RemoteError
from tests.client.functions import app, from_the_other, hang, other, pid, run_an_app, same, to_the_other
from tests.waiting import PROMPT, wait_until

bigger = modal_lite.App("bigger")
bigger.include(app)


@bigger.function()
def of_the_bigger(x: int) -> int:
    return same.remote(x) + 1


def test_an_app_runs_again_and_again() -> None:
    ids = set()
    for i in range(3):
        with app.run() as running:
            assert running is app
            assert app.app_id is not None and app.app_id.startswith("ap-")
            ids |= {app.app_id, same.object_id}
            assert same.remote(i) == i
        assert app.app_id is None
        with pytest.raises(ExecutionError, match=r"same has not been hydrated .* client-tests is not running"):
            same.remote(1)
        with pytest.raises(ExecutionError):
            _ = same.object_id
    assert len(ids) == 6


def test_nested_runs_are_refused_and_the_outer_one_goes_on() -> None:
    with app.run():
        with pytest.raises(InvalidError, match="already running"), app.run():
            pass
        assert same.remote(1) == 1


def test_two_apps_call_each_other() -> None:
    with app.run(), other.run():
        assert to_the_other.remote(3) == 10 * (3 + 10 * (2 + 10 * (1 + 10 * 0)))
        assert from_the_other.remote(0) == 0


def test_apps_may_end_in_any_order() -> None:
    first, second = app.run(), other.run()
    first.__enter__()
    second.__enter__()
    assert from_the_other.remote(1) == 1 + 10 * 0
    first.__exit__(None, None, None)
    assert from_the_other.remote(0) == 0
    with pytest.raises(ExecutionError, match="not hydrated|not been hydrated"):
        same.remote(1)
    second.__exit__(None, None, None)


def test_a_function_of_the_other_app_that_does_not_run() -> None:
    with app.run():
        with pytest.raises(ExecutionError, match=r"from_the_other has not been hydrated"):
            to_the_other.remote(1)
        assert same.remote(1) == 1


def test_included_functions_run_with_either_app_in_one_pool() -> None:
    with bigger.run():
        assert of_the_bigger.remote(1) == 2
        assert same.app is app
    with app.run():
        only = pid.with_options(max_containers=1)
        before = only.remote()
        first = pid.object_id
        with bigger.run():
            assert pid.object_id == first
            assert only.remote() == before
            assert of_the_bigger.remote(1) == 2
        assert pid.object_id == first
        assert only.remote() == before, "the end of the including app ended a container of the other's"


def test_including_a_name_twice() -> None:
    one, two = modal_lite.App("one"), modal_lite.App("two")
    one.function(name="f", serialized=True)(lambda: 1)
    two.function(name="f", serialized=True)(lambda: 2)
    with pytest.raises(InvalidError, match=r"Both apps have a function named f; rename one"):
        one.include(two)


def test_a_block_that_is_dropped_without_being_left() -> None:
    dropped = app.run()
    dropped.__enter__()
    container = psutil.Process(pid.remote())
    del dropped
    gc.collect()
    wait_until(lambda: not container.is_running(), "the end of the container")
    with app.run():
        assert same.remote(2) == 2


@pytest.mark.parametrize("error", [KeyError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_exception_in_the_block_stops_the_app_and_propagates(error: type[BaseException]) -> None:
    def block() -> None:
        with app.run():
            same.remote(1)
            raise error("in the block")

    with pytest.raises(error, match="in the block"):
        block()
    assert app.app_id is None
    with app.run():
        assert same.remote(2) == 2


def test_run_in_a_loop() -> None:
    async def main() -> int:
        async with app.run.aio() as running:
            assert running is app
            return await same.remote.aio(1)

    assert asyncio.run(main()) == 1
    assert asyncio.run(main()) == 1


def test_started_in_one_thread_used_and_ended_in_others() -> None:
    run = app.run()
    results: list[Any] = []
    for step in (
        run.__enter__,
        lambda: results.append(list(same.map(range(100)))),
        lambda: run.__exit__(None, None, None),
    ):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
    assert results == [list(range(100))]
    assert app.app_id is None


def test_apps_are_not_run_in_containers() -> None:
    with app.run(), pytest.raises(InvalidError, match=r"app\.run\(\) was reached while a container"):
        run_an_app.remote()


def test_a_module_that_runs_its_app_when_imported(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        textwrap.dedent(
            """
            import modal_lite

            app = modal_lite.App()

            @app.function()
            def f(x):
                return x

            with app.run():
                print(f.remote(1))
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=40, env=_environment())
    assert done.returncode == 1
    assert "app.run() was reached while a container imported this module. Put it behind" in done.stderr
    assert "modal_lite/_" not in done.stderr, "library frames are shown"


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def test_stub_is_deprecated_and_the_users_line_is_blamed() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stub = modal_lite.Stub("old")  # type: ignore[attr-defined]
    assert type(stub) is modal_lite.App
    (warning,) = caught
    assert warning.category is DeprecationError
    assert warning.filename == __file__
    with pytest.raises(AttributeError, match="no attribute 'Stubb'"):
        _ = modal_lite.Stubb  # type: ignore[attr-defined]


def test_names_and_what_is_registered() -> None:
    assert app.name == "client-tests"
    assert repr(app) == "<App client-tests>"
    assert modal_lite.App().name is None
    assert repr(modal_lite.App()) == "<App (unnamed)>"
    functions = app.registered_functions
    assert functions["same"] is same and same.tag == "same"
    functions.clear()
    assert app.registered_functions
    with pytest.raises(InvalidError, match=r"App\(name=5\): must be a string"):
        modal_lite.App(5)  # type: ignore[arg-type]


def test_after_the_app_has_stopped_the_error_says_so() -> None:
    with app.run():
        call = same.spawn(1)
        call.get()
    for use in (call.get, call.cancel, call.num_inputs, call.get_call_graph):
        with pytest.raises((NotFoundError, ExecutionError), match="while the app they belong to runs"):
            use()


def test_waiters_are_told_when_the_app_stops(tmp_path: Path) -> None:
    errors: list[BaseException] = []
    path = str(tmp_path / "hang")

    def attempt(wait: Any) -> None:
        try:
            wait()
        except BaseException as error:
            errors.append(error)

    with app.run():
        call = hang.spawn(path)
        wait_until(Path(path + ".started").exists)
        waits = [call.get, lambda: hang.remote(), lambda: list(hang.map([""])), lambda: list(call.iter())]
        threads = [threading.Thread(target=attempt, args=(wait,)) for wait in waits]
        for thread in threads:
            thread.start()
        wait_until(lambda: hang.get_current_stats().num_running_inputs + hang.get_current_stats().backlog == 3)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "a call still waits after the end of the app"
    assert [isinstance(error, RemoteError) for error in errors] == [True] * 4, errors


def test_maps_that_are_left_behind_by_the_app() -> None:
    with app.run():
        results = same.map(range(100_000))
        assert next(results) == 0
    with pytest.raises((NotFoundError, ExecutionError, RemoteError)):
        list(results)


def test_leaving_the_app_with_calls_under_way_is_prompt(tmp_path: Path) -> None:
    import time

    path = str(tmp_path / "hang")
    with app.run():
        hang.spawn(path)
        hang.spawn_map([""] * 100)
        wait_until(Path(path + ".started").exists)
        started = time.monotonic()
    assert time.monotonic() - started < PROMPT
    assert Path(path + ".ended").exists()
