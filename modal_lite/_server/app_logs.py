"""What the containers of deployed apps write, in a file for each app."""

import asyncio
import math
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from modal_lite._server.logs import Written

MAX_BYTES = 16 << 20
"""Bytes of a file; when it has more it becomes the one before, which is dropped."""

MAX_WATCHED = 1000
"""Lines that are kept for somebody who is slower than the app that writes them; the newest."""
_TICK = 1e-6
"""Seconds between two writes at least, by what the lines say."""
_END = 64 << 10
"""Bytes of a file's end that are searched first for what is new."""


class LogLine(msgspec.Struct, frozen=True):
    """A line that a container wrote."""

    time: float
    """Seconds since the epoch."""
    function: str
    container: str
    input: str | None
    stream: str
    text: str


class LogWatcher:
    """Somebody who waits for what an app writes."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque(maxlen=MAX_WATCHED)
        self._written = asyncio.Event()

    def take(self, lines: list[LogLine]) -> None:
        """The app has written these."""
        self._lines.extend(lines)
        self._written.set()

    async def next(self) -> list[LogLine]:
        """Waits for lines; gives those that are there, of many the last ones."""
        await self._written.wait()
        self._written.clear()
        lines = list(self._lines)
        self._lines.clear()
        return lines


class AppLogs:
    """The log files of all apps.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}
        self._watchers: dict[str, set[LogWatcher]] = {}
        self._latest: dict[str, float] = {}
        """The time of the last lines of an app; no two writes have the same."""
        self._followed: dict[str, float] = {}
        """When somebody last asked for what is new of an app."""

    def write(self, written: Written) -> None:
        """Adds what a container wrote. Raises OSError."""
        if written.transient:
            return
        function = written.function
        now = max(time.time(), self._latest.get(function.app_id, 0.0) + _TICK)
        self._latest[function.app_id] = now
        lines = [
            LogLine(now, function.tag, written.container_id, written.input_id, written.stream, text)
            for text in written.lines
        ]
        file = self._file(function.app_id)
        for watcher in self._watchers.get(function.app_id, ()):
            watcher.take(lines)
        file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        file.flush()
        if file.tell() > MAX_BYTES:
            self._files.pop(function.app_id).close()
            os.replace(self._path(function.app_id), self._path(function.app_id, ".1"))

    def read(self, app_id: str, count: int) -> list[LogLine]:
        """The last lines of an app, oldest first. Raises OSError."""
        lines: deque[bytes] = deque(maxlen=count)
        for path in (self._path(app_id, ".1"), self._path(app_id)):
            if path.exists():
                with path.open("rb") as file:
                    lines.extend(file)
        return [msgspec.json.decode(line, type=LogLine) for line in lines if line.endswith(b"\n")]

    @contextmanager
    def watched(self, app_id: str) -> Iterator["LogWatcher"]:
        """Gives what an app writes from now on, as long as the context lasts."""
        watchers = self._watchers.setdefault(app_id, set())
        watcher = LogWatcher()
        watchers.add(watcher)
        try:
            yield watcher
        finally:
            watchers.discard(watcher)
            if not watchers:
                self._watchers.pop(app_id, None)

    def read_new(self, app_id: str, count: int, after: float) -> list[LogLine]:
        """The first lines of those written after this time: so many, and what was written together with the last.

        Costs next to nothing if there are none. Raises OSError.
        """
        self._followed[app_id] = time.time()
        if self._latest.get(app_id, math.inf) <= after:
            return []
        lines: list[LogLine] = []
        for path in (self._path(app_id), self._path(app_id, ".1")):
            if path.exists():
                found = _end_of(path, after)
                lines[:0] = [line for line in found if line.time > after]
                if len(lines) < len(found):
                    break  # What is before is older.
        return [line for line in lines if line.time <= lines[min(count, len(lines)) - 1].time]

    def followed(self, since: float) -> set[str]:
        """The apps whose new lines somebody has asked for since then."""
        self._followed = {app_id: asked for app_id, asked in self._followed.items() if asked >= since}
        return set(self._followed)

    def remove(self, app_id: str) -> None:
        """Deletes what an app wrote. Raises OSError."""
        self._latest.pop(app_id, None)
        file = self._files.pop(app_id, None)
        if file is not None:
            file.close()
        for suffix in ("", ".1"):
            self._path(app_id, suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _file(self, app_id: str) -> BinaryIO:
        file = self._files.get(app_id)
        if file is None:
            file = self._files[app_id] = self._path(app_id).open("ab")
        return file

    def _path(self, app_id: str, suffix: str = "") -> Path:
        return self._folder / f"{app_id}.jsonl{suffix}"


def _end_of(path: Path, after: float) -> list[LogLine]:
    """The file's last lines: all that were written after this time, and perhaps some before. Raises OSError."""
    size, wanted = path.stat().st_size, _END
    with path.open("rb") as file:
        while True:
            file.seek(start := max(0, size - wanted))
            # Where it does not begin with the file, the first may be part of a line.
            lines = file.read(size - start).splitlines(keepends=True)[start > 0 :]
            whole = [line for line in lines if line.endswith(b"\n")]
            if start == 0 or (whole and msgspec.json.decode(whole[0], type=LogLine).time <= after):
                return [msgspec.json.decode(line, type=LogLine) for line in whole]
            wanted *= 4
