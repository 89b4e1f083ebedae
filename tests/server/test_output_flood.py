"""Functions that print faster than anybody reads."""

import time
from typing import Any

import psutil

from tests.server.functions import print_much, same


def test_much_output_neither_stalls_the_function_nor_grows_memory(run: Any) -> None:
    assert same.remote(1) == 1
    process = psutil.Process()
    before = process.memory_info().rss
    call = print_much.spawn(50)
    slowest = 0.0
    while True:
        started = time.monotonic()
        assert same.remote(1) == 1
        slowest = max(slowest, time.monotonic() - started)
        try:
            assert call.get(timeout=0) == 50
            break
        except TimeoutError:
            continue
    assert process.memory_info().rss - before < 50 << 20
    assert slowest < 1.0, "other calls wait while the output is read"
