"""How much memory processes take, with what they share counted once."""

import psutil


def proportional_mib(pid: int) -> float:
    """MiB of the process: its own, and its part of what it shares with others; without that knowledge, all it has.

    0 for a process that is gone.
    """
    try:
        process = psutil.Process(pid)
        try:
            memory = process.memory_full_info()
        except psutil.AccessDenied:
            memory = process.memory_info()
    except psutil.Error:
        return 0.0
    used: int = getattr(memory, "pss", memory.rss)
    return used / (1 << 20)


def family(pid: int) -> list[int]:
    """The process's descendants, without itself."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
