"""Ctrl-C at random moments. MODAL_LITE_INTERRUPTS says how often; a change that matters here is worth 200 times."""

import os
import random
import time
from collections.abc import Callable

import pytest

from tests.crash.conftest import Program
from tests.crash.test_interrupts import check_ended

TIMES = int(os.environ.get("MODAL_LITE_INTERRUPTS", "8"))
BODIES = {
    "calls": """
        with app.run():
            print("ready")
            for x in itertools.count():
                assert same.remote(x) == x
    """,
    "awaited calls": """
        async def call(x):  # whose frame it is that a task cancelled before its first step shows
            return await same.remote.aio(x)
        async def main():
            async with app.run.aio():
                print("ready")
                while True:
                    await asyncio.gather(*[call(x) for x in range(20)])
        asyncio.run(main())
    """,
    "a map": """
        with app.run():
            print("ready")
            for x in same.map(itertools.count()):
                pass
    """,
    "a map of maps": """
        with app.run():
            print("ready")
            for x in same.map(same.map(slow.map(itertools.count()))):
                pass
    """,
    "spawned calls": """
        with app.run():
            print("ready")
            while True:
                modal_lite.gather(*[same.spawn(x) for x in range(5)])
    """,
}
_seed = random.randrange(1 << 32)


@pytest.mark.parametrize("turn", range(TIMES))
def test_ctrl_c_at_any_moment(start: Callable[[str], Program], turn: int) -> None:
    after = random.Random(f"{_seed} {turn}").random() ** 2 * 0.2
    how = sorted(BODIES)[turn % len(BODIES)]
    print(f"{how}, interrupted after {after:.4f} s")
    program = start("if __name__ == '__main__':\n" + BODIES[how].replace("\n        ", "\n    ")).ready()
    time.sleep(after)
    program.interrupt()
    check_ended(program)
    assert not list(program.temporary.iterdir())
