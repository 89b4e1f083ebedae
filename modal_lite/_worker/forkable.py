"""Telling whether a process that has run the user's code can be forked.

A fork has one thread, the one that forked, and the memory of all: locks that others held stay locked, pools wait for
workers that are not there. What a driver has set up for a GPU does not survive a fork either.
"""

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

_TASKS = Path("/proc/self/task")
_OPEN = Path("/proc/self/fd")
_GPU_FILES = "/dev/nvidia"
_TRIAL = 5.0
"""Seconds that a fork may take to end itself."""
_END_WAIT = 0.05
"""Seconds that a thread may take to end once its `join` has returned."""
_POLL = 0.002


def obstacles() -> list[str]:
    """What keeps this process from being forked, for people: phrases such as "1 thread is alive: 'poller'"."""
    if _uses_gpu():
        return ["it uses a GPU (CUDA is initialised)"]
    named = [repr(thread.name) for thread in threading.enumerate() if thread is not threading.current_thread()]
    if not named and not _try_fork():
        return [f"a fork of it does not get anywhere within {_TRIAL:g} seconds"]
    others = named or _other_threads()
    if not others:
        return []
    alive = "1 thread is" if len(others) == 1 else f"{len(others)} threads are"
    return [f"{alive} alive: {', '.join(sorted(others))}"]


def _uses_gpu() -> bool:
    torch = sys.modules.get("torch")
    is_initialized: Callable[[], bool] | None = getattr(getattr(torch, "cuda", None), "is_initialized", None)
    if is_initialized is not None and is_initialized():
        return True
    try:
        # Whichever library it was, the driver keeps its devices open.
        return any(_target(link).startswith(_GPU_FILES) for link in _OPEN.iterdir())
    except OSError:
        return False  # Only Linux tells.


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""  # The descriptor of the listing itself is closed by now.


def _try_fork() -> bool:
    """Forks once, to no end but this: pools of threads that know of forks (OpenBLAS's, say) end their threads before.

    They start them again when they need them. False if the fork hangs, in a handler of the user's for instance.
    """
    with warnings.catch_warnings():
        # Python's own check counts the threads that a pool is about to end.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    deadline = time.monotonic() + _TRIAL
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            return False
        time.sleep(_POLL)
    return True


def _other_threads() -> list[str]:
    """Names of the threads that are alive beside this one, and that Python knows nothing of, where the system tells."""
    deadline = time.monotonic() + _END_WAIT
    while (others := _list_threads()) and time.monotonic() < deadline:
        time.sleep(_POLL)
    return others


def _list_threads() -> list[str]:
    mine = str(threading.get_native_id())
    try:
        return [f"{_command(task)!r} of a library" for task in _TASKS.iterdir() if task.name != mine]
    except OSError:
        return []  # Only Linux tells.


def _command(task: Path) -> str:
    try:
        return (task / "comm").read_text().strip()
    except OSError:
        return "?"
