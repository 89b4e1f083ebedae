"""Running a program in the place of the container's function: a shell, say."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from types import FrameType

_CANNOT_RUN, _NOT_FOUND = 126, 127
"""What shells report for commands that they cannot run."""


def run_program(words: list[str]) -> int:
    """Runs a program with the container's environment and terminal, and waits for it.

    Args:
        words: The program and its arguments; none for the user's shell.

    Returns:
        Its exit status, as shells give it: 128 and the signal for one that a signal has ended.
    """
    words = words or [_shell()]
    # Ctrl-C is the program's. Unlike a signal that is ignored, a handler is not inherited by it.
    before = {number: signal.signal(number, _leave_to_the_program) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        process = subprocess.Popen(words, env=_environment())
        try:
            status = process.wait()
        except BaseException:
            process.send_signal(signal.SIGHUP)
            raise
    except OSError as error:
        print(f"{words[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201  (on the user's terminal)
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_RUN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _shell() -> str:
    wanted = os.environ.get("SHELL", "")
    return shutil.which(wanted) or shutil.which("bash") or "/bin/sh"


def _environment() -> dict[str, str]:
    """The container's variables, so that its Python is found, and that Python finds the same modules."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if not _is_python_s_own(path))
    if sys.prefix != sys.base_prefix:
        environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), environment.get("PATH", os.defpath)])
    return environment


def _is_python_s_own(path: str) -> bool:
    """True if an interpreter has it on its path by itself: not for other interpreters, which may be started as well."""
    own = sysconfig.get_paths()
    places = {own[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return path.endswith(".zip") or any(path == place or path.startswith(place + os.sep) for place in places)


def _leave_to_the_program(number: int, frame: FrameType | None) -> None:
    """Does nothing."""
