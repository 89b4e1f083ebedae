"""The server of a data directory as a process: is there one, start one, end it."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time

from modal_lite._core.data_directory import DataDirectory, ServerInfo
from modal_lite.exception import ConnectionError

START_WAIT, STOP_WAIT = 30.0, 45.0
"""Seconds until a server must be there, or gone."""
_POLL = 0.02
_TAIL = 20
"""Lines of what a server that does not start printed last, which are shown."""


def find_server(directory: DataDirectory) -> ServerInfo | None:
    """The server that listens, None if there is none."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(directory.socket))
        except OSError:
            return None
    return directory.read_info()


def start_server(directory: DataDirectory, words: list[str], token: str | None = None) -> ServerInfo:
    """Starts a server in the background; returns when it listens.

    Args:
        directory: Its files.
        words: Options of `modal-lite server run`.
        token: For `--token`; not among the words, which other users can see.

    Raises:
        modal_lite.exception.ConnectionError: It did not start; the message has what it printed.
    """
    try:
        directory.create()
        process = _launch(directory, words, token)
    except OSError as error:
        raise ConnectionError(f"The server cannot be started: {error}") from None
    deadline = time.monotonic() + START_WAIT
    while (info := find_server(directory)) is None:
        # One that ends because another has just been started leaves that to listen.
        if process.poll() is not None and not is_locked(directory):
            raise ConnectionError(f"The server did not start.\n{_end_of_output(directory)}")
        if time.monotonic() > deadline:
            raise ConnectionError(f"The server did not start within {START_WAIT:g} seconds; see {directory.log}.")
        time.sleep(_POLL)
    if process.poll() is None:
        process.returncode = 0  # It outlives this process, which need not complain that nobody waits for it.
    return info


def stop_server(directory: DataDirectory, info: ServerInfo) -> None:
    """Ends the server; returns when it is gone.

    Raises:
        modal_lite.exception.ConnectionError: It does not end.
    """
    try:
        os.kill(info.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + STOP_WAIT
    while is_locked(directory):
        if time.monotonic() > deadline:
            raise ConnectionError(f"The server, process {info.pid}, has not ended within {STOP_WAIT:g} seconds.")
        time.sleep(_POLL)


def is_locked(directory: DataDirectory) -> bool:
    """True while a server has the directory to itself, whether it listens or not."""
    try:
        with directory.lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _launch(directory: DataDirectory, words: list[str], token: str | None) -> "subprocess.Popen[bytes]":
    with directory.output.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "modal_lite", "server", "run", "--background", *words],
            env=_environment(directory, token),
            cwd=directory.path,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _environment(directory: DataDirectory, token: str | None) -> dict[str, str]:
    # The package may have been found in the current folder, which is not the server's.
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if package_parent in map(os.path.abspath, [entry or "." for entry in sys.path]) and package_parent not in path:
        path.append(package_parent)
    environment = os.environ | {"MODAL_LITE_DATA_DIR": str(directory.path)}
    if path:
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path))
    if token is not None:
        environment["MODAL_LITE_TOKEN"] = token
    return environment


def _end_of_output(directory: DataDirectory) -> str:
    lines = directory.output.read_text("utf-8", "replace").splitlines()
    return "\n".join(lines[-_TAIL:])
