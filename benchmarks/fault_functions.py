"""The functions of the faults: 40 inputs of 20 ms, and something happens to number 20."""

import ctypes
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

COUNT = 40
BAD = 20
LIMIT = 2.0
"""Seconds that an input may take, where the peer can be told, or that its result is waited for."""

Input = tuple[str, int]
"""A folder to leave notes in, and the input's number."""


def healthy(given: Input) -> int:
    time.sleep(0.02)
    return given[1]


def killed(given: Input) -> int:
    if _is_bad(given) and _first_time(given):
        os.kill(os.getpid(), signal.SIGKILL)
    return healthy(given)


def exits(given: Input) -> int:
    if _is_bad(given):
        os._exit(3)
    return healthy(given)


def segfaults(given: Input) -> int:
    if _is_bad(given):
        ctypes.string_at(0)
    return healthy(given)


def hangs(given: Input) -> int:
    while _is_bad(given):
        time.sleep(1)
    return healthy(given)


def freezes(given: Input) -> int:
    if _is_bad(given) and _first_time(given):
        os.kill(os.getpid(), signal.SIGSTOP)
    return healthy(given)


def returns_lock(given: Input) -> Any:
    return threading.Lock() if _is_bad(given) else healthy(given)


class StrangeError(Exception):
    """Pickles, but its pickle cannot be read: it is made with two arguments and keeps one."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} at {where}")


def raises_strange(given: Input) -> int:
    if _is_bad(given):
        raise StrangeError("no luck", "number 20")
    return healthy(given)


def stays(given: Input) -> int:
    Path(given[0], f"started-{os.getpid()}").touch()
    time.sleep(60)
    return given[1]


def _is_bad(given: Input) -> bool:
    return given[1] == BAD


def _first_time(given: Input) -> bool:
    try:
        Path(given[0], "happened").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
