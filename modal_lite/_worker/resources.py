"""What the container is given of the machine: a share of the cores, a limit of memory.

The limit is one of data (RLIMIT_DATA), not of address space: shared memory, mapped files and what is merely reserved,
as thread pools and allocators do by the gigabyte, do not count. What does is all memory that is written to and the
container's own, also what its libraries allocate. Processes that it starts have the same limit, each for itself.
"""

import errno
import math
import os
import resource
import sys
from pathlib import Path

from modal_lite._core.messages import ContainerSpec
from modal_lite.exception import InvalidError

MIB = 1 << 20
LEAST_ROOM = 8
"""MiB that must be left under the limit before the user's module is imported."""
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)
"""How many threads the pools of libraries have."""
_WEIGHT_STEP = 1.25
"""The kernel gives a process so many times the time of one that is nicer by 1."""
_limit: int | None = None


def enter_resources(spec: ContainerSpec) -> None:
    """Gives this process what the spec says. Before the user's imports: thread pools read their variables there.

    Raises:
        InvalidError: The memory limit leaves no room to start.
    """
    if spec.cpu is not None:
        # As one core is what a thread can use, more of them are a matter of threads, not of weight.
        os.nice(min(19, max(0, round(-math.log(spec.cpu, _WEIGHT_STEP)))))
        threads = str(min(math.ceil(spec.cpu_limit or spec.cpu), os.cpu_count() or 1))
        for name in _THREADS:
            os.environ.setdefault(name, threads)
    if spec.memory_limit is not None and sys.platform == "linux":
        _limit_memory(spec.memory_limit)


def explain_shortage(error: BaseException) -> None:
    """Makes an exception for want of memory say that there is a limit. Nothing happens to others."""
    if _limit is None or not _is_shortage(error):
        return
    text = f"The container has a memory limit of {_limit} MiB: memory=(…, {_limit}) of its function."
    if isinstance(error, MemoryError) and not error.args:
        error.args = (text,)
    else:
        error.add_note(text)


def _limit_memory(limit: int) -> None:
    global _limit
    used = _data()
    if limit < used + LEAST_ROOM:
        raise InvalidError(
            f"A memory limit of {limit} MiB is too low: a container takes {used} MiB before it imports anything. "
            f"Give at least {used + LEAST_ROOM}."
        )
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = limit * MIB if hard == resource.RLIM_INFINITY else min(limit * MIB, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    _limit = limit


def _data() -> int:
    """MiB of this process that count against the limit."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return -(-int(line.split()[1]) // 1024)
    return 0


def _is_shortage(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # The thread's stack did not fit, which Python does not say.
    no_thread = isinstance(error, RuntimeError) and str(error) == "can't start new thread"
    return no_thread or isinstance(error, MemoryError)
