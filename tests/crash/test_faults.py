"""Faults at named places: every caller has the right outcome in time, and nothing is left."""

import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.crash.conftest import Program

linux = pytest.mark.skipif(sys.platform != "linux", reason="sets limits of another process")

STEPS = """
from pathlib import Path
FOLDER = Path(sys.argv[1]) if modal_lite.is_local() else Path(__file__).parent

def at(step):
    \"\"\"Kills this container the first time that one gets to this step, if it is the one that is tried.\"\"\"
    if not modal_lite.is_local() and (FOLDER / "step").read_text() == step:
        try:
            os.close(os.open(FOLDER / f"died-{step}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), 9)

class Argument:
    def __reduce__(self):
        at("the result is pickled")
        return revived, ()

def revived():
    at("the arguments are unpickled")
    return Argument()

at("its module is imported")

@app.cls(max_containers=1, scaledown_window=0.05)
class Model:
    def __init__(self):
        at("its class is made")

    @modal_lite.enter()
    def enter(self):
        at("its class is entered")

    @modal_lite.method()
    def work(self, x, argument):
        at("an input runs")
        return x, argument

    @modal_lite.method()
    def stream(self, x):
        at("a generator begins")
        yield x

    @modal_lite.exit()
    def leave(self):
        at("its class is left")
"""
NAMES = re.findall(r'at\("([^"]+)"\)', STEPS)


def check_clean(program: Program, status: int = 0) -> None:
    """It ended so, and nothing of it is left, nor any word of a task or an object that was forgotten."""
    assert program.ended() == status, program.stderr
    assert not re.search(r"Exception ignored|never retrieved|was destroyed|never awaited", program.stderr)
    assert not list(program.temporary.iterdir())


def test_a_container_killed_at_each_step_of_its_life(start: Callable[[str], Program]) -> None:
    program = start(
        STEPS
        + f"""
if __name__ == "__main__":
    for step in {NAMES!r}:
        (FOLDER / "step").write_text(step)
        with app.run():
            for turn in range(2):
                assert [x for x, _ in Model().work.map(range(3), kwargs={{"argument": Argument()}})] == [0, 1, 2]
                assert list(Model().stream.remote_gen(turn)) == [turn]
                while "left" in step and not (FOLDER / f"died-{{step}}").exists():
                    time.sleep(0.01)
        assert (FOLDER / f"died-{{step}}").exists(), step
"""
    )
    check_clean(program)
    assert program.stderr == ""


def test_everything_but_the_program_is_killed_at_once(start: Callable[[str], Program]) -> None:
    program = start(
        """
        if __name__ == "__main__":
            with app.run():
                calls = [slow.spawn(-x) for x in range(20)]
                for x in slow.map(range(60)):
                    print("ready", x)
                assert [call.get() for call in calls] == [-x for x in range(20)]
                print("all there")
        """
    )
    for word in ("ready 1\n", "ready 20\n", "ready 40\n"):
        program.ready(word)
        for victim in program.family():
            victim.kill()
    check_clean(program)
    assert "ready 59\nall there" in program.stdout


FREEZE = """
@app.function(max_containers=1, timeout=0.3)
def freeze(how):
    if how == "freeze":
        os.kill(os.getpid(), 19)
    return os.getpid()
"""


def test_frozen_containers(start: Callable[[str], Program]) -> None:
    program = start(
        FREEZE
        + """
from modal_lite.exception import FunctionTimeoutError, InputCancelledError

if __name__ == "__main__":
    with app.run():
        running = freeze.spawn("freeze")
        other = freeze.with_options(timeout=0.4)
        idle = other.remote("")
        os.kill(idle, 19)
        never_begun = other.spawn("")
        endless = freeze.with_options(timeout=60)
        call = endless.spawn("freeze")
        while not endless.get_current_stats().num_running_inputs:
            time.sleep(0.01)
        call.cancel()
        try:
            call.get()
        except InputCancelledError:
            print("cancelled")
        try:
            running.get()
        except FunctionTimeoutError:
            print("timed out")
        assert never_begun.get() != idle
        freeze.with_options(timeout=61).spawn("freeze")
        time.sleep(0.2)
    print("ended")
"""
    )
    check_clean(program)
    assert program.stdout == "cancelled\ntimed out\nended\n"


@linux
def test_a_function_whose_further_containers_cannot_start(start: Callable[[str], Program]) -> None:
    program = start(
        """
        import resource
        if __name__ == "__main__":
            with app.run():
                slow.remote(0)
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (80, hard))
                taken = []
                try:
                    while True:
                        taken.append(os.dup(0))
                except OSError:
                    pass
                assert list(slow.map(range(20))) == list(range(20))
                try:
                    same.remote(1)
                except modal_lite.exception.ContainerLostError as error:
                    assert "Too many open files" in str(error)
                for fd in taken:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                assert same.remote(1) == 1
        """
    )
    check_clean(program)


@linux
def test_a_template_that_has_no_descriptors_left(start: Callable[[str], Program]) -> None:
    program = start(
        """
        import psutil, resource
        if __name__ == "__main__":
            with app.run():
                assert same.remote(1) == 1
                (template,) = psutil.Process().children()
                limits = template.rlimit(resource.RLIMIT_NOFILE)
                highest = max(int(fd) for fd in os.listdir(f"/proc/{template.pid}/fd"))
                template.rlimit(resource.RLIMIT_NOFILE, (highest + 3, limits[1]))
                try:
                    slow.remote(1)
                except modal_lite.exception.ContainerLostError as error:
                    assert "fork: Too many open files" in str(error), error
                    print("refused")
                assert same.remote(2) == 2
                template.rlimit(resource.RLIMIT_NOFILE, limits)
                assert slow.remote(1) == 1
        """
    )
    check_clean(program)
    assert program.stdout == "refused\n"


def test_a_limit_of_the_size_of_files(start: Callable[[str], Program]) -> None:
    program = start(
        """
        import resource
        if __name__ == "__main__":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
            with app.run():
                assert same.remote(bytes(3_000_000)) == bytes(3_000_000)
        """
    )
    check_clean(program)


def _other_user() -> int | None:
    """A user for whom a limit of processes counts, and who can run this interpreter; None: the present one."""
    if os.geteuid() != 0:
        return None
    nobody = 65534
    try:
        subprocess.run([sys.executable, "-c", "import modal_lite"], user=nobody, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("root has no limit of processes, and another user cannot run this interpreter")
    return nobody


@linux
def test_no_process_can_be_forked(start: Callable[[str], Program]) -> None:
    user = _other_user()
    program = start(
        f"""
        import resource
        if __name__ == "__main__":
            if {user!r}:
                os.setresuid({user!r}, {user!r}, {user!r})
            with app.run():
                assert slow.remote(1) == 1
                soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
                import psutil
                (template,) = psutil.Process().children()
                template.rlimit(resource.RLIMIT_NPROC, (1, hard))
                try:
                    same.remote(1)
                except modal_lite.exception.ContainerLostError as error:
                    assert "fork: Resource temporarily unavailable" in str(error), error
                    print("refused")
                assert list(slow.map(range(5))) == list(range(5))
                template.rlimit(resource.RLIMIT_NPROC, (soft, hard))
                assert same.remote(1) == 1
        """
    )
    check_clean(program)
    assert program.stdout == "refused\n"
