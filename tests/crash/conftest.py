"""Programs of their own, to be killed and interrupted, and what is left of them."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.waiting import PROMPT

TAG = "MODAL_LITE_CRASH_TEST"
HEAD = """
import asyncio, itertools, os, sys, time
import modal_lite
app = modal_lite.App("crash")

@app.function(max_containers=2)
def wait(folder):
    open(os.path.join(folder, f"started-{os.getpid()}"), "w").close()
    try:
        time.sleep(60)
    finally:
        open(os.path.join(folder, "finally"), "w").close()

@app.function()
def same(x):
    return x

@app.function(max_containers=2)
def slow(x):
    time.sleep(0.05)
    return x

"""


class Program:
    """A running program; `ready` waits until it has said so."""

    def __init__(self, folder: Path, source: str) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        """Its directory of temporary files."""
        self.temporary.mkdir()
        self._tag = uuid.uuid4().hex
        path = folder / "program.py"
        path.write_text(HEAD + textwrap.dedent(source))
        environment = os.environ | {
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self.temporary),
            TAG: self._tag,
        }
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        with open(self._stdout, "w") as out, open(self._stderr, "w") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(path), str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
            )

    @property
    def stdout(self) -> str:
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    def family(self) -> list[psutil.Process]:
        """All its processes but itself."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.pid != self.process.pid and process.environ().get(TAG) == self._tag
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def ready(self, word: str = "ready") -> "Program":
        """Returns when the program has printed the word, or a container has started to wait."""
        deadline = time.monotonic() + 20
        while word not in self.stdout and not (word == "started" and list(self.folder.glob("started-*"))):
            assert self.process.poll() is None, self.stderr
            assert time.monotonic() < deadline, f"not ready: {self.stdout} {self.stderr}"
            time.sleep(0.005)
        return self

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal gives it: to the whole foreground process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self, within: float = PROMPT) -> int:
        """The exit status; everything that belongs to the program has to be gone after `within` seconds."""
        deadline = time.monotonic() + within
        try:
            status = self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended after {within} s: {self.stderr}") from None
        while (left := self.family()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not left, f"processes are left: {left}"
        return status

    def end(self) -> None:
        """Leaves nothing of it, whatever happened."""
        for process in self.family():
            process.kill()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    """Starts a program."""
    started: list[Program] = []

    def start(source: str) -> Program:
        started.append(Program(tmp_path, source))
        return started[-1]

    yield start
    for program in started:
        program.end()
