"""Programs whose containers come from a memory snapshot: nothing is left of them, whatever ends them."""

import signal
from collections.abc import Callable

import pytest

from tests.crash.conftest import Program
from tests.waiting import wait_until

SOURCE = """
import subprocess

@app.cls(enable_memory_snapshot=True, min_containers=0, max_containers=2)
class Model:
    def __init__(self, folder, entering=False):
        self.folder = folder
        self.entering = entering

    def note(self, word):
        open(os.path.join(self.folder, f"{word}-{os.getpid()}"), "w").close()

    @modal_lite.enter(snap=True)
    def load(self):
        self.held = bytearray(1 << 20)
        subprocess.Popen(["sleep", "60"])
        self.note("loading")
        if self.entering:
            time.sleep(60)

    @modal_lite.method()
    def work(self, seconds):
        subprocess.Popen(["sleep", "60"])
        self.note("works")
        time.sleep(seconds)

    @modal_lite.exit()
    def stop(self):
        self.note("left")

def wait_for(pattern, count):
    import glob
    while len(glob.glob(os.path.join(sys.argv[1], pattern + "-*"))) < count:
        time.sleep(0.01)

if __name__ == "__main__":
    with app.run():
        WHAT
"""
WORKS = "list(Model(sys.argv[1]).work.map([60, 60]))"
ENTERS = "Model(sys.argv[1], True).work.remote(60)"


def notes(program: Program, word: str, count: int) -> None:
    wait_until(lambda: len(list(program.folder.glob(f"{word}-*"))) >= count, f"{count} files {word}")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize(("what", "word", "count"), [(WORKS, "works", 2), (ENTERS, "loading", 1)])
def test_the_program_is_ended(
    start: Callable[[str], Program], how: signal.Signals, what: str, word: str, count: int
) -> None:
    program = start(SOURCE.replace("WHAT", what))
    notes(program, word, count)
    program.process.send_signal(how)
    program.ended()
    assert len(list(program.folder.glob("loading-*"))) == 1
    assert len(list(program.folder.glob("left-*"))) == (2 if how is signal.SIGINT and what == WORKS else 0)


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("list(Model(sys.argv[1]).work.map([0.2] * 4))", 2),
        ("Model(sys.argv[1], True).work.spawn(60); wait_for('loading', 1)", 0),
    ],
)
def test_the_end_of_the_block(start: Callable[[str], Program], what: str, left: int) -> None:
    program = start(SOURCE.replace("WHAT", what))
    assert program.ended() == 0, program.stderr
    assert len(list(program.folder.glob("left-*"))) == left
