"""What `enable_output` shows: lines of functions and the progress of maps, with the program's own lines left whole."""

import io
import os
import re
import subprocess
import sys
import threading
import timeit
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import click
import pytest

import modal_lite
from modal_lite import output
from modal_lite.output import live, progress, screen
from modal_lite.output.manager import OutputManager
from modal_lite.output.progress import MapProgress


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True

    def shows(self) -> list[str]:
        """The lines that a terminal would show, without colours."""
        lines, row = [""], 0
        text = re.sub(r"\x1b\[[\d;]*m", "", self.getvalue()).replace("\x1b[2K", "\x00").replace("\x1b[1A", "\x01")
        for character in text:
            if character == "\n":
                row += 1
                lines[row:] = lines[row:] or [""]
            elif character == "\x00":
                lines[row] = ""
            elif character == "\x01":
                row -= 1
            elif character != "\r":
                lines[row] += character
        return lines


Streams = tuple[io.StringIO, io.StringIO]


@pytest.fixture
def streams() -> Streams:
    """Standard output and standard error, two files."""
    return io.StringIO(), io.StringIO()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal for standard output and standard error; there, displays are drawn at once."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(screen, "REDRAW_INTERVAL", 0.0)
    monkeypatch.setattr(progress, "LIVE_AFTER", 0.0)
    monkeypatch.setattr(progress, "LIVE_INTERVAL", 0.0)
    return Terminal()


@contextmanager
def enabled(out: io.TextIOBase | None, err: io.TextIOBase, show_progress: bool = True) -> Iterator[None]:
    """Output enabled on these streams, which are the program's own afterwards."""
    with redirect_stdout(out), redirect_stderr(err):
        with modal_lite.enable_output(show_progress):
            yield
        assert sys.stdout is out and sys.stderr is err


def manager() -> OutputManager:
    """The manager in charge."""
    current = output.current()
    assert current is not None
    return current


def started(tag: str) -> MapProgress:
    """The display of a new map."""
    display = output.map_progress(tag)
    assert display is not None
    return display


def test_nothing_is_shown_unless_enabled() -> None:
    assert output.current() is None and output.map_progress("f") is None


def test_lines_go_where_they_were_written_to_with_the_functions_name(streams: Streams) -> None:
    with enabled(*streams):
        manager().lines("f", "ta-1", "stdout", ["out"])
        manager().lines("g", "ta-2", "stderr", ["err"])
    assert [stream.getvalue() for stream in streams] == ["[f] out\n", "[g] err\n"]


def test_quiet_lines_have_no_name_and_maps_no_progress(streams: Streams) -> None:
    with redirect_stdout(streams[0]), output.quiet_output():
        manager().lines("f", "ta-1", "stdout", ["out"])
        assert output.map_progress("f") is None
    assert streams[0].getvalue() == "out\n"


def test_nested_use_changes_nothing(streams: Streams) -> None:
    with enabled(*streams, show_progress=False):
        outer = output.current()
        with enabled(*streams):
            assert output.current() is outer
        assert output.current() is outer and output.map_progress("f") is None
    assert output.current() is None


def test_streams_are_given_back_after_an_exception() -> None:
    before = sys.stdout
    try:
        with modal_lite.enable_output():
            assert sys.stdout is not before
            raise KeyError
    except KeyError:
        pass
    assert sys.stdout is before


def test_a_stream_that_the_program_redirected_meanwhile_gets_the_lines(streams: Streams) -> None:
    other = io.StringIO()
    with enabled(*streams), redirect_stdout(other):
        manager().lines("f", "ta-1", "stdout", ["text"])
    assert other.getvalue() == "[f] text\n" and streams[0].getvalue() == ""


def test_a_name_on_a_terminal(terminal: Terminal) -> None:
    with enabled(terminal, terminal):
        manager().lines("f", "ta-1", "stdout", ["text"])
    assert terminal.getvalue() == "f │ text\n"


def test_colours_on_a_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    with enabled(terminal, terminal):
        manager().lines("f", "ta-1", "stdout", ["\x1b[31mred"])
    assert terminal.getvalue() == "\x1b[2mf │\x1b[0m \x1b[31mred\x1b[0m\n"


