"""Where output goes while it is enabled."""

import os
import sys

from modal_lite.output.progress import MapProgress, ProgressGroup
from modal_lite.output.screen import Screen, is_terminal

_DIM = "\x1b[2m"
_DIM_YELLOW = "\x1b[2;33m"
_RESET = "\x1b[0m"


class OutputManager:
    """Shows lines of functions and the progress of maps. Its methods may be called from any thread and never raise.

    Args:
        show_progress: Whether maps get a display.
        prefix: Whether lines of functions begin with the name of the function.
    """

    def __init__(self, show_progress: bool, prefix: bool) -> None:
        self._prefix = prefix
        self._screen = Screen()
        self._progress = ProgressGroup(self._screen) if show_progress else None

    def line(self, tag: str, container_id: str, stream: str, text: str) -> None:
        """Shows a line that a function wrote.

        Args:
            tag: The function.
            container_id: The container that ran it.
            stream: "stdout" or "stderr".
            text: The line without its end.
        """
        try:
            self._screen.write_line(stream, self._formatted(tag, stream, text))
        except Exception:
            # A closed or broken stream takes no output; that must not harm the calls that are running.
            pass

    def map_started(self, tag: str) -> MapProgress | None:
        """The display for a map of the function `tag` that starts now; None if there is to be none."""
        return None if self._progress is None else MapProgress(self._progress, tag)

    def close(self) -> None:
        """Takes the progress off the screen and gives `sys.stdout` and `sys.stderr` back."""
        self._screen.close()

    def after_fork_in_child(self) -> None:
        """Makes this copy usable in a process that was forked while another thread may have been writing."""
        self._screen.after_fork_in_child()

    def _formatted(self, tag: str, stream: str, text: str) -> str:
        if not self._prefix:
            return text
        if not is_terminal(getattr(sys, stream)):
            return f"[{tag}] {text}"
        if "\r" in text:
            # A progress bar that was drawn over and over: its last state, which a terminal would show.
            text = next((part for part in reversed(text.split("\r")) if part.strip()), "")
        if os.environ.get("NO_COLOR"):
            return f"{tag} │ {text}"
        if "\x1b" in text:
            text += _RESET
        return f"{_DIM_YELLOW if stream == 'stderr' else _DIM}{tag} │{_RESET} {text}"
