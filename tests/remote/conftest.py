"""Real servers, each in a folder of its own, and programs that talk to them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modal_lite._core.data_directory import DataDirectory
from modal_lite._core.server_process import is_locked
from tests.waiting import wait_until

ROOT = str(Path(__file__).resolve().parents[2])


class Server:
    """A server's data directory, and what is done with it by the command line and by other programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.directory = DataDirectory(folder / "data")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("MODAL_")} | {
            "PYTHONPATH": ROOT,
            "MODAL_LITE_DATA_DIR": str(self.directory.path),
            "NO_COLOR": "1",
            "COLUMNS": "120",
        }

    def cli(self, *words: Any, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs `modal-lite` with these words."""
        done = self._run([sys.executable, "-m", "modal_lite", *map(str, words)])
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def start(self, *words: str) -> "Server":
        """Starts the server."""
        self.cli("server", "start", *words)
        return self

    def pid(self) -> int:
        """The server's process."""
        info = self.directory.read_info()
        assert info is not None
        return info.pid

    def kill(self) -> None:
        """Ends the server as `kill -9` does; returns when its process is gone."""
        os.kill(self.pid(), signal.SIGKILL)
        wait_until(lambda: not is_locked(self.directory), "the end of the server")

    def end(self) -> None:
        """Ends the server in an orderly way, but at once: a second signal ends its wait for calls under way."""
        pid = self.pid()
        while is_locked(self.directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            time.sleep(0.02)

    def deploy(self, source: str, name: str = "app", *words: str, file: str = "deployed.py") -> None:
        """Deploys the source as an app of this name."""
        path = self.folder / "source" / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(source))
        self.cli("deploy", path, "--name", name, *words)

    def python(self, code: str) -> Any:
        """Runs code in a process of its own, with nothing of the app's source; gives what it passed to show()."""
        return shown(self._run([sys.executable, "-c", PRELUDE + textwrap.dedent(code)]))

    def start_python(self, code: str) -> "subprocess.Popen[str]":
        """Starts what `python` runs. The caller waits for it."""
        return subprocess.Popen(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(code)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> None:
        """Stops the server, if it runs."""
        self.cli("server", "stop")

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=50
        )


PRELUDE = "import json, modal_lite\ndef show(x): print('SHOWN', json.dumps(x), flush=True)\n"


def shown(done: Any) -> Any:
    """What a program passed to show() last."""
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("SHOWN ")]
    return json.loads(lines[-1].removeprefix("SHOWN "))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of a module share."""
    made = Server(tmp_path_factory.mktemp("server"))
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server for one test, which may hurt it. Not started."""
    made = Server(tmp_path)
    try:
        yield made
    finally:
        made.stop()
