"""One running app for all the tests of a file, and what they wait with."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import modal_lite
from tests.client.functions import app


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    """The app of `functions.py`, running."""
    with app.run() as running:
        yield running


def wait_until(predicate: Callable[[], Any], what: str = "it", seconds: float = 15.0) -> Any:
    """Polls until the predicate is true; returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.005)
    return value


def settled(function: "modal_lite.Function[..., Any, Any]") -> None:
    """Returns once nothing of the function waits or runs any more."""

    def idle() -> bool:
        stats = function.get_current_stats()
        return stats.backlog == 0 and stats.num_running_inputs == 0

    wait_until(idle, f"the end of what {function.tag} runs")
