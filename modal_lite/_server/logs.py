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


class OutputFeed:
    """Passes complete lines on of what it is given; remembers the last ones for error messages."""

    def __init__(self, on_lines: OnLines) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._on_lines = on_lines
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lines = Lines()
        self._shown = ""
        self._timer: asyncio.TimerHandle | None = None
        self._open = True
        self._loop = asyncio.get_running_loop()

    def feed(self, data: bytes) -> None:
        """The container has written this."""
        self._pass(self._lines.take(self._decoder.decode(data)))
        if self._lines.redrawn and self._timer is None:
            # The first state, too, has its time: much is written over at once, or ends.
            self._timer = self._loop.call_later(TRANSIENT_INTERVAL, self._show_state)

    def drain(self) -> None:
        """Passes on what is there by now, and nobody has fed."""

    def close(self) -> None:
        """Passes on what is left, which is no whole line. Safe to call again."""
        if not self._open:
            return
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
        rest = [*self._lines.take(self._decoder.decode(b"", final=True)), self._lines.end()]
        self._pass([line for line in rest if line])
        self._show_state()

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


class OutputReader(OutputFeed):
    """Reads a pipe without blocking, and feeds itself."""

    def __init__(self, fd: int, on_lines: OnLines) -> None:
        super().__init__(on_lines)
        self._fd = fd
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    def drain(self) -> None:
        """See `OutputFeed`: what is in the pipe now."""
        for _ in range(_LAST_READS):
            if not self._open or not self._read():
                return

    def close(self) -> None:
        """See `OutputFeed`. Closes the pipe."""
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
        self.feed(data)
        return True

    def _end(self) -> None:
        if self._open:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            super().close()
