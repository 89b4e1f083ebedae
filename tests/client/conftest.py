"""One running app for all the tests of a file, and what they wait with."""

from collections.abc import Iterator
from typing import Any

import pytest

import modal_lite
from tests.client.functions import app
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    """The app of `functions.py`, running."""
    with app.run() as running:
        yield running


def settled(function: "modal_lite.Function[..., Any, Any]") -> None:
    """Returns once nothing of the function waits or runs any more."""

    def idle() -> bool:
        stats = function.get_current_stats()
        return stats.backlog == 0 and stats.num_running_inputs == 0

    wait_until(idle, f"the end of what {function.tag} runs")
