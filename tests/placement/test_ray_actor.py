"""What Ray runs for a container, where no Ray is needed for it."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, time
from modal_lite._placement import ray_actor
ray_actor._UNASKED = 0.2
actor = ray_actor.ContainerActor("ta-1", "key", "http://127.0.0.1:1", sys.argv[1] or None)
time.sleep(30)
print("it holds its machine's cores still")
"""


@pytest.mark.parametrize("python", ["", "/no/such/python"], ids=["no server", "no interpreter"])
def test_an_actor_that_nobody_asks_about_ends_after_its_host(python: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, python], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
