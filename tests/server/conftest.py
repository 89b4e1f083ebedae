"""The app of these tests, running, and what they wait with."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from modal_lite import _client
from modal_lite._core.library_loop import library
from tests.server.functions import app


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    """The app of `functions.py`, running."""
    with app.run() as running:
        yield running


def plane() -> Any:
    """The control plane that runs now."""
    connection: Any = _client.current_client()._connection
    return connection._plane


def lines(path: Any) -> list[str]:
    """The lines of a file, none if it does not exist."""
    try:
        return Path(path).read_text().splitlines()
    except FileNotFoundError:
        return []


def alive(pid: int) -> bool:
    """True if the process exists and has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def template() -> psutil.Process:
    """The process that containers are forked from."""
    (found,) = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return found


def held() -> tuple[int, int, int]:
    """Descriptors, threads and tasks of this process."""
    gc.collect()
    tasks = [task for task in asyncio.all_tasks(library().loop) if not task.done()]
    return psutil.Process().num_fds(), threading.active_count(), len(tasks)
