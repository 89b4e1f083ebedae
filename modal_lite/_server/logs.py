"""Containers' stdout and stderr, line by line."""

import asyncio
import codecs
import os
from collections import deque
from collections.abc import Callable

import msgspec

from modal_lite._core.requests import FunctionDefinition
from modal_lite._server.lines import Lines

TAIL_LINES = 20
TRANSIENT_INTERVAL = 0.1
"""Seconds between two states of a line under way at least."""
_READ_SIZE = 64 << 10
_LAST_READS = 32
"""Reads after the end at most: more than a pipe holds. Whoever writes on has outlived the container."""


class Written(msgspec.Struct, frozen=True):
    """What a container wrote."""

    function: FunctionDefinition
    """Its function, and with it the app."""
    container_id: str
    input_id: str | None
    """The input that ran when this was read, if there was just one. Of fast inputs it may be one of the next."""
    stream: str
    """One of `log_streams`."""
    lines: list[str]
    """Without their ends."""
    transient: bool
    """It is not a line but what the line under way, a progress bar, shows now; it replaces what was said of it before
    and is itself replaced by the next lines. Empty: there is nothing to show any more."""


OnLines = Callable[[list[str], bool], None]
"""(lines, whether they are transient) as in `Written`."""


class OutputReader:
    """Reads a pipe without blocking and passes complete lines on; remembers the last ones for error messages."""

    def __init__(self, fd: int, on_lines: OnLines) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._fd = fd
        self._on_lines = on_lines
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lines = Lines()
        self._shown = ""
        self._timer: asyncio.TimerHandle | None = None
        self._open = True
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    def drain(self) -> None:
        """Passes on what is in the pipe now."""
        for _ in range(_LAST_READS):
            if not self._open or not self._read():
                return

    def close(self) -> None:
        """Passes on what is left and closes the pipe. Safe to call again."""
        self.drain()
        self._end()

    def _read(self) -> bool:
        """Reads once; False when there is nothing now."""
        try:
            data = os.read(self._fd, _READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._end()
            return False
        self._pass(self._lines.take(self._decoder.decode(data)))
        if self._lines.redrawn and self._timer is None:
            # The first state, too, has its time: much is written over at once, or ends.
            self._timer = self._loop.call_later(TRANSIENT_INTERVAL, self._show_state)
        return True

    def _pass(self, lines: list[str]) -> None:
        if lines:
            self._shown = ""
            self.tail.extend(lines)
            self._on_lines(lines, False)

    def _show_state(self) -> None:
        self._timer = None
        state = self._lines.state if self._lines.redrawn else ""
        if state != self._shown:
            self._shown = state
            self._on_lines([state], True)

    def _end(self) -> None:
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        if self._timer is not None:
            self._timer.cancel()
        rest = [*self._lines.take(self._decoder.decode(b"", final=True)), self._lines.end()]
        self._pass([line for line in rest if line])
        self._show_state()
