"""The caller's side of the template process."""

import asyncio
import os
import socket

from modal_lite._placement.forking import ForkingProcess, OnExit
from modal_lite._placement.launch import Launched, launch

_STDERR_TAIL = 8 << 10
"""Bytes of the template's last words that are kept."""
_END_WAIT = 2.0
"""Seconds that a template without a connection may take to end its containers and itself."""
_POLL = 0.001
"""Seconds between two looks at whether the template's process has ended."""


class TemplateProcess(ForkingProcess):
    """A template, and the containers and snapshot processes that it was asked for.

    Args:
        on_exit: Called once for each of them, on the loop that runs now: `on_exit(id, status, reason)`.
        launched: A template that was started for this object; None to start one.

    Attributes:
        pid: The template's process.
    """

    def __init__(self, on_exit: OnExit, launched: Launched | None = None) -> None:
        self._stderr_tail = b""
        self._process, frames, descriptors = launched or launch()
        self.pid = self._process.pid
        super().__init__(on_exit, frames, descriptors)
        assert self._process.stderr is not None
        self._stderr = self._process.stderr
        os.set_blocking(self._stderr.fileno(), False)
        self._loop.add_reader(self._stderr, self._read_stderr)

    async def close(self) -> None:
        """Ends the template and with it all containers. No process is left, even if this is cancelled."""
        try:
            if not self._channel.closed:
                # It ends its containers, reports that, and ends.
                self._frames.shutdown(socket.SHUT_WR)
            await self._wait_for_end()
        finally:
            self._end("it was ended with its app")

    async def _wait_for_end(self) -> None:
        deadline = self._loop.time() + _END_WAIT
        # No event for the end of a process exists on every platform.
        while self._process.poll() is None and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)

    def _lost(self, error: Exception | None) -> None:
        super()._lost(error)
        # What it wrote last, and how it ended, are there only once it has ended, which it does about now.
        self._loop.call_later(_POLL, self._look_at_end, self._loop.time() + _END_WAIT)

    def _look_at_end(self, deadline: float) -> None:
        if self.ended:
            return
        if self._process.poll() is None and self._loop.time() < deadline:
            self._loop.call_later(_POLL, self._look_at_end, deadline)
            return
        self._end(self._describe_end())

    def _describe_end(self) -> str:
        self._read_stderr()
        text = self._stderr_tail.decode("utf-8", "replace").strip()
        status = self._process.returncode
        ended = "did not end" if status is None else f"ended with status {status}"
        return f"the template process of containers {ended}" + (f":\n{text}" if text else "")

    def _end(self, reason: str) -> None:
        """Leaves nothing of the template: no process, no descriptor, no container without its `on_exit`."""
        if self.ended:
            return
        self.ended = True
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if not self._stderr.closed:
            self._loop.remove_reader(self._stderr)
            self._stderr.close()
        self._end_children(reason)

    def _read_stderr(self) -> None:
        if self._stderr.closed:
            return
        try:
            while data := self._stderr.read(_STDERR_TAIL):
                self._stderr_tail = (self._stderr_tail + data)[-_STDERR_TAIL:]
        except BlockingIOError:
            return
        if data == b"":
            self._loop.remove_reader(self._stderr)
            self._stderr.close()
