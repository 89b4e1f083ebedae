"""Telling whether a container died for want of memory, of which neither the system nor the process leaves word."""

import signal
from collections.abc import Iterable
from pathlib import Path

_COUNTERS = Path("/proc/vmstat")
_DEADLY = (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGTRAP, -signal.SIGILL)
"""How libraries end a process when they get no memory."""
_SIGNS = ("MemoryError", "bad_alloc", "allocate", "out of memory", "can't start new thread")


class OomKills:
    """The system's count of processes that it killed to free memory, from the moment this is made."""

    def __init__(self) -> None:
        self._before = _count()

    def more(self) -> bool:
        """True if it has killed any since, as far as this system tells."""
        return _count() > self._before


def suspect_limit(status: int | None, last_lines: Iterable[str]) -> bool:
    """True if a process under a memory limit that ended so, with these words, may have run into it."""
    if status in _DEADLY:
        return True
    return bool(status) and any(sign in line for line in last_lines for sign in _SIGNS)


def _count() -> int:
    try:
        counters = _COUNTERS.read_bytes()
    except OSError:
        return 0  # Only Linux has it.
    _, found, rest = counters.partition(b"\noom_kill ")
    return int(rest.split(None, 1)[0]) if found else 0
