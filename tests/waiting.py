"""Waiting for what other processes do."""

import time
from collections.abc import Callable
from typing import Any

PROMPT = 20.0
"""Seconds that what is prompt may take on a machine with much else to do: here it is told from what waits for a
function, for 60 seconds, or for exit hooks, for 30. How long it takes where nothing else happens is for the benchmarks.
"""


def wait_until(predicate: Callable[[], Any], what: str = "it", seconds: float = 15.0) -> Any:
    """Polls until the predicate is true; returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.005)
    return value
