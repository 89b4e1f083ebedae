"""Functions that print faster than anybody reads."""

import contextlib
import io
from typing import Any

import psutil
import pytest

import modal_lite
from tests.server import functions
from tests.server.functions import same
from tests.waiting import wait_until


class Sink(io.TextIOBase):
    """Takes everything; keeps how much that was, and the last characters."""

    def __init__(self) -> None:
        self.taken = 0
        self.last = ""

    def write(self, text: str) -> int:
        self.taken += len(text)
        self.last = text[-200:]
        return len(text)


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("name", ["print_much", "print_line", "draw_much"])
def test_much_output_neither_stalls_the_function_nor_grows_memory(name: str, shown: bool, run: Any) -> None:
    function = getattr(functions, name)
    assert same.remote(1) == 1
    process = psutil.Process()
    before = process.memory_info().rss
    with contextlib.redirect_stdout(Sink()), modal_lite.enable_output() if shown else contextlib.nullcontext():
        call = function.spawn(100)
        others = 0
        while True:
            assert same.remote(1) == 1
            others += 1
            try:
                assert call.get(timeout=0) == 100
                break
            except TimeoutError:
                continue
    assert process.memory_info().rss - before < 50 << 20
    assert others > 10, "other calls wait while the output is read"


def test_the_end_of_a_long_line_tells_how_much_was_cut(run: Any) -> None:
    sink = Sink()
    with contextlib.redirect_stdout(sink), modal_lite.enable_output():
        functions.print_line.with_options(scaledown_window=0.1).remote(3)
        wait_until(lambda: sink.last, "the line")
    assert sink.last.endswith(f"x… ({3_000_000 - (64 << 10):,} more characters)\n")
    assert sink.taken < 70_000
