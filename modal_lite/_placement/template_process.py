"""The caller's side of a template process."""

import asyncio
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from modal_lite._core.messages import ContainerSpec, Exited, Fork, Forked, ForkFailed, FromTemplate, Kill
from modal_lite._placement.launch import Launched, launch
from modal_lite._placement.local_container import LocalContainer
from modal_lite._transport.channel import Channel

_FORKS_AHEAD = 8
"""Forks that the template is asked for before it has answered. Bounds the descriptors that are on their way."""
_STDERR_TAIL = 8 << 10
"""Bytes of the template's last words that are kept."""
_END_WAIT = 2.0
"""Seconds that a template without a connection may take to end its containers and itself."""
_POLL = 0.001
"""Seconds between two looks at whether the template's process has ended."""

OnExit = Callable[[str, int | None, str], None]


class TemplateProcess:
    """A template, and the containers that it was asked for.

    `on_exit(container_id, status, reason)` is called once for each container, on the loop that runs now. `launched` is
    a template that was started for this object; None to start one.

    Attributes:
        pid: The template's process.
        containers: Those that have not ended, by id.
        lost: True once the connection has ended: nothing can be started any more.
        ended: True once nothing is left of it.
    """

    def __init__(self, on_exit: OnExit, launched: Launched | None = None) -> None:
        self.containers: dict[str, LocalContainer] = {}
        self.lost = False
        self.ended = False
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[ContainerSpec, LocalContainer]] = deque()
        self._asked = 0
        self._stderr_tail = b""
        self._changed = asyncio.Event()
        self._process, self._frames, self._descriptors = launched or launch()
        self.pid = self._process.pid
        assert self._process.stderr is not None
        self._stderr = self._process.stderr
        os.set_blocking(self._stderr.fileno(), False)
        self._loop.add_reader(self._stderr, self._read_stderr)
        self._channel = Channel(self._frames, FromTemplate, self._received, self._lost)

    def fork(self, spec: ContainerSpec, container: LocalContainer) -> None:
        """Has a container forked, or tells `on_exit` that it could not be."""
        self.containers[spec.container_id] = container
        self._waiting.append((spec, container))
        self._send_waiting()

    def kill(self, container_id: str, signum: int) -> None:
        """Sends a signal to a container, if it still lives."""
        for entry in self._waiting:
            if entry[0].container_id == container_id:
                self._waiting.remove(entry)
                self._loop.call_soon(self._exited, container_id, None, "it was ended before it had started")
                return
        self._channel.send(Kill(container_id, signum))

    async def empty(self, grace: float) -> None:
        """Asks all containers to end; returns when they have, after `grace` seconds at the latest."""
        for container_id in list(self.containers):
            self.kill(container_id, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                while self.containers:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass

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

    def _send_waiting(self) -> None:
        while self._waiting and self._asked < _FORKS_AHEAD and not self._channel.closed:
            spec, container = self._waiting.popleft()
            try:
                socket.send_fds(self._descriptors, [b"f"], container.remote_fds())
            except OSError as error:
                self._loop.call_soon(self._exited, spec.container_id, None, f"it could not be started: {error}")
                continue
            finally:
                container.close_remote()
            self._asked += 1
            self._channel.send(Fork(spec))

    def _received(self, message: Any, body: memoryview) -> None:
        match message:
            case Forked():
                self._answered()
                if message.container_id in self.containers:
                    self.containers[message.container_id].pid = message.pid
            case ForkFailed():
                self._answered()
                self._exited(message.container_id, None, f"it could not be started: {message.reason}")
            case Exited():
                self._exited(message.container_id, message.status, "")

    def _answered(self) -> None:
        self._asked -= 1
        self._send_waiting()

    def _exited(self, container_id: str, status: int | None, reason: str) -> None:
        container = self.containers.pop(container_id, None)
        if container is not None:
            container.close_remote()
            self._changed.set()
            self._on_exit(container_id, status, reason)

    def _lost(self, error: Exception | None) -> None:
        self.lost = True
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
        self._channel.close()
        self._descriptors.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if not self._stderr.closed:
            self._loop.remove_reader(self._stderr)
            self._stderr.close()
        self._waiting.clear()
        for container in list(self.containers.values()):
            # On Linux they have died with the template, but perhaps not what they had started.
            if container.pid is not None:
                _kill_group(container.pid)
            self._exited(container.container_id, None, reason)

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


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # Nothing left.
