"""Starting the template's interpreter.

Apart from what follows it, so that this comes first: an app that opens imports the control plane while the template
imports what the containers need.
"""

import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from modal_lite._transport.forks import close_in_forks

_START = (
    # The template never collects garbage, least of all during its imports.
    "import gc, sys; gc.disable(); frames, descriptors, *sys.path[:] = sys.argv[1:]; sys.argv[1:] = []; "
    "from modal_lite._worker.template import main; main(int(frames), int(descriptors))"
)


class Launched(NamedTuple):
    """A template that is starting, and the sockets that lead to it. What is sent meanwhile waits for it."""

    process: "subprocess.Popen[bytes]"
    frames: socket.socket
    descriptors: socket.socket

    def close(self) -> None:
        """Ends a template that nobody is going to use."""
        self.frames.close()
        self.descriptors.close()
        self.process.kill()
        with self.process:  # closes the pipe and waits
            pass


def launch() -> Launched:
    """Starts the interpreter in a session of its own, so that the terminal's Ctrl-C does not reach it.

    Raises:
        OSError: This process is out of descriptors, or there can be no other.
    """
    frames, their_frames = socket.socketpair()
    descriptors, their_descriptors = socket.socketpair()
    close_in_forks(frames)
    close_in_forks(descriptors)
    with their_frames, their_descriptors:
        fds = (their_frames.fileno(), their_descriptors.fileno())
        # The same path in the same order finds the same modules as here; the package is added for callers that took
        # its directory off the path again.
        package_parent = str(Path(__file__).parents[2])
        path = [*sys.path] if package_parent in sys.path else [*sys.path, package_parent]
        try:
            process = subprocess.Popen(
                [sys.executable, *_interpreter_options(), "-P", "-c", _START, *map(str, fds), *path],
                bufsize=0,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=fds,
                start_new_session=True,
            )
        except BaseException:
            frames.close()
            descriptors.close()
            raise
    return Launched(process, frames, descriptors)


def _interpreter_options() -> list[str]:
    """The options with which this interpreter was started, as far as they matter to what runs in it."""
    letters = {
        "dont_write_bytecode": "B",
        "bytes_warning": "b",
        "ignore_environment": "E",
        "no_user_site": "s",
        "no_site": "S",
        "optimize": "O",
    }
    options = [f"-{letter * int(getattr(sys.flags, flag))}" for flag, letter in letters.items()]
    options = [option for option in options if option != "-"]
    options += [f"-W{option}" for option in sys.warnoptions]
    for name, value in sys._xoptions.items():
        options += ["-X", name if value is True else f"{name}={value}"]
    return options
