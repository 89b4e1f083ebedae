"""Lines out of text that comes piece by piece."""

import asyncio
import os

import pytest

from modal_lite._server import logs
from modal_lite._server.lines import MAX_LINE, Lines
from modal_lite._server.logs import OutputReader


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("text", "lines", "rest"),
    [
        ("", [], ""),
        ("a\nb\n", ["a", "b"], ""),
        ("a\n\n  b ", ["a", "", "  b "], "  b "),
        ("a\r\nb\r\n", ["a", "b"], ""),
        (" 10%\r 50%\r100%\n", ["100%"], ""),
        ("\r 10%\r 50%", [], " 50%"),
        ("longer\rlong\n", ["longer"], ""),
        ("bar 100%\r        \rdone\n", ["done"], ""),
        ("bar 100%\r        \r", [], ""),
        ("bar\r\x1b[Knext", [], "\x1b[Knext"),
        ("\x1b[31mbar\x1b[0m\rnext", [], "next"),
    ],
)
def test_lines_and_what_is_left(text: str, lines: list[str], rest: str, size: int) -> None:
    assembled = Lines()
    found = [line for at in range(0, len(text), size) for line in assembled.take(text[at : at + size])]
    ended = assembled.end()
    assert [*found, ended][: len(lines)] == lines
    assert ended == rest
    assert assembled.end() == ""


def test_a_long_line_is_cut_and_says_so() -> None:
    lines = Lines()
    for _ in range(100):
        assert lines.take("x" * MAX_LINE) == []
    (line,) = lines.take("\n")
    assert line == "x" * MAX_LINE + f"… ({99 * MAX_LINE:,} more characters)"
    assert lines.take("next\n") == ["next"]


def test_a_line_that_is_drawn_over_is_not_long() -> None:
    lines = Lines()
    for number in range(1000):
        lines.take("\r" + f"{number:6}" * 100)
    assert lines.end() == "   999" * 100


Told = list[tuple[list[str], bool]]


async def _until(told: Told, count: int) -> Told:
    async with asyncio.timeout(10):
        while len(told) < count:
            await asyncio.sleep(0.005)
    return told


async def test_states_of_a_line_are_passed_on_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "TRANSIENT_INTERVAL", 0.01)
    read_end, write_end = os.pipe()
    told: Told = []
    reader = OutputReader(read_end, lambda lines, transient: told.append((lines, transient)))
    for number in range(100):
        os.write(write_end, f"\r{number}%".encode())
    assert await _until(told, 1) == [(["99%"], True)]
    os.write(write_end, b"\r100%\nfurther\nlast")
    assert await _until(told, 2) == [(["99%"], True), (["100%", "further"], False)]
    os.close(write_end)
    assert (await _until(told, 3))[2:] == [(["last"], False)]
    reader.close()
    assert list(reader.tail) == ["100%", "further", "last"]


async def test_a_bar_that_was_wiped_out_is_taken_back_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "TRANSIENT_INTERVAL", 0.0)
    read_end, write_end = os.pipe()
    told: Told = []
    reader = OutputReader(read_end, lambda lines, transient: told.append((lines, transient)))
    os.write(write_end, b"\r50%")
    await _until(told, 1)
    os.write(write_end, b"\r   \r")
    os.close(write_end)
    reader.close()
    assert told == [(["50%"], True), ([""], True)]


async def test_who_writes_on_after_the_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    reader = OutputReader(read_end, lambda lines, transient: None)
    monkeypatch.setattr(os, "read", lambda fd, size: b"x" * size)
    reader.close()
    os.close(write_end)
