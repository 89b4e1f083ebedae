"""One running app for all the tests of a file, and the clients that they fetch with."""

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from tests.web.functions import app


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    """The app of `functions.py`, running."""
    with app.run() as running:
        yield running


@pytest.fixture
def curl() -> Callable[..., str]:
    """Runs curl with these arguments; gives what it writes."""

    def fetch(*words: str) -> str:
        done = subprocess.run(["curl", "-sS", "-m", "30", *words], capture_output=True, text=True, timeout=40)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return fetch
