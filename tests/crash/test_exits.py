"""Exit hooks run whatever ends their container, and take a bounded time."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.conftest import Program
from tests.waiting import wait_until

CLASS = """
class Model:
    def __init__(self, folder, exit_seconds=0):
        self.folder = folder
        self.exit_seconds = exit_seconds

    def note(self, word):
        open(os.path.join(self.folder, word), "w").close()

    @modal_lite.enter()
    def start(self):
        self.note("entered")

    @modal_lite.method()
    def work(self, seconds=0):
        self.note("works")
        time.sleep(seconds)
        return os.getpid()

    @modal_lite.exit()
    def stop(self):
        self.note("leaving")
        time.sleep(self.exit_seconds)
        self.note("left")
"""


def source(body: str, options: str = "") -> str:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"@app.cls({options}){CLASS}\nif __name__ == '__main__':\n{lines}\n"


def there(folder: Path, word: str) -> None:
    wait_until(lambda: (folder / word).exists(), f"the file {word}")


ENDS = {
    "the end of the block": ("with app.run(): Model(sys.argv[1], 1.5).work.remote()", 0),
    "a running input": ("with app.run(): Model(sys.argv[1], 1.5).work.spawn(60); wait_for('works')", 0),
    "an exception": ("with app.run(): Model(sys.argv[1]).work.remote(); raise KeyError('mine')", 1),
    "sys.exit": ("with app.run(): Model(sys.argv[1], 1.5).work.remote(); sys.exit(5)", 5),
}
WAIT_FOR = """
def wait_for(word):
    while not os.path.exists(os.path.join(sys.argv[1], word)):
        time.sleep(0.01)

"""


@pytest.mark.parametrize("how", sorted(ENDS))
def test_the_end_of_a_script(start: Callable[[str], Program], how: str) -> None:
    body, status = ENDS[how]
    program = start(WAIT_FOR + source(body))
    assert program.ended() == status, program.stderr
    assert (program.folder / "left").exists()


@pytest.mark.parametrize("seconds", [0, 60])
def test_ctrl_c(start: Callable[[str], Program], seconds: int) -> None:
    program = start(source(f"with app.run(): Model(sys.argv[1], {seconds}).work.remote(60)"))
    there(program.folder, "works")
    program.interrupt()
    program.ended()
    assert (program.folder / "leaving").exists()
    assert (program.folder / "left").exists() == (seconds == 0)
    assert not re.search(r"Exception ignored|never retrieved|was destroyed|modal_lite/", program.stderr), program.stderr


def test_ctrl_c_during_the_exits(start: Callable[[str], Program]) -> None:
    program = start(source("with app.run(): Model(sys.argv[1], 60).work.remote()"))
    there(program.folder, "leaving")
    program.interrupt()
    program.ended()
    assert "KeyboardInterrupt" in program.stderr
    assert not re.search(r"Exception ignored|never retrieved|was destroyed|modal_lite/", program.stderr), program.stderr


def test_exits_of_idle_containers_have_time(start: Callable[[str], Program]) -> None:
    body = """
with app.run():
    Model(sys.argv[1], 1.5).work.remote()
    wait_for("left")
"""
    program = start(WAIT_FOR + source(body, "scaledown_window=0.1"))
    assert program.ended() == 0, program.stderr


def test_sigterm_to_a_container(start: Callable[[str], Program]) -> None:
    body = """
with app.run():
    os.kill(Model(sys.argv[1]).work.remote(), 15)
    wait_for("left")
    Model(sys.argv[1]).work.remote()
"""
    program = start(WAIT_FOR + source(body))
    assert program.ended() == 0, program.stderr
