"""Where output goes while it is enabled."""

import os
import re
import sys

from modal_lite.output.live import LiveLines
from modal_lite.output.progress import MapProgress, ProgressGroup
from modal_lite.output.screen import Screen, is_terminal

_DIM = "\x1b[2m"
_DIM_YELLOW = "\x1b[2;33m"
_RESET = "\x1b[0m"
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x1f]")
"""What would move the cursor, or colour what is not the function's."""


class OutputManager:
    """Shows lines of functions and the progress of maps. Its methods may be called from any thread and never raise.

    Args:
        show_progress: Whether maps get a display.
        quiet: Nothing but what functions print is to be shown, without their names before the lines.
    """

    def __init__(self, show_progress: bool, quiet: bool) -> None:
        self.quiet = quiet
        self._screen = Screen()
        self._progress = ProgressGroup(self._screen) if show_progress else None
        self._live = LiveLines()
        self._under_way: dict[tuple[str, str], tuple[str, str]] = {}
        """Container and stream -> function and what the line shows that it draws over and over."""
        self._screen.display = self._display

    def lines(self, tag: str, container_id: str, stream: str, texts: list[str]) -> None:
        """Shows lines that a function wrote.

        Args:
            tag: The function.
            container_id: The container that ran it.
            stream: "stdout" or "stderr".
            texts: The lines without their ends.
        """
        try:
            self._forget((container_id, stream))
            self._screen.write_lines(stream, self._formatted(tag, stream, texts))
        except Exception:
            # A closed or broken stream takes no output; that must not harm the calls that are running.
            pass

    def transient(self, tag: str, container_id: str, stream: str, texts: list[str]) -> None:
        """Shows what a line under way, a progress bar, looks like now: on a terminal, until lines of the stream follow.

        Args:
            tag: The function.
            container_id: The container that runs it.
            stream: "stdout" or "stderr".
            texts: The only text; an empty one for none any more.
        """
        if not self._screen.live or not is_terminal(getattr(sys, stream)):
            return
        key = (container_id, stream)
        text = _CONTROL.sub("", texts[0])
        with self._screen.condition:
            if text:
                self._under_way[key] = ("" if self.quiet else tag, text)
                self._screen.eager = True
            else:
                self._forget(key)
            self._screen.erase()
            self._screen.draw()

    def map_started(self, tag: str) -> MapProgress | None:
        """The display for a map of the function `tag` that starts now; None if there is to be none."""
        return None if self._progress is None else MapProgress(self._progress, tag)

    def hold(self) -> None:
        """Leaves the terminal to others; what is to be shown on it waits."""
        self._screen.hold()

    def resume(self) -> None:
        """Takes the terminal back."""
        try:
            self._screen.resume()
        except (OSError, ValueError):
            pass  # It is gone.

    def close(self) -> None:
        """Takes the progress off the screen and gives `sys.stdout` and `sys.stderr` back."""
        self._screen.close()

    def after_fork_in_child(self) -> None:
        """Makes this copy usable in a process that was forked while another thread may have been writing."""
        self._screen.after_fork_in_child()

    def _forget(self, key: tuple[str, str]) -> None:
        if key in self._under_way:
            with self._screen.condition:
                del self._under_way[key]
                self._screen.eager = bool(self._under_way)

    def _display(self) -> list[str]:
        bars = self._live.render(list(self._under_way.values()), "dim", "")
        return bars if self._progress is None else [*bars, *self._progress.lines()]

    def _formatted(self, tag: str, stream: str, texts: list[str]) -> str:
        if self.quiet:
            before, after = "", ""
        elif not is_terminal(getattr(sys, stream)):
            before, after = f"[{tag}] ", ""
        elif os.environ.get("NO_COLOR"):
            before, after = f"{tag} │ ", ""
        else:
            before = f"{_DIM_YELLOW if stream == 'stderr' else _DIM}{tag} │{_RESET} "
            after = _RESET
        # What a line leaves switched on must not colour the next.
        return "".join([before + text + (after + "\n" if "\x1b" in text else "\n") for text in texts])
