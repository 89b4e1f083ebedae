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
from pathlib import Path
from typing import Any

import psutil

from benchmarks.functions import five_ms, identity, snooze
from benchmarks.peers.base import WORKERS, Function, Peer
from benchmarks.peers.starting import SETTLE
from benchmarks.workload import BEST, Goal, Measured, Workload, check

ROOT = Path(__file__).parents[1]
MIB = 1 << 20
WARM_CALLS = 200
REPEATS = 5
"""Of what is over in a moment: bursts of awaited calls, cold starts, maps."""
REPEATED_BELOW = 0.5
"""Seconds of measurement from which on a map is not repeated."""
CONTAINERS = (2, 4, 8, 16)
LINEAR = "% of linear"
GROWTH = "MiB more"
OF_20K = "% of 20 k's rate"


# --- maps ------------------------------------------------------------------------------------------------------------


def timed_map(peer: Any, function: Function, items: Sequence[Any], warm: Sequence[Any]) -> float:
    """Seconds of a whole map; the median of several that are over in a moment."""
    peer.map(function, warm)
    expected = list(items)
    seconds: list[float] = []
    while not seconds or (len(seconds) < REPEATS and sum(seconds) < REPEATED_BELOW):
        start = time.perf_counter()
        results = peer.map(function, items)
        seconds.append(time.perf_counter() - start)
        check(results == expected, "not the inputs in their order")
        del results  # or the next ones would find no memory that has been used before
    return statistics.median(seconds)


