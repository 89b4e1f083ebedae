"""What modal_lite is loaded with. Each case opens the app, checks every result, and tells how long its parts took.

`benchmarks.load` runs each in a process of its own, and watches the memory of it and its containers meanwhile.
"""

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import modal_lite as modal
from benchmarks.memory import proportional_mib
from benchmarks.workload import check

SPAWNERS = 50
CONTAINERS = 64
FUNCTIONS = 200
AT_ONCE = 1000
ITEM = 1 << 20

Figures = dict[str, float]
"""Numbers by what they count."""

app = modal.App("load")
many_functions = modal.App("load-of-functions")


@app.function(max_containers=1)
def held(gate: str, number: int) -> int:
    """Waits until the gate is there."""
    while not os.path.exists(gate):
        time.sleep(0.02)
    return number


@app.function(max_containers=1, timeout=120)
@modal.concurrent(max_inputs=AT_ONCE)
async def pause(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return os.getpid()


@app.function(max_containers=2)
def stamped(item: bytes) -> bytes:
    return item


@app.function(max_containers=CONTAINERS)
def held_pid(gate: str, number: int) -> int:
    while not os.path.exists(gate):
        time.sleep(0.02)
    return os.getpid()


@app.function(max_containers=CONTAINERS)
def echo(number: int) -> int:
    return number


def _numbered(own: int) -> Callable[[int], int]:
    def add(number: int) -> int:
        return own + number

    return add


NUMBERED = [
    many_functions.function(name=f"add_{i}", serialized=True, max_containers=1)(_numbered(i)) for i in range(FUNCTIONS)
]


class Parts:
    """How long the parts of a case took."""

    def __init__(self) -> None:
        self.figures: Figures = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Takes the time of what is done inside."""
        start = time.perf_counter()
        yield
        self.figures[f"s {name}"] = time.perf_counter() - start


@contextmanager
def closed_gate() -> Iterator[Path]:
    """A path at which nothing is; whoever opens the gate makes a file of it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "open"


def spawned_calls(n: int) -> Figures:
    """Calls that wait, spawned one by one by 50 tasks; then all of them run, and are read."""
    parts = Parts()

    async def spawn_all(gate: str) -> list[modal.FunctionCall[int]]:
        calls: list[modal.FunctionCall[int] | None] = [None] * n
        numbers = iter(range(n))

        async def spawner() -> None:
            for number in numbers:
                calls[number] = await held.spawn.aio(gate, number)

        async with asyncio.TaskGroup() as group:
            for _ in range(SPAWNERS):
                group.create_task(spawner())
        return [call for call in calls if call is not None]

    with app.run(), closed_gate() as gate:
        before = proportional_mib(os.getpid())
        with parts.part("to spawn"):
            calls = asyncio.run(spawn_all(str(gate)))
        parts.figures["KiB a waiting call"] = 1024 * (proportional_mib(os.getpid()) - before) / n
        check(held.get_current_stats().backlog > n - 200, "the calls wait")
        with parts.part("to run and read"):
            gate.touch()
            results = modal.FunctionCall.gather(*calls)
    check(results == list(range(n)), "the results of all the calls, in their order")
    return parts.figures


def spawned_map(n: int) -> Figures:
    """The same, as the inputs of one call."""
    parts = Parts()
    with app.run(), closed_gate() as gate:
        before = proportional_mib(os.getpid())
        with parts.part("to spawn"):
            call = held.spawn_map([str(gate)] * n, range(n))
        parts.figures["KiB a waiting input"] = 1024 * (proportional_mib(os.getpid()) - before) / n
        check(held.get_current_stats().backlog > n - 2000, "the inputs wait")
        with parts.part("to run and read"):
            gate.touch()
            results = list(call.iter())
    check(results == list(range(n)), "the results of all the inputs, in their order")
    return parts.figures


def read_by_index(n: int) -> Figures:
    """The results of one spawned map, each awaited by a task of its own while they come."""
    parts = Parts()

    async def read() -> list[int]:
        with closed_gate() as gate:
            call = await held.spawn_map.aio([str(gate)] * n, range(n))
            async with asyncio.TaskGroup() as group:
                reads = [group.create_task(call.get.aio(index=i)) for i in range(n)]
                await asyncio.sleep(0)
                gate.touch()
        return [task.result() for task in reads]

    with app.run(), parts.part("to spawn and read"):
        results = asyncio.run(read())
    check(results == list(range(n)), "each result for the task that waits for it")
    return parts.figures


def concurrent_inputs(n: int) -> Figures:
    """Asynchronous inputs of half a second, 1,000 of them at a time in the one container."""
    parts = Parts()
    with app.run():
        pid = pause.remote(0)
        with parts.part("in all"):
            pids = list(pause.map([0.5] * n))
    check(pids == [pid] * n, "all of them ran in the one container")
    ideal = 0.5 * -(-n // AT_ONCE)
    parts.figures["times the ideal"] = parts.figures["s in all"] / ideal
    return parts.figures


def large_items(n: int) -> Figures:
    """Items of 1 MiB through two containers and back, taken as they come and dropped."""
    parts = Parts()
    rest = os.urandom(ITEM - 8)
    wanted = hashlib.sha256(rest).digest()
    right = 0
    with app.run():
        check(list(stamped.map([b"0" * ITEM] * 8)) == [b"0" * ITEM] * 8, "the first items")
        with parts.part("in all"):
            for number, item in enumerate(stamped.map(number.to_bytes(8) + rest for number in range(n))):
                right += item[:8] == number.to_bytes(8) and len(item) == ITEM
                if number % 1000 == 0:
                    check(hashlib.sha256(memoryview(item)[8:]).digest() == wanted, f"the bytes of item {number}")
    check(right == n, "every item, in its order")
    parts.figures["MiB/s there and back"] = 2 * n / parts.figures["s in all"]
    return parts.figures


def functions(n: int) -> Figures:
    """Functions of one app: opened, the first call of each, then a call of all at once, then the end."""
    parts = Parts()
    called = NUMBERED[:n]
    running = many_functions.run()
    with parts.part("to open"):
        running.__enter__()
    try:
        with parts.part("for the first call of each, one after the other"):
            first = [function.remote(1) for function in called]
        with parts.part("for a call of all at once"):
            second = modal.FunctionCall.gather(*[function.spawn(2) for function in called])
    finally:
        with parts.part("to end"):
            running.__exit__(None, None, None)
    check(first == [i + 1 for i in range(n)], "the first results")
    check(second == [i + 2 for i in range(n)], "the second results")
    parts.figures["ms a first call"] = 1000 * parts.figures["s for the first call of each, one after the other"] / n
    return parts.figures


def containers(n: int) -> Figures:
    """Containers at once, started, each with an input in hand; then 100 echoes for each, by another function."""
    parts = Parts()
    running = app.run()
    with closed_gate() as gate:
        running.__enter__()
        try:
            with parts.part("until all have an input"):
                call = held_pid.spawn_map([str(gate)] * n, range(n))
                while held_pid.get_current_stats().num_running_inputs < n:
                    time.sleep(0.01)
            gate.touch()
            pids = set(call.iter())
            with parts.part("for 100 echoes for each"):
                echo.update_autoscaler(min_containers=n)
                while echo.get_current_stats().num_total_runners < n:
                    time.sleep(0.01)
                results = list(echo.map(range(100 * n)))
        finally:
            with parts.part("to end"):
                running.__exit__(None, None, None)
    check(len(pids) == n, "each input had a process of its own")
    check(results == list(range(100 * n)), "the echoes, in their order")
    return parts.figures


CASES: dict[str, tuple[Callable[[int], Figures], int]] = {
    "spawned_calls": (spawned_calls, 100_000),
    "spawned_map": (spawned_map, 100_000),
    "read_by_index": (read_by_index, 10_000),
    "concurrent_inputs": (concurrent_inputs, 10_000),
    "large_items": (large_items, 10_000),
    "functions": (functions, FUNCTIONS),
    "containers": (containers, CONTAINERS),
}
"""Name: what is done, and with how many."""
