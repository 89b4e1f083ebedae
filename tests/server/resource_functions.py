"""What the containers of `test_resources.py` run."""

import ctypes
import mmap
import os
import signal
import threading
import time
from pathlib import Path

import modal_lite

app = modal_lite.App("resource-tests")
LIMIT = 256
"""MiB."""


@app.function(memory=(64, LIMIT), max_containers=1)
def allocate(mebibytes: int) -> int:
    return len(bytearray(mebibytes << 20))


@app.function(memory=(64, LIMIT), max_containers=1)
def allocate_array(mebibytes: int) -> int:
    import numpy

    return int(numpy.zeros(mebibytes << 20, numpy.int8).nbytes)


@app.function(memory=(64, LIMIT), max_containers=1)
def share(mebibytes: int) -> int:
    """Memory that others may have a part in, and threads, whose stacks are mostly reserved only."""
    with mmap.mmap(-1, mebibytes << 20) as shared:
        threads = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(shared)


@app.function(memory=(64, LIMIT), max_containers=1)
def too_many_threads() -> None:
    gate = threading.Event()
    try:
        for _ in range(10_000):
            threading.Thread(target=gate.wait).start()
    finally:
        gate.set()


@app.function(memory=(64, LIMIT), max_containers=1)
def abort() -> None:
    """What libraries do that get no memory."""
    ctypes.CDLL(None).abort()


@app.function(memory=64, max_containers=1)
def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(10)


def _weight() -> tuple[int, str, str]:
    return os.nice(0), os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]


@app.function(cpu=0.25)
def quarter() -> tuple[int, str, str]:
    return _weight()


@app.function(cpu=(0.5, 1000), env={"OMP_NUM_THREADS": "7"})
def limited() -> tuple[int, str, str]:
    return _weight()


@app.function()
def no_hints() -> list[str]:
    return [name for name in os.environ if name.endswith("_THREADS")]


def _meet(path: str, count: int) -> str | None:
    """Waits until so many have come by here; returns the devices."""
    with open(path, "a") as file:
        file.write("x")
    while len(Path(path).read_text()) < count:
        time.sleep(0.005)
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@app.function(gpu="T4", max_containers=4)
def on_one(path: str, count: int) -> str | None:
    return _meet(path, count)


@app.function(gpu=["H100:8", "A100-80GB:2"])
def on_two(path: str, count: int) -> str | None:
    return _meet(path, count)


@app.function(gpu="T4")
def die_on_one() -> None:
    os._exit(1)


@app.function(gpu="any:3")
def on_three() -> None: ...