def noop_map(peer: Any, n: int) -> Measured:
    return Measured(n / timed_map(peer, identity, range(n), range(max(10, n // 10))), n)


def noop_map_aio(peer: Any, n: int) -> Measured:
    async def mapped(count: int) -> list[int]:
        return [value async for value in peer.amap(identity, range(count))]

    async def once() -> float:
        start = time.perf_counter()
        results = await mapped(n)
        seconds = time.perf_counter() - start
        check(results == list(range(n)), "not the inputs in their order")
        return seconds

    async def measure() -> float:
        await mapped(max(10, n // 10))
        return statistics.median([await once() for _ in range(REPEATS)])

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


def arrays_8mib(peer: Any, n: int) -> Measured:
    import numpy  # here, not above: it would show in the cold starts

    items = [numpy.full(MIB, index, dtype=numpy.float64) for index in range(n)]
    # Results are dropped as they come, where that can be done: kept, they would measure the system's supply of memory.
    results = peer.stream or peer.map
    for _ in results(identity, items[: max(2, n // 10)]):
        pass
    count = 0
    start = time.perf_counter()
    for result in results(identity, items):
        check(result.shape == (MIB,) and result[0] == result[-1] == count, "not the arrays in their order")
        count += 1
    seconds = time.perf_counter() - start
    check(count == n, f"{count} arrays instead of {n}")
    return Measured(n / seconds, n, {"MiB/s there and back": 2 * n * 8 / seconds})


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


def containers(peer: type[Peer], n: int) -> Measured:
    """The more there are, the more inputs they get: the ideal takes as long with any number of them."""
    rates = {}
    for workers in CONTAINERS:
        with peer(workers) as opened:
            rates[workers] = n * workers / timed_map(opened, snooze, [0.01] * n * workers, [0.01] * 20 * workers)
    linear = min(rates[workers] / workers for workers in CONTAINERS) / (rates[CONTAINERS[0]] / CONTAINERS[0])
    each = {f"/s with {workers}": rate for workers, rate in rates.items()}
    return Measured(rates[CONTAINERS[-1]], n * CONTAINERS[-1], {**each, LINEAR: 100 * linear})


def batched_5ms(peer: Any, n: int) -> Measured:
    def run(count: int) -> float:
        start = time.perf_counter()
        results = peer.batched(five_ms, range(count))
        seconds = time.perf_counter() - start
        check(results == list(range(count)), "not the inputs in their order")
        return seconds

    run(max(10, n // 10))
    return Measured(n / statistics.median([run(n) for _ in range(REPEATS)]), n)


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


# --- long streams ----------------------------------------------------------------------------------------------------


def seconds_of(stream: Iterator[int], n: int, at_times: Callable[[], None] = lambda: None) -> float:
    """Seconds until all of 0 … n-1 have come; `at_times` is called a hundred times meanwhile."""
    every = max(1, n // 100)
    count = 0
    start = time.perf_counter()
    for value in stream:
        if value != count:
            break
        count += 1
        if count % every == 0:
            at_times()
    check(count == n, f"{count} values in their order instead of {n}")
    return time.perf_counter() - start


def streamed(start: Callable[[int], Iterator[int]], n: int) -> Measured:
    """The rate of `n` values, and how much more memory they take at the highest than a tenth of them left behind."""
    seconds_of(start(n // 10), n // 10)
    me = psutil.Process()
    processes = [me, *me.children(recursive=True)]
    resident = [sum(process.memory_info().rss for process in processes)]
    seconds = seconds_of(start(n), n, lambda: resident.append(sum(p.memory_info().rss for p in processes)))
    highest = max(resident)
    return Measured(n / seconds, n, {GROWTH: (highest - resident[0]) / MIB, "MiB at the highest": highest / MIB})


def generator_1m(peer: Any, n: int) -> Measured:
    def start(count: int) -> Iterator[int]:
        return iter(peer.stream(identity, iter(range(count))))

    measured = streamed(start, n)
    few = max(1, n // 50)
    rate_of_few = few / statistics.median(seconds_of(start(few), few) for _ in range(REPEATS))
    measured.more[OF_20K] = 100 * measured.value / rate_of_few
    return measured


def yielded_300k(peer: Any, n: int) -> Measured:
    return streamed(peer.generate, n)


# --- cold start ------------------------------------------------------------------------------------------------------


def our_path() -> str:
    """With it, a program in another folder finds the modal_lite beside which the benchmarks lie, as these do."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def cold_start(peer: type[Peer], n: int) -> Measured:
    """Here the peer is the class: what it starts, it starts in a fresh interpreter."""
    assert peer.cold_script is not None
    whole, first = [], []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "cold.py"
        script.write_text(peer.cold_script)
        for _ in range(n):
            start = time.perf_counter()
            with subprocess.Popen(
                [sys.executable, str(script)],
                env={**os.environ, "PYTHONPATH": our_path()},
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


# --- starts of a container -------------------------------------------------------------------------------------------


def started(peer: type[Peer], n: int, body: str) -> Measured:
    """Milliseconds from before a process is started until it has answered; `body` is what its function does first."""
    assert peer.start_script is not None
    text = peer.start_script.replace("BODY", body).replace("TIMES", str(n)).replace("SETTLE", str(SETTLE))
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "starts.py"
        script.write_text(text)
        done = subprocess.run(
            [sys.executable, str(script)],
            env={**os.environ, "PYTHONPATH": our_path()},
            stdout=subprocess.PIPE,
            text=True,
        )
    check(done.returncode == 0, f"exit code {done.returncode}")
    milliseconds = sorted(1e3 * float(line) for line in done.stdout.split())
    check(len(milliseconds) == n, f"{len(milliseconds)} starts instead of {n}")
    return Measured(statistics.median(milliseconds), n, {"ms at best": milliseconds[0]})


def start_noop(peer: type[Peer], n: int) -> Measured:
    return started(peer, n, "pass")


def start_numpy(peer: type[Peer], n: int) -> Measured:
    return started(peer, n, "import numpy")


def at_least(bound: float, than: str | None = None, of: str | None = None) -> Goal:
    return Goal("≥", bound, than, of)


def at_most(bound: float, than: str | None = None, of: str | None = None) -> Goal:
    return Goal("≤", bound, than, of)


WORKLOADS = {
    "noop_map": Workload(
        "map of a function that does nothing, 20,000 integers",
        "inputs/s",
        True,
        20_000,
        "map",
        noop_map,
        (at_least(2.5, "ppe_c64"), at_least(100, "ppe")),
    ),
    "noop_map_200k": Workload(
        "the same, 200,000 integers",
        "inputs/s",
        True,
        200_000,
        "map",
        noop_map,
        (at_least(2.5, "ppe_c64"), at_least(1, "noop_map")),
    ),
    "noop_map_aio": Workload(
        "the same as noop_map, `async for` over `.map.aio`",
        "inputs/s",
        True,
        20_000,
        "amap",
        noop_map_aio,
        (at_least(0.7, "noop_map"),),
    ),
    "generator_1m": Workload(
        "map over a generator of 1,000,000 integers, results dropped",
        "inputs/s",
        True,
        1_000_000,
        "stream",
        generator_1m,
        (at_least(90, of=OF_20K), at_most(32, of=GROWTH)),
    ),
    "yielded_300k": Workload(
        "one call that yields 300,000 integers",
        "values/s",
        True,
        300_000,
        "generate",
        yielded_300k,
        (at_most(32, of=GROWTH),),
    ),
    "map_1kib": Workload(
        "map over 1 KiB of bytes, returned",
        "inputs/s",
        True,
        5_000,
        "map",
        map_1kib,
        (at_least(1.5, "ppe_c64"),),
    ),
    "map_1mib": Workload(
        "map over 1 MiB of bytes, returned", "inputs/s", True, 200, "map", map_1mib, (at_least(1.5, BEST),)
    ),
    "arrays_8mib": Workload(
        "map over NumPy arrays of 8 MiB, returned", "inputs/s", True, 100, "map", arrays_8mib, (at_least(2, BEST),)
    ),
    "one_blocking_call": Workload(
        "one call, waited for; median", "µs", False, 2_000, "call", one_blocking_call, (at_most(0.9, "ppe"),)
    ),
    "one_awaited_call": Workload(
        "one call, awaited; median", "µs", False, 2_000, "acall", one_awaited_call, (at_most(1.6, "synchronicity"),)
    ),
    "awaited_1000": Workload(
        "1,000 calls awaited together", "calls/s", True, 1_000, "acall", awaited_1000, (at_least(3, "ppe"),)
    ),
    "even_sleep": Workload("400 sleeps of 5 ms: worker time used", "%", True, 400, "map", even_sleep, (at_least(95),)),
    "uneven_sleep": Workload(
        "2,000 sleeps of 1 ms, 1 in 50 of 100 ms: worker time used",
        "%",
        True,
        2_000,
        "map",
        uneven_sleep,
        (at_least(93), at_least(1, BEST)),
    ),
    "containers_16": Workload(
        "sleeps of 10 ms in 16 containers, after 2, 4 and 8",
        "inputs/s",
        True,
        100,
        "map",
        containers,
        (at_least(95, of=LINEAR),),
        opens=True,
    ),
    "cold_start": Workload(
        "fresh interpreter to exit, one call",
        "s",
        False,
        REPEATS,
        "cold_script",
        cold_start,
        (at_most(0.5, "loky"),),
        opens=True,
    ),
    "start_noop": Workload(
        "a new process for one call of a function that does nothing",
        "ms",
        False,
        10,
        "start_script",
        start_noop,
        (at_most(0.5, "mp_spawn"), at_most(1, "mp_forkserver")),
        opens=True,
    ),
    "start_numpy": Workload(
        "a new process for one call of a function that imports NumPy",
        "ms",
        False,
        10,
        "start_script",
        start_numpy,
        (at_most(0.5, "mp_spawn"), at_most(1, "mp_forkserver")),
        opens=True,
    ),
    "batched_5ms": Workload(
        "map of a function that takes 5 ms for any number of inputs up to 64",
        "inputs/s",
        True,
        12_800,
        "batched",
        batched_5ms,
        (at_least(30, "unbatched"),),
    ),
}
