"""A task that is cancelled at any of its awaits leaves no call behind and the app usable."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import modal_lite
from tests.client.conftest import settled
from tests.client.functions import gate, hang, hang_generator, same

ITERATIONS = [*range(12), 15, 20, 30, 60]
"""Turns of the loop until the task is cancelled: from before its first step until it waits for the container."""


async def _remote() -> Any:
    return await hang.remote.aio()


async def _map() -> Any:
    return [x async for x in hang.map.aio([""] * 5)]


async def _remote_gen() -> Any:
    return [x async for x in hang_generator.remote_gen.aio(3)]


async def _for_each() -> Any:
    return await hang.for_each.aio([""] * 5)


BODIES: dict[str, tuple[Callable[[], Awaitable[Any]], Any]] = {
    "remote": (_remote, hang),
    "map": (_map, hang),
    "for_each": (_for_each, hang),
    "remote_gen": (_remote_gen, hang_generator),
}


async def cancelled_after(body: Callable[[], Awaitable[Any]], turns: int) -> Any:
    """What the task gave if it ended before, else None."""
    task = asyncio.ensure_future(body())
    for _ in range(turns):
        await asyncio.sleep(0)
    # A turn of this loop is much shorter than an answer of the library's: the later ones wait for a bit of that, too.
    if turns >= 15:
        await asyncio.sleep(turns / 1000)
    task.cancel()
    try:
        return await asyncio.wait_for(task, 10)
    except asyncio.CancelledError:
        return None


@pytest.mark.parametrize("name", sorted(BODIES))
async def test_cancelled_at_any_await(run: Any, name: str) -> None:
    body, function = BODIES[name]
    for turns in ITERATIONS:
        assert await cancelled_after(body, turns) is None
    await asyncio.to_thread(settled, function)
    assert await same.remote.aio(1) == 1


async def test_a_cancelled_spawn_leaves_a_call_or_none(run: Any) -> None:
    for turns in ITERATIONS:
        call = await cancelled_after(lambda: same.spawn.aio(7), turns)
        assert call is None or await call.get.aio() == 7
    await asyncio.to_thread(settled, same)


async def test_a_cancelled_spawn_map_leaves_nothing_running(run: Any) -> None:
    for turns in ITERATIONS:
        call = await cancelled_after(lambda: hang.spawn_map.aio([""] * 100), turns)
        if call is not None:
            await call.cancel.aio()
    await asyncio.to_thread(settled, hang)
    assert await same.remote.aio(1) == 1


@pytest.mark.parametrize("how", ["get", "gather", "iter"])
async def test_cancelled_waiting_leaves_the_call_readable(run: Any, tmp_path: Path, how: str) -> None:
    path = str(tmp_path / "gate")
    call = await gate.spawn.aio(path)

    async def body() -> Any:
        match how:
            case "get":
                return await call.get.aio()
            case "gather":
                return await modal_lite.gather.aio(call, call)
            case "iter":
                return [x async for x in call.iter.aio()]

    for turns in ITERATIONS:
        assert await cancelled_after(body, turns) is None
    Path(path).touch()
    assert await call.get.aio(timeout=20) == path
    assert await body() in (path, [path], [path, path])


async def test_500_calls_cancelled_together(run: Any) -> None:
    tasks = [asyncio.ensure_future(hang.remote.aio()) for _ in range(500)]
    while (await hang.get_current_stats.aio()).backlog < 400:
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    await asyncio.to_thread(settled, hang)
    assert await same.remote.aio(1) == 1


async def test_cancelling_start_and_end_of_an_app() -> None:
    from tests.client.functions import from_the_other, other

    for turns in range(10):

        async def body() -> None:
            async with other.run.aio():
                await asyncio.sleep(30)

        await cancelled_after(body, turns)
        assert other.app_id is None
    async with other.run.aio():
        assert await from_the_other.remote.aio(0) == 0
