"""What functions draw over and over, and what they leave unfinished: on a terminal and in a pipe."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect

from tests.cli.conftest import Cli

Write = Callable[[str, str], Path]
Spawn = Callable[..., pexpect.spawn]

BARS = """
    import os, sys, time
    import modal_lite
    app = modal_lite.App()
    def draw(states, end):
        for state in states:
            sys.stderr.write(f"\\r{state:3}%")
            sys.stderr.flush()
            while os.path.exists("watched") and state < 100 and not os.path.exists(f"seen {state}"):
                time.sleep(0.01)
        sys.stderr.write(end)
    @app.function()
    def bar():
        draw((10, 50, 100), "\\n")
        print("after the bar")
    @app.function()
    def wiped():
        draw((10, 50), "\\r    \\r")
    @app.function()
    def unfinished():
        print("no end", end="")
        print("none here", end="", file=sys.stderr)
    @app.local_entrypoint()
    def both():
        bar.remote()
        print("the program's")
    """


def test_a_bar_is_live_on_a_terminal(spawn: Spawn, write: Write, tmp_path: Path) -> None:
    write("bars.py", BARS)
    (tmp_path / "watched").touch()
    child = spawn("run", "bars.py::both")
    child.expect(r"bar │ \S* 10%")
    (tmp_path / "seen 10").touch()
    child.expect(r"\r\x1b\[2K\S*bar │ \S* 50%")
    (tmp_path / "seen 50").touch()
    child.expect(r"\r\x1b\[2Kbar │ 100%\r\n")
    child.expect(r"bar │ after the bar\r\n")
    child.expect(r"the program's\r\n")
    child.expect(pexpect.EOF)
    assert "%" not in child.before


def test_a_bar_that_is_wiped_out_leaves_nothing(spawn: Spawn, write: Write, tmp_path: Path) -> None:
    write("bars.py", BARS)
    (tmp_path / "watched").touch()
    (tmp_path / "seen 10").touch()
    child = spawn("run", "bars.py::wiped")
    child.expect(r"wiped │ \S* 50%")
    (tmp_path / "seen 50").touch()
    child.expect(pexpect.EOF)
    assert re.fullmatch(r"(\r\x1b\[2K)?", child.before), repr(child.before)


def test_a_pipe_gets_the_last_state_only(cli: Cli, write: Write) -> None:
    write("bars.py", BARS)
    done = cli("run", "bars.py::both")
    assert done.stderr == "[bar] 100%\n"
    assert done.stdout == "[bar] after the bar\nthe program's\n"


def test_a_line_without_an_end_is_shown_when_the_container_ends(cli: Cli, write: Write) -> None:
    write("bars.py", BARS)
    done = cli("run", "bars.py::unfinished")
    assert (done.stdout, done.stderr) == ("[unfinished] no end\n", "[unfinished] none here\n")


def test_nothing_is_shown_unless_enabled(write: Write, environment: dict[str, str], tmp_path: Path) -> None:
    write("bars.py", f'{BARS}\n    if __name__ == "__main__":\n        with app.run():\n            bar.remote()\n')
    done = subprocess.run(
        [sys.executable, "bars.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
