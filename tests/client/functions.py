"""The apps of these tests; containers import this module."""

import asyncio
import multiprocessing
import os
import pickle
import random
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import modal_lite

app = modal_lite.App("client-tests")
other = modal_lite.App("client-tests-2")


class CannotPickle:
    """Refuses to be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("made not to be pickled")


def _revive_at_home() -> Any:
    if modal_lite.is_local():
        raise ValueError("made not to be unpickled here")
    return CannotUnpickleHere()


class CannotUnpickleHere:
    """Can be pickled, and unpickled in containers only."""

    def __reduce__(self) -> Any:
        return _revive_at_home, ()


def wait_for(path: str, seconds: float = 30.0) -> None:
    """Blocks until the file exists."""
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise AssertionError(f"{path} did not appear")
        time.sleep(0.005)


@app.function()
def same(x: Any) -> Any:
    """Returns its argument."""
    return x


@app.function()
def add(x: int, y: int = 0, *, z: int = 0) -> int:
    return x + y + z


@app.function()
async def async_same(x: Any) -> Any:
    await asyncio.sleep(0)
    return x


@app.function(max_containers=2)
def jitter(x: int) -> int:
    time.sleep(random.Random(x).random() * 0.01)
    return x


@app.function(max_containers=2)
def fail_if_multiple_of(x: int, n: int = 7) -> int:
    if x and x % n == 0:
        raise ValueError(f"bad {x}")
    return x


@app.function(max_containers=2)
def odd_results(x: int) -> Any:
    """Every hundredth result cannot be pickled, every hundredth and first not be unpickled by the caller."""
    if x % 100 == 50:
        return CannotPickle()
    if x % 100 == 51:
        return CannotUnpickleHere()
    return x


@app.function(max_containers=4)
def gate(path: str) -> str:
    """Creates path + ".started", returns once the file exists."""
    Path(path + ".started").touch()
    wait_for(path)
    return path


@app.function(max_containers=2)
def hang(path: str = "") -> None:
    """Runs until it is interrupted; says so in the file."""
    try:
        if path:
            Path(path + ".started").touch()
        time.sleep(60)
    finally:
        if path:
            Path(path + ".ended").touch()


@app.function(max_containers=2)
def hang_unless_zero(x: int, path: str) -> int:
    return 0 if x == 0 else hang.local(path)


@app.function(max_containers=2)
def hang_generator(count: int, path: str = "") -> Iterator[int]:
    try:
        yield from range(count)
        time.sleep(60)
    finally:
        if path:
            Path(path + ".ended").touch()


@app.function()
def count_to(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
async def async_count_to(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


@app.function()
def yield_then_fail(n: int) -> Iterator[int]:
    yield from range(n)
    raise LookupError("after the values")


@app.function()
def blob(size: int) -> bytes:
    return bytes(size)


class Memory:
    """What numpy arrays do: pickles to a buffer that travels beside the pickle stream, and is unpickled in place."""

    def __init__(self, buffer: Any) -> None:
        self.view = memoryview(buffer)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Memory, (pickle.PickleBuffer(self.view),)


@app.function()
def memory(size: int) -> Memory:
    return Memory(bytearray(size))


@app.function()
def pid(_: Any = None) -> int:
    return os.getpid()


@app.function(
    env={"FROM_ENV": "env", "BOTH": "env"}, secrets=[modal_lite.Secret.from_dict({"BOTH": "secret", "ONE": "1"})]
)
def variables() -> dict[str, str]:
    return dict(os.environ)


@app.function()
def sum_of_map(n: int) -> int:
    return sum(same.map(range(n)))


@app.function()
def to_the_other(x: int) -> int:
    return 10 * from_the_other.remote(x)


@other.function()
def from_the_other(x: int) -> int:
    return x + (to_the_other.remote(x - 1) if x > 0 else 0)


@app.function()
def run_an_app() -> None:
    with other.run():
        pass


@app.function()
def blame_me() -> None:
    raise RuntimeError("blame")


@app.function(retries=modal_lite.Retries(max_retries=3, initial_delay=60.0))
def retried(path: str) -> None:
    """Fails; the next attempt is far away."""
    with open(path, "a") as file:
        file.write("x")
    raise ValueError("try again")


def _call(_: object) -> str:
    try:
        return f"result: {same.remote(1)}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


@app.function(max_containers=1)
def call_in_fork(before: bool) -> str:
    """What a fork of the container gets when it calls a function, after the container has called one, or not."""
    if before:
        same.remote(1)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.map_async(_call, [0]).get(15)[0]


@app.function(max_containers=2, retries=modal_lite.Retries(max_retries=2, initial_delay=0.0), timeout=1.0)
def attempt(folder: str, name: str, fates: str) -> str:
    """What each attempt of the input of this name does: `r`aise, `h`ang, `d`ie; any other is its result."""
    path = Path(folder, name)
    with path.open("a") as file:
        file.write("x")
    number = path.stat().st_size
    fate = fates[number - 1]
    if fate == "r":
        raise ValueError(f"attempt {number}")
    while fate == "h":
        time.sleep(1)
    if fate == "d":
        os._exit(3)
    return fate
