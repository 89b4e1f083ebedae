"""What functions print and how far maps are, shown to whoever runs the app.

Nothing is shown unless `enable_output` is in effect; `modal-lite run` puts it into effect by itself.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from modal_lite.output.manager import OutputManager
from modal_lite.output.progress import MapProgress

__all__ = ["enable_output"]

_lock = threading.Lock()
_depth = 0
_manager: OutputManager | None = None


@contextmanager
def enable_output(show_progress: bool = True) -> Iterator[None]:
    """Shows what functions print, and the progress of maps, for as long as the `with` block runs.

    A line that a function writes to its standard output or error appears on the standard output or error of this
    process, behind the name of the function. Progress goes to standard error: a live line for each map on a terminal,
    elsewhere a line every few seconds. Meanwhile `sys.stdout` and `sys.stderr` are stand-ins for what they were, so
    that lines of the program and lines of its functions do not get mixed up. A line that a function draws over and
    over, such as a progress bar, is live on a terminal; what stays is its last state. Inside of another
    `enable_output` it has no effect: the outermost decides.

    Args:
        show_progress: Whether to show the progress of maps.
    """
    with _enabled(show_progress, quiet=False):
        yield


@contextmanager
def quiet_output() -> Iterator[None]:
    """Like `enable_output`, with nothing but what functions print: no names before the lines, no progress."""
    with _enabled(show_progress=False, quiet=True):
        yield


def say(text: str) -> None:
    """Tells the user something that the library does of its own accord."""
    if sys.stderr is not None:
        sys.stderr.write(f"{text}\n")


def current() -> OutputManager | None:
    """Where output goes now; None if none is to be shown."""
    return _manager


def map_progress(tag: str) -> MapProgress | None:
    """The display for a map of the function `tag` that starts now; None if none is to be shown."""
    return None if _manager is None else _manager.map_started(tag)


@contextmanager
def _enabled(show_progress: bool, quiet: bool) -> Iterator[None]:
    global _depth, _manager
    with _lock:
        if _depth == 0:
            _manager = OutputManager(show_progress, quiet)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0 and _manager is not None:
                manager, _manager = _manager, None
                manager.close()


def _after_fork_in_child() -> None:
    # Another thread of the parent may have held the locks at that moment: here nobody would ever release them.
    global _lock
    _lock = threading.Lock()
    if _manager is not None:
        _manager.after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
