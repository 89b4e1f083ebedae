"""The app of the tests of scaling; containers import this module."""

import os
import time

import modal_lite

app = modal_lite.App("scaling")


def _hold(folder: str) -> int:
    """Says that it runs, and waits for the word to end."""
    with open(os.path.join(folder, f"runs-{time.monotonic_ns()}-{os.getpid()}"), "w"):
        pass
    while not os.path.exists(os.path.join(folder, "go")):
        time.sleep(0.005)
    return os.getpid()


@app.function(max_containers=2)
def hold(folder: str) -> int:
    return _hold(folder)


@app.function(max_containers=3, buffer_containers=1, scaledown_window=0.3)
def hold_buffered(folder: str) -> int:
    return _hold(folder)


@app.function(concurrency_limit=2, container_idle_timeout=0.3)
def hold_briefly(folder: str) -> int:
    return _hold(folder)


@app.function(single_use_containers=True, max_containers=2)
def used_once(x: int) -> int:
    return os.getpid()


@app.function(max_containers=6)
def timed(seconds: float) -> tuple[int, float, float]:
    """The container's process, and from when to when it slept."""
    start = time.monotonic()
    time.sleep(seconds)
    return os.getpid(), start, time.monotonic()


@app.function()
def warm_another(size: int) -> None:
    hold_briefly.keep_warm(size)


@app.cls(max_containers=3, scaledown_window=0.3)
class Model:
    """Has a pool for each key."""

    key: str = modal_lite.parameter(default="")

    @modal_lite.method()
    def hold(self, folder: str) -> int:
        return _hold(folder)

    @modal_lite.method()
    def name(self) -> str:
        return self.key
