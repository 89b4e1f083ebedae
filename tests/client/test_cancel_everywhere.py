"""Each public coroutine, cancelled at each of its awaits: nothing is left of it, and everything goes on working."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import modal_lite
from modal_lite import _client
from modal_lite._core.library_loop import library
from modal_lite.functions import Function, FunctionCall
from tests.client.functions import async_same, count_to, gate, hang, hang_generator, other, same
from tests.waiting import wait_until

TURNS = 400
"""Turns of the event loop after which a coroutine that has not ended is taken to wait for a container, or for good."""
STRIDE_FROM = 24
"""Turns from which on not every single one is tried: what happens then is a wait."""


class Cases:
    """A body for each public coroutine. Attributes: `finished`, a call with a result; `endless`, one without."""

    def __init__(self, path: str) -> None:
        self.finished = same.spawn(1)
        self.finished.get()
        self.endless = gate.spawn(path)
        self.variants = itertools.count(70)

    def bodies(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        """By the name of the coroutine, and what is particular."""
        finished, endless = self.finished, self.endless
        return {
            "Function.remote": lambda: hang.remote.aio(),
            "Function.remote, which ends": lambda: async_same.remote.aio(1),
            "Function.remote, of a new variant": lambda: same.with_options(timeout=next(self.variants)).remote.aio(1),
            "Function.remote_gen": lambda: _all(hang_generator.remote_gen.aio(2000)),
            "Function.remote_gen, which ends": lambda: _all(count_to.remote_gen.aio(5)),
            "Function.spawn": lambda: _spawn(hang.spawn.aio),
            "Function.spawn, of a generator": lambda: count_to.spawn.aio(3),
            "Function.map": lambda: _all(hang.map.aio([""] * 5)),
            "Function.map, which ends": lambda: _all(same.map.aio(_inputs(30))),
            "Function.starmap": lambda: _all(same.starmap.aio((x,) for x in range(100))),
            "Function.for_each": lambda: hang.for_each.aio([""] * 5),
            "Function.spawn_map": lambda: _spawn(lambda: same.spawn_map.aio(range(2000))),
            "Function.keep_warm": lambda: same.keep_warm.aio(0),
            "Function.update_autoscaler": lambda: same.update_autoscaler.aio(scaledown_window=50),
            "Function.get_current_stats": lambda: same.get_current_stats.aio(),
            "FunctionCall.get": lambda: endless.get.aio(),
            "FunctionCall.get, with a timeout": lambda: _timed(lambda: endless.get.aio(timeout=0.002)),
            "FunctionCall.get, which ends": lambda: finished.get.aio(),
            "FunctionCall.cancel": lambda: finished.cancel.aio(),
            "FunctionCall.get_call_graph": lambda: endless.get_call_graph.aio(),
            "FunctionCall.num_inputs": lambda: endless.num_inputs.aio(),
            "FunctionCall.iter": lambda: _all(endless.iter.aio()),
            "gather": lambda: modal_lite.gather.aio(finished, endless, endless),
            "FunctionCall.gather": lambda: FunctionCall.gather.aio(finished, finished),
        }


async def _all(values: Any) -> list[Any]:
    return [x async for x in values]


async def _inputs(count: int) -> Any:
    for x in range(count):
        await asyncio.sleep(0)
        yield x


async def _spawn(spawn: Callable[[], Awaitable[Any]]) -> None:
    """Who has the call cleans up, whatever comes."""
    call = await spawn()
    cleaning = asyncio.ensure_future(call.cancel.aio())
    try:
        await asyncio.shield(cleaning)
    finally:
        await cleaning
        _forget(call.object_id)


async def _timed(wait: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(TimeoutError):
        await wait()


def _forget(call_id: str) -> None:
    _client.current_client().forget_call(call_id)


NAMES = sorted(Cases.bodies(type("", (), {"finished": None, "endless": None, "variants": None})()))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cases(run: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    path = tmp_path_factory.mktemp("cases") / "gate"
    made = Cases(str(path))
    yield made
    path.touch()
    assert made.endless.get(timeout=20) == str(path)


def left() -> tuple[set[str], set[str], int, int, int]:
    """Calls in the plane and in its scheduler; who waits for them, tasks on the library's loop, what callers await."""
    plane: Any = _client.current_client()._connection._plane  # type: ignore[union-attr]
    tasks = [task for task in asyncio.all_tasks(library().loop) if not task.done()]
    waiters = sum(len(call.waiters) for call in list(plane.calls.values()))
    return set(plane.calls), set(plane.scheduler.calls), waiters, len(tasks), len(library()._awaited)


async def run_for(body: Callable[[], Awaitable[Any]], turns: int) -> bool:
    """Cancels the body after so many turns of the loop; True if it had ended by itself."""
    task = asyncio.ensure_future(body())
    for _ in range(turns):
        if task.done():
            break
        await asyncio.sleep(0)
    ended = task.done()
    task.cancel()
    try:
        await asyncio.wait_for(task, 20)
    except asyncio.CancelledError:
        assert not ended
    return ended


@pytest.mark.parametrize("name", NAMES)
async def test_cancelled_at_any_await(cases: Cases, name: str) -> None:
    body = cases.bodies()[name]
    await asyncio.to_thread(wait_until, lambda: left()[2:] == (0, 0, 0), "rest")
    before = left()
    turns = 0
    while not await run_for(body, turns) and turns < TURNS:
        turns += 1 if turns < STRIDE_FROM else turns // 6
    assert turns > 1
    await asyncio.to_thread(wait_until, lambda: left() == before, f"{before} again, instead of {left()},")
    assert await same.remote.aio(1) == 1


def test_every_public_coroutine_has_a_case() -> None:
    names = {
        f"{cls.__name__}.{name}"
        for cls in (Function, FunctionCall)
        for name in vars(cls)
        if not name.startswith("_") and hasattr(getattr(cls, name), "aio")
    }
    # These want a terminal, a server and a web function; `shell` is interrupted by tests of its own.
    names -= {"Function.shell", "Function.lookup", "Function.get_web_url"}
    assert names | {"gather"} == {name.split(",")[0] for name in NAMES}


async def test_starting_and_ending_an_app() -> None:
    from tests.client.functions import from_the_other

    async def body() -> None:
        async with other.run.aio():
            await from_the_other.remote.aio(0)

    turns = 0
    while not await run_for(body, turns) and turns < TURNS:
        turns += 1 + turns // 4
        assert other.app_id is None
    async with other.run.aio():
        assert await from_the_other.remote.aio(0) == 0
