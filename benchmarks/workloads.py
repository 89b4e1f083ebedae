"""The workloads: what is timed, and what the answers must be. Warm-up and the check of the answers are not timed."""

import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.functions import identity, snooze
from benchmarks.peers.base import WORKERS, Function, Peer

ROOT = Path(__file__).parents[1]
MIB = 1 << 20
WARM_CALLS = 200
REPEATS = 5
"""Of what is over in a moment: bursts of awaited calls, cold starts."""


@dataclass
class Measured:
    """One measurement."""

    value: float
    """In the workload's unit."""
    n: int
    """Inputs, calls or values behind it."""
    more: dict[str, float] = field(default_factory=dict)
    """Other numbers of the same measurement."""


@dataclass(frozen=True)
class Workload:
    """A row of the comparison. `measure` gets the peer, open, and the number of inputs."""

    title: str
    unit: str
    more_is_better: bool
    size: int
    needs: str
    """The method of Peer without which a peer is left out."""
    measure: Callable[[Any, int], Measured]
    compared: bool = True
    """False where a ratio would say nothing."""

    def suits(self, peer: type[Peer]) -> bool:
        """Can the peer do this?"""
        return getattr(peer, self.needs) is not None


def check(right: bool, what: str) -> None:
    """Raises AssertionError for a wrong answer, also under `python -O`."""
    if not right:
        raise AssertionError(f"wrong answer: {what}")


# --- maps ------------------------------------------------------------------------------------------------------------


def timed_map(peer: Any, function: Function, items: Sequence[Any], warm: Sequence[Any]) -> float:
    """Seconds of a whole map."""
    peer.map(function, warm)
    start = time.perf_counter()
    results = peer.map(function, items)
    seconds = time.perf_counter() - start
    check(results == list(items), "not the inputs in their order")
    return seconds


