"""Ctrl-C in a script: everything ends at once, and no library frame is shown."""

import re
import time
from collections.abc import Callable

import pytest

from tests.crash.conftest import Program

BODIES = {
    "remote": "wait.remote(sys.argv[1])",
    "map": "list(wait.map([sys.argv[1]] * 20))",
    "for_each": "wait.for_each([sys.argv[1]] * 20)",
    "get": "wait.spawn(sys.argv[1]).get()",
    "gather": "modal_lite.gather(wait.spawn(sys.argv[1]), wait.spawn(sys.argv[1]))",
    "idle": "wait.spawn(sys.argv[1]); time.sleep(60)",
}


def check_ended(program: Program) -> None:
    status = program.ended()
    assert status in (-2, 130, 1), status
    assert "KeyboardInterrupt" in program.stderr
    assert "modal_lite/" not in program.stderr, program.stderr
    assert "synchronicity" not in program.stderr, program.stderr
    assert not re.search(r"Exception ignored|never retrieved|was destroyed", program.stderr), program.stderr


@pytest.mark.parametrize("how", sorted(BODIES))
def test_ctrl_c(start: Callable[[str], Program], how: str) -> None:
    program = start(f"if __name__ == '__main__':\n    with app.run():\n        {BODIES[how]}\n").ready("started")
    program.interrupt()
    check_ended(program)
    assert (program.folder / "finally").exists(), "the function was not interrupted"


def test_ctrl_c_in_the_middle_of_a_fast_map(start: Callable[[str], Program]) -> None:
    program = start(
        """
        if __name__ == "__main__":
            with app.run():
                for x in same.map(itertools.count()):
                    if x == 5000:
                        print("ready")
        """
    ).ready()
    program.interrupt()
    check_ended(program)


def test_ctrl_c_where_the_block_is_not_left(start: Callable[[str], Program]) -> None:
    """As on CPython 3.12 and 3.13, at the jump of an `if` back to the head of its loop."""
    program = start(
        """
        def main():
            block = app.run()
            block.__enter__()
            print("ready")
            wait.remote(sys.argv[1])
        if __name__ == "__main__":
            main()
        """
    ).ready("started")
    program.interrupt()
    check_ended(program)


def test_ctrl_c_under_asyncio_run(start: Callable[[str], Program]) -> None:
    program = start(
        """
        async def main():
            async with app.run.aio():
                await wait.remote.aio(sys.argv[1])
        if __name__ == "__main__":
            asyncio.run(main())
        """
    ).ready("started")
    program.interrupt()
    check_ended(program)


def test_ctrl_c_while_the_first_containers_start(start: Callable[[str], Program]) -> None:
    program = start(
        """
        if __name__ == "__main__":
            with app.run():
                print("ready")
                wait.remote(sys.argv[1])
        """
    ).ready()
    program.interrupt()
    check_ended(program)


def test_ctrl_c_twice(start: Callable[[str], Program]) -> None:
    program = start("if __name__ == '__main__':\n    with app.run():\n        wait.remote(sys.argv[1])\n").ready(
        "started"
    )
    program.interrupt()
    time.sleep(0.05)
    program.interrupt()
    status = program.ended()
    assert status in (-2, 130, 1)


def test_ctrl_c_that_the_script_handles(start: Callable[[str], Program]) -> None:
    program = start(
        """
        if __name__ == "__main__":
            with app.run():
                try:
                    wait.remote(sys.argv[1])
                except KeyboardInterrupt:
                    print("handled", list(same.map(range(5))))
        """
    ).ready("started")
    program.interrupt()
    assert program.ended() == 0
    assert "handled [0, 1, 2, 3, 4]" in program.stdout
    assert program.stderr == ""