def test_a_redrawn_line_is_live_on_a_terminal_until_it_ends(terminal: Terminal) -> None:
    with enabled(terminal, terminal):
        manager().transient("f", "ta-1", "stderr", [" 10%"])
        assert terminal.shows() == ["f │  10%"]
        manager().transient("f", "ta-1", "stderr", ["\x1b[1A\x1b[32m 50%\x1b[0m"])
        manager().transient("f", "ta-2", "stderr", ["other"])
        print("the program's line")
        manager().lines("f", "ta-1", "stdout", ["a line"])
        assert terminal.shows() == ["the program's line", "f │ a line", "f │  50%", "f │ other"]
        manager().lines("f", "ta-1", "stderr", ["100%"])
        assert terminal.shows() == ["the program's line", "f │ a line", "f │ 100%", "f │ other"]
        manager().transient("f", "ta-2", "stderr", [""])
    assert terminal.shows() == ["the program's line", "f │ a line", "f │ 100%", ""]


def test_redrawn_lines_stand_above_the_progress_of_maps(terminal: Terminal) -> None:
    with enabled(terminal, terminal):
        display = started("map")
        display.advance(1, 0)
        manager().transient("f", "ta-1", "stderr", ["x" * 200])
        bar, below = terminal.shows()
        assert bar.startswith("f │ xxx") and len(bar) == 79 and below.startswith("map │ 1 of ")
        display.close(exhausted=True)


def test_quiet_redrawn_lines_have_no_name(terminal: Terminal) -> None:
    with redirect_stdout(terminal), redirect_stderr(terminal), output.quiet_output():
        manager().transient("f", "ta-1", "stderr", ["50%"])
        assert terminal.shows() == ["50%"]


def test_what_is_written_while_others_have_the_terminal_waits(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "MAX_HELD", 30)
    with enabled(terminal, terminal):
        manager().hold()
        for number in range(5):
            manager().lines("f", "ta-1", "stdout", [f"line {number}"])
        print("mine")
        assert terminal.getvalue() == ""
        manager().resume()
        assert terminal.getvalue() == "… (33 characters are missing here)\nf │ line 3\nf │ line 4\nmine\n"


def test_a_stream_is_one_of_text_also_while_others_have_the_terminal(terminal: Terminal) -> None:
    with enabled(terminal, terminal):
        manager().hold()
        click.echo("mine")
        manager().resume()
        click.echo("and mine")
    assert terminal.getvalue() == "mine\nand mine\n"


def test_a_redrawn_line_is_not_shown_in_a_file(streams: Streams) -> None:
    with enabled(*streams):
        manager().transient("f", "ta-1", "stderr", ["50%"])
    assert streams[1].getvalue() == ""


def test_a_line_waits_for_the_one_under_way(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "LINE_PATIENCE", 30.0)
    with enabled(*streams):
        sys.stdout.write("the program's ")
        other = threading.Thread(target=manager().lines, args=("f", "ta-1", "stdout", ["text"]))
        other.start()
        sys.stdout.write("own line\n")
        other.join(20)
    assert streams[0].getvalue() == "the program's own line\n[f] text\n"


def test_a_line_left_open_is_broken_in_on(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "LINE_PATIENCE", 0.0)
    with enabled(*streams):
        print("working...", end=" ")
        manager().lines("f", "ta-1", "stdout", ["text"])
        print("done")
    assert streams[0].getvalue() == "working... \n[f] text\ndone\n"


def test_what_a_stream_cannot_encode_is_escaped() -> None:
    raw = io.BytesIO()
    with enabled(io.TextIOWrapper(raw, "ascii"), io.StringIO()):
        manager().lines("f", "ta-1", "stdout", ["grün"])
    assert raw.getvalue() == b"[f] gr\\xfcn\n"


@pytest.mark.parametrize("stream", [None, "closed", "broken"])
def test_a_stream_that_takes_nothing_is_no_failure(stream: str | None) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    target = {None: None, "closed": io.StringIO(), "broken": Broken()}[stream]
    if stream == "closed" and target is not None:
        target.close()
    with enabled(target, io.StringIO()):
        manager().lines("f", "ta-1", "stdout", ["text"])


def test_the_stand_ins_are_good_for_all_that_a_stream_is(streams: Streams) -> None:
    with enabled(*streams):
        sys.stdout.writelines(["a", "b\n"])
        sys.stdout.flush()
        assert not sys.stdout.isatty()
        with pytest.raises(TypeError):
            sys.stdout.write(b"bytes")  # type: ignore[arg-type]
    assert streams[0].getvalue() == "ab\n"


def test_quick_maps_say_nothing(streams: Streams) -> None:
    with enabled(*streams):
        display = started("f")
        display.pulled(10)
        display.advance(10, 0)
        display.close(exhausted=True)
    assert [stream.getvalue() for stream in streams] == ["", ""]


