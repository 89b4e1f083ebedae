"""However a script ends, nothing of it is left, and it ends promptly."""

import re
import signal
from collections.abc import Callable

import psutil
import pytest

from tests.crash.conftest import Program
from tests.waiting import PROMPT

BODIES = {
    "while a call runs": "wait.remote(sys.argv[1])",
    "while a map runs": "list(wait.map([sys.argv[1]] * 20))",
    "while spawned calls run": "calls = [wait.spawn(sys.argv[1]) for _ in range(10)]; time.sleep(60)",
}


@pytest.mark.parametrize("how", sorted(BODIES))
def test_kill_9_of_the_script(start: Callable[[str], Program], how: str) -> None:
    program = start(f"if __name__ == '__main__':\n    with app.run():\n        {BODIES[how]}\n").ready("started")
    assert len(program.family()) >= 2, "there should be a template and a container"
    program.process.kill()
    assert program.ended() == -signal.SIGKILL


def test_kill_9_while_everything_is_busy(start: Callable[[str], Program]) -> None:
    program = start(
        """
        if __name__ == "__main__":
            with app.run():
                for x in same.map(itertools.count()):
                    if x == 20000:
                        print("ready")
        """
    ).ready()
    program.process.kill()
    assert program.ended() == -signal.SIGKILL


def test_kill_9_of_a_script_whose_forked_child_lives_on(start: Callable[[str], Program]) -> None:
    program = start(
        """
        if __name__ == "__main__":
            with app.run():
                same.remote(1)
                if (fork := os.fork()) == 0:
                    os.environ.clear()
                    time.sleep(60)
                    os._exit(0)
                print(f"fork {fork}.")
                wait.remote(sys.argv[1])
        """
    ).ready("started")
    fork = psutil.Process(int(re.search(r"fork (\d+)\.", program.stdout)[1]))
    # The tag is in the fork's environment as the system shows it, so the containers are told apart by their parent.
    templates = [p for p in program.family() if p.ppid() == program.process.pid and p.children()]
    family = [p for template in templates for p in (template, *template.children())]
    assert len(family) >= 2
    program.process.kill()
    _, alive = psutil.wait_procs(family, timeout=PROMPT)
    fork.kill()
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def test_sigterm_to_the_script(start: Callable[[str], Program]) -> None:
    program = start("if __name__ == '__main__':\n    with app.run():\n        wait.remote(sys.argv[1])\n").ready(
        "started"
    )
    program.process.terminate()
    assert program.ended() == -signal.SIGTERM


ENDS = {
    "unfinished spawns": ("with app.run(): [wait.spawn(sys.argv[1]) for _ in range(10)]; wait_for_start()", 0),
    "an exception": ("with app.run(): wait.spawn(sys.argv[1]); wait_for_start(); raise KeyError('mine')", 1),
    "sys.exit in the block": ("with app.run(): wait.spawn(sys.argv[1]); wait_for_start(); sys.exit(5)", 5),
    "os._exit in the block": ("with app.run(): wait.spawn(sys.argv[1]); wait_for_start(); os._exit(6)", 6),
    "the block never left": ("run = app.run(); run.__enter__(); wait.spawn(sys.argv[1]); wait_for_start()", 0),
    "a map half consumed": ("with app.run(): m = slow.map(itertools.count()); print([next(m) for _ in range(5)])", 0),
    "a map half consumed outside": (
        "r = app.run(); r.__enter__(); m = same.map(itertools.count()); print([next(m) for _ in range(5)])",
        0,
    ),
    "a daemon thread that waits": (
        "import threading\n"
        "    with app.run():\n"
        "        threading.Thread(target=wait.remote, args=sys.argv[1:], daemon=True).start(); wait_for_start()",
        0,
    ),
}


@pytest.mark.parametrize("how", sorted(ENDS))
def test_ends(start: Callable[[str], Program], how: str) -> None:
    body, status = ENDS[how]
    program = start(
        "def wait_for_start():\n"
        "    while not any(name.startswith('started') for name in os.listdir(sys.argv[1])): time.sleep(0.01)\n"
        f"if __name__ == '__main__':\n    {body}\n"
    )
    assert program.ended() == status, program.stderr
    if "exception" in how:
        assert "KeyError: 'mine'" in program.stderr
        assert "modal_lite/" not in program.stderr
    elif "thread" not in how:
        assert program.stderr == ""
