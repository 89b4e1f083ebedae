"""Functions whose containers work on several inputs at once; containers import this module."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import modal_lite
from tests.client.functions import CannotPickle, wait_for

app = modal_lite.App("sharing-tests")


def _note(folder: str, name: str) -> None:
    Path(folder, f"{name}-{os.getpid()}-{time.monotonic_ns()}").touch()


def noted(folder: Path, name: str) -> list[int]:
    """The processes in which something of this name was noted, oldest first."""
    found = [path.name.split("-") for path in folder.iterdir() if path.name.startswith(f"{name}-")]
    return [int(pid) for _, pid, _ in sorted(found, key=lambda parts: int(parts[2]))]


@app.function()
def same(x: Any) -> Any:
    return x


def _meet(folder: str, me: int, count: int) -> tuple[int, str | None, str | None]:
    before = modal_lite.current_input_id()
    Path(folder, f"met-{me}").touch()
    for other in range(count):
        wait_for(os.path.join(folder, f"met-{other}"))
    return os.getpid(), before, modal_lite.current_input_id()


@app.function(max_containers=1)
@modal_lite.concurrent(max_inputs=6)
def meet(folder: str, me: int, count: int) -> tuple[int, str | None, str | None]:
    assert threading.current_thread() is not threading.main_thread()
    return _meet(folder, me, count)


@app.function(max_containers=1)
@modal_lite.concurrent(max_inputs=6)
async def async_meet(folder: str, me: int, count: int) -> tuple[int, str | None, str | None]:
    before = modal_lite.current_input_id()
    Path(folder, f"met-{me}").touch()
    while len([name for name in os.listdir(folder) if name.startswith("met-")]) < count:
        await asyncio.sleep(0.005)
    return os.getpid(), before, modal_lite.current_input_id()


_here = 0


@app.function(max_containers=1, timeout=30)
@modal_lite.concurrent(max_inputs=1000)
async def crowd(me: int, count: int) -> int:
    global _here
    _here += 1
    while _here < count:
        await asyncio.sleep(0.05)
    return me


@app.function(max_containers=1, allow_concurrent_inputs=2)
def meet_by_option(folder: str, me: int, count: int) -> tuple[int, str | None, str | None]:
    return _meet(folder, me, count)


@app.function(max_containers=1)
@modal_lite.concurrent(max_inputs=4)
def hold(folder: str, name: str) -> int:
    """Runs until the file `go` appears."""
    _note(folder, name)
    wait_for(os.path.join(folder, "go"))
    return os.getpid()


@app.function(max_containers=1)
@modal_lite.concurrent(max_inputs=4)
def napping_pid(_: object) -> int:
    time.sleep(0.01)
    return os.getpid()


@app.function(max_containers=1)
@modal_lite.concurrent(max_inputs=4)
async def async_hold(folder: str, name: str) -> int:
    _note(folder, name)
    try:
        while not os.path.exists(os.path.join(folder, "go")):
            await asyncio.sleep(0.005)
    except asyncio.CancelledError:
        _note(folder, f"cancelled {name}")
        raise
    return os.getpid()


@app.function(max_containers=1)
@modal_lite.concurrent(max_inputs=4)
def fail_if_odd(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


@app.function(max_containers=1)
@modal_lite.concurrent(max_inputs=4)
def call_another(x: int) -> tuple[str | None, int]:
    return modal_lite.current_input_id(), same.remote(x)


@app.function()
@modal_lite.concurrent(max_inputs=2)
def fibonacci(n: int) -> int:
    return n if n < 2 else sum(fibonacci.map([n - 1, n - 2]))


@app.function(max_containers=1)
@modal_lite.concurrent(max_inputs=4)
def count(n: int) -> Iterator[int]:
    yield from range(n)


@app.function(max_containers=1)
@modal_lite.concurrent(max_inputs=4)
async def async_count(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


@app.function(max_containers=1)
@modal_lite.concurrent(max_inputs=4)
def interrupt_once(folder: str) -> int:
    if not noted(Path(folder), "interrupted"):
        _note(folder, "interrupted")
        raise KeyboardInterrupt
    return os.getpid()


# --- classes: as many inputs as meet hold each other up ---------------------------------------------------------------


@app.cls(max_containers=1)
@modal_lite.concurrent(max_inputs=4)
class AsyncMethods:
    @modal_lite.enter()
    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()

    @modal_lite.method()
    async def meet(self, folder: str, me: int, count: int) -> int:
        assert asyncio.get_running_loop() is self.loop
        Path(folder, f"met-{me}").touch()
        while len([name for name in os.listdir(folder) if name.startswith("met-")]) < count:
            await asyncio.sleep(0.005)
        return os.getpid()

    @modal_lite.method()
    async def hold(self, folder: str, name: str) -> int:
        _note(folder, name)
        while not os.path.exists(os.path.join(folder, "go")):
            await asyncio.sleep(0.005)
        return os.getpid()


@app.cls(max_containers=1)
@modal_lite.concurrent(max_inputs=4)
class PlainMethods:
    @modal_lite.method()
    def meet(self, folder: str, me: int, count: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return _meet(folder, me, count)[0]

    @modal_lite.method()
    def unpicklable(self, count: int) -> Any:
        return CannotPickle()


@app.cls(max_containers=1)
@modal_lite.concurrent(max_inputs=4)
class MixedMethods(AsyncMethods):
    @modal_lite.method()
    def plain_meet(self, folder: str, me: int, count: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return _meet(folder, me, count)[0]

    @modal_lite.method()
    def plain_hold(self, folder: str, name: str) -> int:
        _note(folder, name)
        wait_for(os.path.join(folder, "go"))
        return os.getpid()

    @modal_lite.method()
    def plain_count(self, n: int) -> Iterator[int]:
        yield from range(n)

    @modal_lite.method()
    async def count(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i


@app.cls(max_containers=1)
@modal_lite.concurrent(max_inputs=4)
class AsyncHooks:
    """Its hook leaves something running on the loop, for which the methods' threads leave room."""

    @modal_lite.enter()
    async def start(self) -> None:
        self.ticks = 0
        self.ticking = asyncio.create_task(self.tick())

    async def tick(self) -> None:
        while True:
            self.ticks += 1
            await asyncio.sleep(0.001)

    @modal_lite.method()
    def watch(self) -> int:
        before = self.ticks
        while self.ticks < before + 3:
            time.sleep(0.001)
        return self.ticks - before


