"""The app of the tests of Dicts and Queues; containers import this module."""

import asyncio
import time
from typing import Any

import modal_lite

app = modal_lite.App("shared-object-tests")


@app.function()
def change(shared: Any, key: Any, value: Any) -> Any:
    """Sets a value and returns what was there before."""
    before = shared.get(key)
    shared[key] = value
    return before, type(shared).__module__


@app.function()
def named(name: str, key: str) -> Any:
    return modal_lite.Dict.from_name(name, create_if_missing=True).get(key)


@app.function()
async def await_everything(shared: Any, queue: Any) -> list[Any]:
    await shared.put.aio("a", 1)
    await queue.put_many.aio([1, 2])
    keys = [key async for key in shared.keys.aio()]
    return [await shared.get.aio("a"), keys, [v async for v in queue.iterate.aio()], await queue.get.aio()]


@app.function()
def take(queue: Any, count: int, timeout: float | None = None) -> list[Any]:
    return [queue.get(timeout=timeout) for _ in range(count)]


@app.function(max_containers=1)
def take_and_tell(queue: Any, told: str) -> Any:
    """Says that it is about to wait."""
    open(told, "w").close()
    return queue.get()


@app.function(max_containers=2)
def echo(questions: Any, answers: Any, count: int) -> None:
    for _ in range(count):
        answers.put(questions.get())


@app.function(max_containers=1)
async def takes_that_are_cancelled(queue: Any, rounds: int) -> list[Any]:
    """Begins many gets and cancels them after a while; returns what those got that were done."""
    got = []
    for n in range(rounds):
        task = asyncio.get_running_loop().create_task(queue.get.aio())
        await asyncio.sleep(0.0005 * (n % 5))
        task.cancel()
        try:
            got.append(await task)
        except asyncio.CancelledError:
            pass
    return got


@app.function(max_containers=1)
def open_and_stay(box: Any) -> None:
    """Makes an ephemeral Dict and tells of it, then hangs."""
    with modal_lite.Dict.ephemeral() as shared:
        box["left"] = shared
        time.sleep(600)
