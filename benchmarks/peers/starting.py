"""Ways to start a process for one call, each time a new one; there for the workloads that tell what a start takes.

A program each, so that what is forked holds nothing but what it needs. It starts once to warm up; then it prints, a
line for each start, the seconds from before it until the answer of the function is there.
"""

from typing import ClassVar

from benchmarks.peers.base import Peer

STARTS = ("start_noop", "start_numpy")
SETTLE = 0.05
"""Seconds between two starts, for the end of the process before."""

_MULTIPROCESSING = """
import multiprocessing
import time

def f(x):
    BODY
    return x + 1

def child(connection):
    connection.send(f(connection.recv()))

if __name__ == "__main__":
    context = multiprocessing.get_context("METHOD")
    for number in range(TIMES + 1):
        start = time.perf_counter()
        here, there = context.Pipe()
        process = context.Process(target=child, args=(there,))
        process.start()
        here.send(41)
        assert here.recv() == 42
        seconds = time.perf_counter() - start
        if number:
            print(seconds, flush=True)
        process.join()
        time.sleep(SETTLE)
"""

_MODAL = """
import time
import modal_lite as modal
IMPORTED

app = modal.App("starts")

@app.function(OPTIONS)
def f(x):
    CALLED
    return x + 1
"""

_SINGLE_USE = """
if __name__ == "__main__":
    with app.run():
        for number in range(TIMES + 1):
            start = time.perf_counter()
            assert f.remote(41) == 42
            seconds = time.perf_counter() - start
            if number:
                print(seconds, flush=True)
            while f.get_current_stats().num_total_runners:
                time.sleep(0.001)
            time.sleep(SETTLE)
"""

_FRESH = """
if __name__ == "__main__":
    for number in range(TIMES + 1):
        start = time.perf_counter()
        with app.run():
            assert f.remote(41) == 42
            seconds = time.perf_counter() - start
        if number:
            print(seconds, flush=True)
        time.sleep(SETTLE)
"""


def modal_script(options: str = "single_use_containers=True", once: bool = False, starts: str = _SINGLE_USE) -> str:
    """A program that starts containers of a function with these options; what it does first is done once, at import."""
    imported, called = ("BODY", "pass") if once else ("", "BODY")
    text = _MODAL.replace("OPTIONS", options).replace("IMPORTED", imported).replace("CALLED", called)
    return text + starts


class Fresh(Peer):
    about = "an app of its own for each call: a fresh interpreter for the template, and a container forked from it"
    distribution = "modal-lite"
    bare = True
    only = STARTS
    start_script = modal_script(options="", starts=_FRESH)


class Snapshot(Peer):
    about = "`enable_memory_snapshot=True`: what the function does first was done once, before the fork"
    distribution = "modal-lite"
    bare = True
    only = STARTS
    start_script = modal_script("single_use_containers=True, enable_memory_snapshot=True", once=True)


class _Multiprocessing(Peer):
    only = STARTS
    method: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.about = f"`multiprocessing.get_context({cls.method!r}).Process`, with a `Pipe` for argument and result"
        cls.start_script = _MULTIPROCESSING.replace("METHOD", cls.method)


class Fork(_Multiprocessing):
    method = "fork"


class Spawn(_Multiprocessing):
    method = "spawn"


class Forkserver(_Multiprocessing):
    method = "forkserver"
