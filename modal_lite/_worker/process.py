"""The container as a process: its standard streams, its surroundings, its end."""

import atexit
import ctypes
import importlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence

from modal_lite._core import context
from modal_lite._core.messages import ContainerSpec
from modal_lite._transport.forks import Closable

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 32 << 20
"""Bytes. Larger blocks go back to the system when they are freed, and at most twice as much is kept in all."""
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with(parent_pid: int, signum: int = signal.SIGKILL) -> None:
    """Has the system send this process the signal when its parent is gone, where the system can (Linux)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def keep_memory() -> None:
    """Has glibc keep freed memory for the next input instead of returning it to the system each time.

    Payloads are allocated and freed at the rate of inputs; fresh pages for each of them cost more than the copying.
    """
    if _libc is not None and hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        _libc.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_KEPT)


def redirect_output(stdout_fd: int, stderr_fd: int) -> None:
    """Makes the pipes this process's standard output and error, and closes the descriptors."""
    redirect_descriptors(stdout_fd, stderr_fd)
    sys.stdout = sys.__stdout__ = _text_stream(1, "<stdout>", "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _text_stream(2, "<stderr>", "backslashreplace")  # type: ignore[misc]


def redirect_descriptors(stdout_fd: int, stderr_fd: int) -> None:
    """The same below `sys.stdout` and `sys.stderr`, which stay the objects that they are."""
    os.dup2(stdout_fd, 1)
    os.dup2(stderr_fd, 2)
    os.close(stdout_fd)
    os.close(stderr_fd)


def _text_stream(fd: int, name: str, errors: str) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    raw.name = name
    # By line also where that costs something: what a killed container has printed must not be lost with it.
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", errors, line_buffering=True)


def standard_input() -> io.TextIOWrapper:
    """A text stream for what descriptor 0 is now, with nothing of what it was."""
    raw = io.FileIO(0, closefd=False)
    raw.name = "<stdin>"
    return io.TextIOWrapper(io.BufferedReader(raw), "utf-8", "strict")


def enter_surroundings(spec: ContainerSpec) -> None:
    """Gives this process the working directory, the module path and the environment that all containers of it have.

    Raises:
        OSError: There is no such directory.
    """
    os.environ.update(spec.env)
    os.chdir(spec.cwd)
    sys.path[:] = spec.sys_path
    sys.argv[:] = [spec.main.path or spec.main.name if spec.main is not None else ""]
    # The template may have looked into directories of the path before files were put there.
    importlib.invalidate_caches()


def enter_own_environment(spec: ContainerSpec) -> None:
    """Gives this process the variables that are its own."""
    os.environ.update(spec.own_env)


def reset_in_forks(held: Sequence[Closable], fds: list[int]) -> None:
    """Makes processes that user code forks ordinary ones, which neither hold `held` and `fds` nor keep our handlers.

    Signals wait meanwhile: our handler, in a fork that has just been made and is ended already, would lose them, or
    take them for the container's.
    """
    masks: dict[int, set[int]] = {}

    def hold_signals() -> None:
        masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))

    def release_signals() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop(threading.get_ident(), set()))

    def reset() -> None:
        signal.set_wakeup_fd(-1)
        for each in held:
            each.close()
        while fds:
            os.close(fds.pop())
        context.terminal = None  # The container's. If it is attached, its standard streams are here as well.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGURG, signal.SIG_DFL)
        release_signals()

    os.register_at_fork(before=hold_signals, after_in_parent=release_signals, after_in_child=reset)


def flush_output() -> None:
    """Makes what user code has printed visible, also an unfinished line."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # Closed, or replaced by user code, or nobody reads it any more.


def finish() -> None:
    """What an interpreter does at its end: waits for threads, runs exit functions, flushes."""
    for step in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        try:
            step()
        except BaseException:
            traceback.print_exc()
    flush_output()
