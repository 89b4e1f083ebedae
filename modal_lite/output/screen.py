"""The program's stdout and stderr, shared with lines from elsewhere and a display that stays below all of them.

`print` makes several writes of one line, in a thread that knows nothing of ours; so while output is enabled, stand-ins
for `sys.stdout` and `sys.stderr` see every write. A line from elsewhere waits for the line under way, and the display
is taken off the terminal before anything is written and put back after it.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, TextIO

LINE_PATIENCE = 0.02
"""Seconds that a line from elsewhere waits for the program to end its own: longer than a `print` ever takes. Those who
leave a line open on purpose ("working… ") are broken in on."""
MAX_HELD = 1 << 20
"""Characters that are held back at most while the terminal is in other hands; the oldest of more are dropped."""
REDRAW_INTERVAL = 0.05
"""Seconds between two drawings at least."""


def is_terminal(stream: Any) -> bool:
    """True if the stream leads to a terminal that understands control sequences."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False  # no stream at all, or a closed one


class Screen:
    """Puts its stand-ins in the place of `sys.stdout` and `sys.stderr` until it is closed.

    Attributes:
        condition: Held by whoever writes; notified when the program ends a line.
        open: Whether there is anything to show still: until it is closed, and not in forked children.
        live: Whether standard error can show a display.
        eager: Whether the display is put back at once; else the next drawing brings it back.
        display: Makes the lines to show below everything else, without their ends; none at first.
    """

    def __init__(self) -> None:
        # Reentrant: signal handlers and finalizers print while their thread is writing.
        self.condition = threading.Condition(threading.RLock())
        self.open = True
        self.eager = False
        self.display: Callable[[], list[str]] = list
        self._drawn = 0
        self._drawn_at = 0.0
        self._held: deque[tuple[TextIO, str]] | None = None
        """What was written to the terminal while it was in other hands; None while it is not."""
        self._held_size = 0
        self._dropped = 0
        self._stand_ins: dict[str, StandIn] = {}
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None:
                self._stand_ins[name] = StandIn(self, stream)
                setattr(sys, name, self._stand_ins[name])
        stderr = self._stand_ins.get("stderr")
        self.live = stderr is not None and stderr.is_terminal

    def write_lines(self, name: str, lines: str) -> None:
        """Writes whole lines from elsewhere to `sys.stdout` or `sys.stderr`. Raises what the stream raises."""
        stream = getattr(sys, name)
        stand_in = self._stand_ins.get(name)
        if stream is None:
            return
        if stand_in is None or stream is not stand_in:
            # Redirected by the program meanwhile: whatever that is, it has to keep order by itself.
            _write(stream, lines)
            return
        with self.condition:
            if self.holds_back(stand_in, lines):
                return
            rivals = self._sharing_with(stand_in)
            self.condition.wait_for(lambda: not _in_the_way(rivals), max(map(_patience, rivals)))
            broken = _in_the_way(rivals)
            self.erase()
            for rival in broken:
                rival.stream.flush()
                rival.mid_line = False
            _write(stand_in.stream, ("\n" if broken else "") + lines)
            self.draw()

    def hold(self) -> None:
        """Leaves the terminal to others: what is written to it meanwhile is held back."""
        with self.condition:
            self.erase()
            if self._held is None:
                self._held = deque()

    def resume(self) -> None:
        """Takes the terminal back, and writes what was held back."""
        with self.condition:
            held, self._held = self._held, None
            dropped, self._held_size, self._dropped = self._dropped, 0, 0
            if dropped:
                self._write_display(f"… ({dropped:,} characters are missing here)\n")
            for stream, text in held or ():
                _write(stream, text)
            self.draw()

    def holds_back(self, stand_in: "StandIn", text: str) -> bool:
        """True if the text is kept for later. The condition is held."""
        if self._held is None or not stand_in.is_terminal:
            return False
        self._held.append((stand_in.stream, text))
        self._held_size += len(text)
        while self._held_size > MAX_HELD:
            _, oldest = self._held.popleft()
            self._held_size -= len(oldest)
            self._dropped += len(oldest)
        return True

    def refresh(self) -> None:
        """Shows the display as it is now. Does nothing if that was done a moment ago."""
        with self.condition:
            if monotonic() - self._drawn_at >= REDRAW_INTERVAL:
                self.erase()
                self.draw()

    def erase(self) -> None:
        """Takes the display off the terminal. The condition is held."""
        if self._drawn:
            above = self._drawn - 1
            self._drawn = 0
            self._write_display("\r\x1b[2K" + "\x1b[1A\x1b[2K" * above)

    def draw(self) -> None:
        """Puts the display back, unless that was done a moment ago or a line is under way. The condition is held."""
        if not self.live or self._drawn or self._held is not None:
            return
        if not self.eager and monotonic() - self._drawn_at < REDRAW_INTERVAL:
            return
        if any(stand_in.is_terminal and stand_in.mid_line for stand_in in self._stand_ins.values()):
            return
        self._drawn_at = monotonic()
        lines = self.display()
        if lines:
            self._write_display("\n".join(lines))
            self._drawn = len(lines)

    def close(self) -> None:
        """Takes the display away and gives `sys.stdout` and `sys.stderr` back."""
        with self.condition:
            self.resume()
            self.erase()
            self.open = self.live = False
        for name, stand_in in self._stand_ins.items():
            if getattr(sys, name) is stand_in:
                setattr(sys, name, stand_in.stream)

    def after_fork_in_child(self) -> None:
        """Gives the child a condition that nobody holds, and leaves the display to the parent."""
        self.condition = threading.Condition(threading.RLock())
        self.open = self.live = False
        self._drawn = 0
        self._held = None

    def _sharing_with(self, stand_in: "StandIn") -> list["StandIn"]:
        """The streams whose open line would be torn by a line on this one: a terminal shows both."""
        if not stand_in.is_terminal:
            return [stand_in]
        return [other for other in self._stand_ins.values() if other.is_terminal]

    def _write_display(self, text: str) -> None:
        stream = self._stand_ins["stderr"].stream
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError):
            self.live = False  # the terminal is gone


class StandIn:
    """Stands in for a text stream: passes everything on, and knows whether a line is under way."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self.stream = stream
        self.is_terminal = is_terminal(stream)
        self.mid_line = False
        self.written_at = 0.0
        self._screen = screen

    def write(self, text: str) -> int:
        """See `io.TextIOBase.write`."""
        if not isinstance(text, str):
            # By trying, click and others find out whether a stream is one of text, also while the screen is held.
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        screen = self._screen
        with screen.condition:
            if screen.holds_back(self, text):
                return len(text)
            if self.is_terminal:
                screen.erase()
            count = self.stream.write(text)
            if text:
                self.mid_line = text[-1] != "\n"
                self.written_at = monotonic()
            if not self.mid_line:
                screen.condition.notify_all()
                if self.is_terminal:
                    screen.draw()
            return count

    def writelines(self, lines: Iterable[str]) -> None:
        """See `io.IOBase.writelines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _in_the_way(stand_ins: list[StandIn]) -> list[StandIn]:
    return [stand_in for stand_in in stand_ins if stand_in.mid_line]


def _patience(stand_in: StandIn) -> float:
    return max(0.0, stand_in.written_at + LINE_PATIENCE - monotonic()) if stand_in.mid_line else 0.0


def _write(stream: Any, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