def noop_map(peer: Any, n: int) -> Measured:
    return Measured(n / timed_map(peer, identity, range(n), range(max(10, n // 10))), n)


def noop_map_aio(peer: Any, n: int) -> Measured:
    async def mapped(count: int) -> list[int]:
        return [value async for value in peer.amap(identity, range(count))]

    async def measure() -> float:
        await mapped(max(10, n // 10))
        start = time.perf_counter()
        results = await mapped(n)
        seconds = time.perf_counter() - start
        check(results == list(range(n)), "not the inputs in their order")
        return seconds

    return Measured(n / asyncio.run(measure()), n)


def blobs(n: int, size: int) -> list[bytes]:
    """Distinct inputs of the same size that do not compress."""
    rest = os.urandom(size - 8)
    return [index.to_bytes(8) + rest for index in range(n)]


def map_1kib(peer: Any, n: int) -> Measured:
    items = blobs(n, 1 << 10)
    return Measured(n / timed_map(peer, identity, items, items[: max(10, n // 10)]), n)


def map_1mib(peer: Any, n: int) -> Measured:
    items = blobs(n, MIB)
    seconds = timed_map(peer, identity, items, items[: max(4, n // 10)])
    return Measured(n / seconds, n, {"MiB/s there and back": 2 * n / seconds})


def efficiency(peer: Any, durations: Sequence[float]) -> Measured:
    """The part of the two workers' time that went into the work asked for."""
    seconds = timed_map(peer, snooze, durations, [0.01] * 20)
    return Measured(100 * sum(durations) / WORKERS / seconds, len(durations), {"seconds": seconds})


def even_sleep(peer: Any, n: int) -> Measured:
    return efficiency(peer, [0.005] * n)


def uneven_sleep(peer: Any, n: int) -> Measured:
    durations = [0.1] * (n // 50) + [0.001] * (n - n // 50)
    random.Random(0).shuffle(durations)
    return efficiency(peer, durations)


# --- single calls ----------------------------------------------------------------------------------------------------


def percentiles(seconds: list[float]) -> Measured:
    """The median in microseconds, with the 99th percentile beside it."""
    ordered = sorted(seconds)
    p99 = ordered[len(ordered) * 99 // 100]
    return Measured(statistics.median(ordered) * 1e6, len(ordered), {"p99 µs": p99 * 1e6})


def one_blocking_call(peer: Any, n: int) -> Measured:
    for index in range(min(n, WARM_CALLS)):
        peer.call(identity, index)
    times = []
    for index in range(n):
        start = time.perf_counter()
        result = peer.call(identity, index)
        times.append(time.perf_counter() - start)
        check(result == index, "not the input")
    return percentiles(times)


def one_awaited_call(peer: Any, n: int) -> Measured:
    async def measure() -> list[float]:
        for index in range(min(n, WARM_CALLS)):
            await peer.acall(identity, index)
        times = []
        for index in range(n):
            start = time.perf_counter()
            result = await peer.acall(identity, index)
            times.append(time.perf_counter() - start)
            check(result == index, "not the input")
        return times

    return percentiles(asyncio.run(measure()))


def awaited_1000(peer: Any, n: int) -> Measured:
    async def burst() -> float:
        start = time.perf_counter()
        results = await asyncio.gather(*(peer.acall(identity, index) for index in range(n)))
        seconds = time.perf_counter() - start
        check(results == list(range(n)), "not the inputs in their order")
        return seconds

    async def measure() -> float:
        await burst()
        return statistics.median([await burst() for _ in range(REPEATS)])

    return Measured(n / asyncio.run(measure()), n)


# --- memory ----------------------------------------------------------------------------------------------------------


def resident() -> int:
    """Bytes in memory, of this process and all that it started."""
    me = psutil.Process()
    return sum(process.memory_info().rss for process in [me, *me.children(recursive=True)])


def growth(start: Callable[[int], Iterator[int]], n: int) -> Measured:
    """How much more memory `n` values take at the highest than a tenth of them left behind, in MiB."""
    check(list(start(n // 10)) == list(range(n // 10)), "not the values in their order")
    before = highest = resident()
    began = time.perf_counter()
    count = 0
    for value in start(n):
        check(value == count, "not the values in their order")
        count += 1
        if count % (n // 100) == 0:
            highest = max(highest, resident())
    check(count == n, f"{count} values instead of {n}")
    seconds = time.perf_counter() - began
    return Measured((highest - before) / MIB, n, {"MiB at the highest": highest / MIB, "values/s": n / seconds})


def generator_300k(peer: Any, n: int) -> Measured:
    return growth(lambda count: peer.stream(identity, iter(range(count))), n)


def yielded_300k(peer: Any, n: int) -> Measured:
    return growth(peer.generate, n)


# --- cold start ------------------------------------------------------------------------------------------------------


def cold_start(peer: type[Peer], n: int) -> Measured:
    """Here the peer is the class: what it starts, it starts in a fresh interpreter."""
    assert peer.cold_script is not None
    # A program in another folder finds the modal_lite beside which the benchmarks lie, as these do.
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    whole, first = [], []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "cold.py"
        script.write_text(peer.cold_script)
        for _ in range(n):
            start = time.perf_counter()
            with subprocess.Popen(
                [sys.executable, str(script)],
                env={**os.environ, "PYTHONPATH": path},
                stdout=subprocess.PIPE,
                text=True,
            ) as process:
                assert process.stdout is not None
                answer = process.stdout.readline()
                first.append(time.perf_counter() - start)
                process.wait()
                whole.append(time.perf_counter() - start)
            check(answer == "42\n" and process.returncode == 0, f"{answer!r}, exit code {process.returncode}")
    return Measured(statistics.median(whole), n, {"first result s": statistics.median(first)})


WORKLOADS = {
    "noop_map": Workload("map of a function that does nothing", "inputs/s", True, 20_000, "map", noop_map),
    "noop_map_aio": Workload("the same, `async for` over `.map.aio`", "inputs/s", True, 20_000, "amap", noop_map_aio),
    "map_1kib": Workload("map over 1 KiB of bytes, returned", "inputs/s", True, 5_000, "map", map_1kib),
    "map_1mib": Workload("map over 1 MiB of bytes, returned", "inputs/s", True, 200, "map", map_1mib),
    "one_blocking_call": Workload("one call, waited for; median", "µs", False, 2_000, "call", one_blocking_call),
    "one_awaited_call": Workload("one call, awaited; median", "µs", False, 2_000, "acall", one_awaited_call),
    "awaited_1000": Workload("calls awaited together", "calls/s", True, 1_000, "acall", awaited_1000),
    "even_sleep": Workload("400 sleeps of 5 ms: worker time used", "%", True, 400, "map", even_sleep),
    "uneven_sleep": Workload(
        "2,000 sleeps of 1 ms, 1 in 50 of 100 ms: worker time used", "%", True, 2_000, "map", uneven_sleep
    ),
    "cold_start": Workload("fresh interpreter to exit, one call", "s", False, REPEATS, "cold_script", cold_start),
    "generator_300k": Workload(
        "memory growth while a generator of 300,000 inputs is mapped",
        "MiB",
        False,
        300_000,
        "stream",
        generator_300k,
        False,
    ),
    "yielded_300k": Workload(
        "memory growth while a function yields 300,000 values", "MiB", False, 300_000, "generate", yielded_300k, False
    ),
}
