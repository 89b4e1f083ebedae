"""Nothing is left of the memory that containers share with the program, whichever of them is killed."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.crash.conftest import Program
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

MAP = """
    if __name__ == "__main__":
        with app.run():
            for x in same.map(bytes([i % 256]) * 3_000_000 for i in itertools.count()):
                assert x == x[:1] * 3_000_000
                if x[0] % 16 == 15:
                    print("ready")
    """


def shared_files(pid: int) -> list[str]:
    """The shared memory that a process has a descriptor of."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue  # closed meanwhile
        if "modal-lite-bodies" in target:
            found.append(target)
    return found


def containers(program: Program) -> list[psutil.Process]:
    return [p for p in program.family() if p.ppid() != program.process.pid]


def test_kill_9_of_the_program(start: Callable[[str], Program]) -> None:
    before = set(os.listdir("/dev/shm"))
    program = start(MAP).ready()
    assert shared_files(program.process.pid)
    program.process.kill()
    assert program.ended() == -signal.SIGKILL
    assert set(os.listdir("/dev/shm")) <= before


def test_kill_9_of_containers(start: Callable[[str], Program]) -> None:
    before = set(os.listdir("/dev/shm"))
    program = start(MAP).ready()
    for _ in range(4):
        for victim in containers(program):
            victim.kill()
        done = program.stdout.count("ready")
        wait_until(lambda: program.stdout.count("ready") > done + 1 or program.process.poll() is not None)  # noqa: B023
        assert program.process.poll() is None, program.stderr
    wait_until(
        lambda: len(shared_files(program.process.pid)) == len(containers(program)), "the end of what the dead shared"
    )
    program.process.kill()
    program.ended()
    assert set(os.listdir("/dev/shm")) <= before
