"""Ctrl-C at every place of a blocking call where Python raises it: it reaches the caller, and nothing else is left."""

import dis
import gc
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import modal_lite
from tests.client.conftest import settled
from tests.client.functions import count_to, same

other = modal_lite.App("interrupted")


def run_an_app() -> None:
    with other.run():
        pass


CALLS: dict[str, Callable[[], object]] = {
    "remote": lambda: same.remote(1),
    "map": lambda: list(same.map([1, 2, 3])),
    "for_each": lambda: same.for_each([1, 2, 3]),
    "spawn and get": lambda: same.spawn(1).get(),
    "remote_gen": lambda: list(count_to.remote_gen(3)),
    "run": run_an_app,
}
RESUME = dis.opmap["RESUME"]
AFTER_YIELD_FROM = 2
"""The argument of RESUME from which on it handles no signals."""


def handles_signals(frame: FrameType) -> bool:
    """Whether Python handles signals where the frame begins, or goes on.

    It does in weak references' callbacks as well, such as those of imports and of asyncio's set of tasks; but
    exceptions are lost there, whoever raises them.
    """
    if frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_code.co_filename.endswith("_weakrefset.py"):
        return False
    code, at = frame.f_code.co_code, frame.f_lasti
    if code[at] != RESUME:
        at += 2
    return code[at] == RESUME and code[at + 1] & 3 < AFTER_YIELD_FROM


def interrupt_at(number: int, call: Callable[[], object]) -> bool:
    """Calls, with Ctrl-C at that one of the places. Returns False if there are not so many."""
    left = number

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal left
        if event == "call" and handles_signals(frame):
            left -= 1
            if left == 0:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)

    # What is collected has finalizers, in which Ctrl-C would be lost. And a block that was left to the collector,
    # because Ctrl-C came just after it was entered, or before it was to be left, has to be ended before the next.
    gc.collect(1)
    gc.disable()
    sys.setprofile(count)
    try:
        call()
    except KeyboardInterrupt:
        assert left == 0
    finally:
        sys.setprofile(None)
        gc.enable()
    return left == 0


@pytest.mark.parametrize("name", sorted(CALLS))
def test_ctrl_c_at_every_place(run: Any, name: str) -> None:
    number = 1
    while interrupt_at(number, CALLS[name]):
        number += 1
    assert number > 20
    assert list(same.map(range(10))) == list(range(10))
    settled(same)
    settled(count_to)
