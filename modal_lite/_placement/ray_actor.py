"""What Ray runs for a container: an actor that starts the container's host, and ends with it."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import msgspec

_CONNECTED = b"connected\n"
"""What the host says when it has spoken with the server."""
_LAST_WORDS = 4 << 10
_UNASKED = 60.0
"""Seconds after which nobody asks any more why the host has not connected."""


class ContainerActor:
    """Starts the host of a container, which dies with this process.

    Args:
        container_id: The container.
        token: What the host shows the server, once. All else, variables and secrets among it, it asks the server for:
            Ray keeps the arguments of actors.
        url: Where the server is.
        python: The interpreter for the container; None for this one.
    """

    def __init__(self, container_id: str, token: str, url: str, python: str | None) -> None:
        self._connected = threading.Event()
        self._failure = ""
        program = python or sys.executable
        try:
            # From the thread that Ray runs this in, the main one: the host ends with the thread that has started it.
            self._host = subprocess.Popen(
                [program, "-P", "-m", "modal_lite._worker.host"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
            )
        except OSError as error:
            # Told when it is asked for: Ray wraps what is raised here into pages of its own.
            self._failure = f"{program} cannot be run on {socket.gethostname()}: {error.strerror}"
            self._end_with(None)
            return
        orders = {
            "url": url,
            "container_id": container_id,
            "token": token,
            "parent": os.getpid(),
        }
        assert self._host.stdin is not None
        try:
            self._host.stdin.write(msgspec.json.encode(orders))
            self._host.stdin.close()
        except BrokenPipeError:
            pass  # It has ended, and will say why.
        self._end_with(self._host)

    def connected(self) -> str:
        """Returns this machine's id in Ray when the host has connected. Raises RuntimeError if it cannot."""
        import ray

        if self._failure:
            raise RuntimeError(self._failure)
        assert self._host.stdout is not None and self._host.stderr is not None
        if not self._connected.is_set():
            if self._host.stdout.readline() != _CONNECTED:
                words = self._host.stderr.read()[-_LAST_WORDS:].decode("utf-8", "replace").strip().splitlines()
                # Of a traceback, the last line tells.
                raise RuntimeError(words[-1] if words else f"its host ended with status {self._host.wait()}")
            self._connected.set()
        node_id: str = ray.get_runtime_context().get_node_id()
        return node_id

    def _end_with(self, host: "subprocess.Popen[bytes] | None") -> None:
        """Has this process end with the host; soon after it if that never connected, and may yet be asked for why.

        Nobody asks, and nobody removes the actor, if the server's machine is gone.
        """

        def end() -> None:
            if host is not None:
                host.wait()
            self._connected.wait(_UNASKED)
            os._exit(0)

        threading.Thread(target=end, daemon=True).start()


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    # Set by Ray to the cores of the actor, which are not those of the container.
    environment.pop("OMP_NUM_THREADS", None)
    parent = str(Path(__file__).parents[2])
    path = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if Path(parent).name != "site-packages" and parent not in path:
        environment["PYTHONPATH"] = os.pathsep.join([*path, parent])
    return environment
