"""Containers' stdout and stderr, line by line."""

import asyncio
import codecs
import os
from collections import deque
from collections.abc import Callable

MAX_LINE = 64 << 10
"""Characters; a longer line is passed on in pieces."""
TAIL_LINES = 20
_READ_SIZE = 64 << 10


class OutputReader:
    """Reads a pipe without blocking and passes complete lines on; remembers the last ones for error messages."""

    def __init__(self, fd: int, on_line: Callable[[str], None]) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._fd = fd
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = ""
        self._open = True
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._readable)

    def drain(self) -> None:
        """Passes on what is in the pipe now."""
        while self._open and self._read():
            pass

    def close(self) -> None:
        """Passes on what is left and closes the pipe. Safe to call again."""
        self.drain()
        self._end()

    def _readable(self) -> None:
        self._read()

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
        self._take(self._decoder.decode(data))
        return True

    def _take(self, text: str) -> None:
        *lines, rest = (self._partial + text).split("\n")
        for line in lines:
            self._pass(line)
        while len(rest) > MAX_LINE:
            self._pass(rest[:MAX_LINE])
            rest = rest[MAX_LINE:]
        self._partial = rest

    def _pass(self, line: str) -> None:
        self.tail.append(line)
        self._on_line(line)

    def _end(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            rest = self._partial + self._decoder.decode(b"", final=True)
            self._partial = ""
            if rest:
                self._pass(rest)
