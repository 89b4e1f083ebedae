"""`modal-lite run` on a terminal: live progress, and Ctrl-C."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests.cli.conftest import COMMAND

Write = Callable[[str, str], Path]
Spawn = Callable[..., pexpect.spawn]

WAITING = """
    import time
    import modal_lite
    app = modal_lite.App()
    @app.function()
    def nap(x=0):
        time.sleep(0.001)
        return x
    @app.function()
    def hang():
        print("hanging")
        time.sleep(60)
    @app.local_entrypoint()
    def mapping():
        for x in nap.map(range(1500)):
            if x % 500 == 0:
                print("got", x)
    @app.local_entrypoint()
    def wait_here():
        nap.remote()
        print("waiting")
        time.sleep(60)
    @app.local_entrypoint()
    def wait_there():
        hang.remote()
    @app.local_entrypoint()
    async def wait_async():
        await hang.remote.aio()
    """


def test_live_progress_of_a_map(spawn: Spawn, write: Write) -> None:
    write("waiting.py", WAITING)
    child = spawn("run", "waiting.py::mapping")
    child.expect(r"nap │ .*inputs done so far")
    child.expect(r"\r\x1b\[2Kgot 1000\r\n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


@pytest.mark.parametrize(
    ("name", "sign"), [("wait_here", "waiting"), ("wait_there", "hanging"), ("wait_async", "hanging")]
)
def test_ctrl_c_is_quiet(name: str, sign: str, spawn: Spawn, write: Write) -> None:
    write("waiting.py", WAITING)
    child = spawn("run", f"waiting.py::{name}")
    child.expect(sign + "\r\n")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.before == "^C\r\nInterrupted.\r\n"
    assert child.exitstatus == 130


def test_a_quiet_run_does_not_mention_ctrl_c(write: Write, tmp_path: Path, environment: dict[str, str]) -> None:
    write("waiting.py", WAITING)
    child = subprocess.Popen(
        [*COMMAND, "run", "-q", "waiting.py::wait_here"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline() == "waiting\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130
        assert child.stderr.read() == ""