@app.cls(max_containers=1)
class BatchedMethod:
    factor: int = modal_lite.parameter(default=1)

    @modal_lite.enter()
    async def start(self) -> None:
        self.offset = 1

    @modal_lite.method()
    @modal_lite.batched(max_batch_size=4, wait_ms=500)
    def scaled(self, xs: list[int]) -> list[tuple[int, int]]:
        assert threading.current_thread() is threading.main_thread()
        return [(x * self.factor + self.offset, len(xs)) for x in xs]


@app.cls(max_containers=1)
class AsyncBatchedMethod:
    @modal_lite.enter()
    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()

    @modal_lite.batched(max_batch_size=4, wait_ms=500)
    async def sized(self, xs: list[int]) -> list[int]:
        assert asyncio.get_running_loop() is self.loop
        return [len(xs) for _ in xs]


# --- batches ---------------------------------------------------------------------------------------------------------


@app.function(max_containers=1)
@modal_lite.batched(max_batch_size=4, wait_ms=500)
def square(xs: list[int]) -> list[tuple[int, int]]:
    assert threading.current_thread() is threading.main_thread()
    return [(x * x, len(xs)) for x in xs]


@app.function(max_containers=1)
@modal_lite.batched(max_batch_size=4, wait_ms=500)
async def async_add(a: list[int], /, b: list[int], *, c: list[int]) -> list[int]:
    await asyncio.sleep(0)
    return [x + y + z for x, y, z in zip(a, b, c, strict=True)]


@app.function(max_containers=1)
@modal_lite.batched(max_batch_size=1, wait_ms=0)
def one_by_one(xs: list[int]) -> list[int]:
    return [len(xs) for _ in xs]


@app.function(max_containers=1)
@modal_lite.batched(max_batch_size=3, wait_ms=500)
def answer(xs: list[Any]) -> Any:
    """Does what the first input says."""
    match xs[0]:
        case "short":
            return xs[:-1]
        case "no list":
            return tuple(xs)
        case "fail":
            raise ValueError(f"batch of {len(xs)}")
        case "one unpicklable":
            return [1, CannotPickle(), 3]
    return [modal_lite.current_input_id()] * len(xs)


@app.function(max_containers=1, retries=1)
@modal_lite.batched(max_batch_size=2, wait_ms=500)
def fail_once(folders: list[str], names: list[str]) -> list[int]:
    (folder,) = set(folders)
    _note(folder, "try")
    if len(noted(Path(folder), "try")) == 1:
        raise ValueError("the first time")
    return [len(names)] * len(names)


def _hold_batch(folders: list[str]) -> None:
    folder = folders[0]
    _note(folder, "batch")
    try:
        wait_for(os.path.join(folder, "go"))
    except BaseException as error:
        _note(folder, type(error).__name__)
        raise


@app.function(max_containers=1)
@modal_lite.batched(max_batch_size=3, wait_ms=1_000)
def hold_batch(folders: list[str]) -> list[int]:
    _hold_batch(folders)
    return [os.getpid()] * len(folders)


@app.function(max_containers=1)
@modal_lite.batched(max_batch_size=3, wait_ms=1_000)
async def async_hold_batch(folders: list[str]) -> list[int]:
    folder = folders[0]
    _note(folder, "batch")
    try:
        while not os.path.exists(os.path.join(folder, "go")):
            await asyncio.sleep(0.005)
    except BaseException as error:
        _note(folder, type(error).__name__)
        raise
    return [os.getpid()] * len(folders)


@app.function(max_containers=1)
@modal_lite.batched(max_batch_size=2, wait_ms=200)
def die_once(folders: list[str]) -> list[int]:
    folder = folders[0]
    _note(folder, "batch")
    if len(noted(Path(folder), "batch")) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return [os.getpid()] * len(folders)