def test_plain_progress_and_summary(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    with enabled(*streams):
        display = started("f")
        display.pulled(3000)
        now = 104.9
        display.advance(1000, 0)
        assert streams[1].getvalue() == ""
        now = 110.0
        display.advance(1000, 1)
        display.advance(1000, 1)
        display.close(exhausted=True)
        display.close(exhausted=True)
    assert streams[1].getvalue().splitlines() == [
        "[f] 2,000 of 3,000 inputs done so far, 200/s, 1 failed, 10.0 s",
        "[f] 3,000 inputs done in 10.0 s, 300/s, 2 failed",
    ]


def test_a_map_that_was_left_early_says_so(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    with enabled(*streams):
        display = started("f")
        display.pulled(3)
        display.advance(1, 0)
        now = 3700.0
        display.close(exhausted=False)
    assert streams[1].getvalue() == "[f] stopped after 1 input in 1:01:40, 0.0/s\n"


def test_live_progress_stays_below_what_is_printed(terminal: Terminal) -> None:
    with enabled(terminal, terminal):
        first, second = started("first"), started("second")
        first.pulled(7)
        first.advance(1, 0)
        second.advance(2, 1)
        print("the program's line")
        manager().lines("f", "ta-1", "stdout", ["the function's line"])
        shown = terminal.shows()
        assert shown[:2] == ["the program's line", "f │ the function's line"]
        assert shown[2].startswith("first │ 1 of 7 inputs done so far, ")
        assert shown[3].startswith("second │ 2 of 0 inputs done so far, ") and ", 1 failed, " in shown[3]
        first.close(exhausted=True)
        assert [line.partition(" ")[0] for line in terminal.shows()[2:] if line] == ["second"]
        second.close(exhausted=False)
    assert [line for line in terminal.shows() if line] == ["the program's line", "f │ the function's line"]


def test_live_progress_leaves_an_open_line_alone(terminal: Terminal) -> None:
    with enabled(terminal, terminal):
        display = started("f")
        display.advance(1, 0)
        sys.stdout.write("name? ")
        display.advance(1, 0)
        assert terminal.shows() == ["name? "]
        sys.stdout.write("me\n")
        assert terminal.shows()[0] == "name? me" and terminal.shows()[1].startswith("f │ 2 of ")
        display.close(exhausted=True)


def test_more_maps_than_lines_are_counted(terminal: Terminal) -> None:
    with enabled(terminal, terminal):
        displays = [started(f"f{number}") for number in range(live.MAX_LIVE + 2)]
        for display in displays:
            display.advance(1, 0)
        assert len(terminal.shows()) == live.MAX_LIVE + 1 and terminal.shows()[-1] == "and 2 more"
        for display in displays:
            display.close(exhausted=True)


def test_a_line_of_progress_never_wraps(terminal: Terminal) -> None:
    with enabled(terminal, terminal):
        display = started("a_function_with_a_name" * 5)
        display.advance(1, 0)
        assert len(terminal.shows()[-1]) < 80
        display.close(exhausted=True)


def test_a_map_that_outlives_the_output_is_silent(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    with enabled(*streams):
        display = started("f")
    now = 60.0
    display.advance(1, 0)
    display.close(exhausted=True)
    assert streams[1].getvalue() == ""


def test_advancing_is_cheap(streams: Streams) -> None:
    events = [threading.Event()]
    with enabled(*streams):
        display = started("f")
        advancing = min(timeit.repeat(lambda: display.advance(1, 0), number=1000, repeat=100))
        display.close(exhausted=True)
    # No more than a few calls of methods; what draws, or takes a lock that others hold, costs more.
    assert advancing < 15 * min(timeit.repeat(lambda: events[0].is_set(), number=1000, repeat=100))


def test_a_forked_child_can_print_whatever_other_threads_were_writing(streams: Streams) -> None:
    with enabled(*streams):
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with manager()._screen.condition:
                held.set()
                release.wait(30)

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(30)
        pid = os.fork()
        if pid == 0:
            print("child")
            os._exit(0 if streams[0].getvalue() == "child\n" else 1)
        _, status = os.waitpid(pid, 0)
        release.set()
        holder.join(30)
    assert os.waitstatus_to_exitcode(status) == 0


def test_rich_is_imported_for_live_progress_only() -> None:
    code = """
import sys, modal_lite.output as output
with output.enable_output():
    output.current().lines("f", "ta-1", "stdout", ["text"])
    progress = output.map_progress("f")
    progress.advance(1, 0)
    progress.close(True)
assert "rich" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, stdout=subprocess.DEVNULL)
