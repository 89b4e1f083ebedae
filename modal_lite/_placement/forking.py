"""The caller's side of a process that forks containers: the template, or a snapshot process."""

import asyncio
import signal
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from modal_lite._core.messages import Exited, Fork, Forked, ForkFailed, FromTemplate, Kill, TakeSnapshot
from modal_lite._core.process_group import kill_group
from modal_lite._transport.channel import Channel

_FORKS_AHEAD = 8
"""Forks that the process is asked for before it has answered. Bounds the descriptors that are on their way."""

OnExit = Callable[[str, int | None, str], None]


class Child(Protocol):
    """What is forked: the ends of its sockets and pipes that it is to have, until it has them."""

    pid: int | None

    def remote_fds(self) -> list[int]:
        """Its descriptors, in the order in which it expects them."""

    def close_remote(self) -> None:
        """Closes them here. Safe to call again."""


class ForkingProcess:
    """The process, and the children that it was asked for.

    Args:
        on_exit: Called once for each child, on the loop that runs now: `on_exit(id, status, reason)`.
        frames: The socket for messages.
        descriptors: The socket for the children's descriptors.

    Attributes:
        children: Those that have not ended, by id.
        lost: True once the connection has ended: nothing can be started any more.
        ended: True once nothing is left of it.
    """

    def __init__(self, on_exit: OnExit, frames: socket.socket, descriptors: socket.socket) -> None:
        self.children: dict[str, Child] = {}
        self.lost = False
        self.ended = False
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[str, Fork | TakeSnapshot, Child]] = deque()
        self._asked = 0
        self._changed = asyncio.Event()
        self._frames = frames
        self._descriptors = descriptors
        self._channel = Channel(frames, FromTemplate, self._received, self._lost)

    def fork(self, child_id: str, message: Fork | TakeSnapshot, child: Child) -> None:
        """Has a child forked, or tells `on_exit` that it could not be."""
        self.children[child_id] = child
        self._waiting.append((child_id, message, child))
        self._send_waiting()

    def kill(self, child_id: str, signum: int) -> None:
        """Sends a signal to a child, if it still lives."""
        if not self.withdraw(child_id):
            self._channel.send(Kill(child_id, signum))

    def withdraw(self, child_id: str) -> bool:
        """Gives a child up that the process has not been asked for yet; False if it has been."""
        for entry in self._waiting:
            if entry[0] == child_id:
                self._waiting.remove(entry)
                self._loop.call_soon(self._exited, child_id, None, "it was ended before it had started")
                return True
        return False

    async def empty(self, grace: float) -> None:
        """Asks all children to end; returns when they have, after `grace` seconds at the latest."""
        for child_id in list(self.children):
            self.kill(child_id, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                while self.children:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass

    def _send_waiting(self) -> None:
        while self._waiting and self._asked < _FORKS_AHEAD and not self._channel.closed:
            child_id, message, child = self._waiting.popleft()
            try:
                socket.send_fds(self._descriptors, [b"f"], child.remote_fds())
            except OSError as error:
                self._loop.call_soon(self._exited, child_id, None, f"it could not be started: {error}")
                continue
            finally:
                child.close_remote()
            self._asked += 1
            self._channel.send(message)

    def _received(self, message: Any, body: memoryview) -> None:
        match message:
            case Forked():
                self._answered()
                if message.container_id in self.children:
                    self.children[message.container_id].pid = message.pid
            case ForkFailed():
                self._answered()
                self._exited(message.container_id, None, f"it could not be started: {message.reason}")
            case Exited():
                self._exited(message.container_id, message.status, "")

    def _answered(self) -> None:
        self._asked -= 1
        self._send_waiting()

    def _exited(self, child_id: str, status: int | None, reason: str) -> None:
        child = self.children.pop(child_id, None)
        if child is not None:
            child.close_remote()
            self._changed.set()
            self._on_exit(child_id, status, reason)

    def _lost(self, error: Exception | None) -> None:
        self.lost = True

    def _end_children(self, reason: str) -> None:
        """Leaves no descriptor, and no child without its `on_exit`."""
        self._channel.close()
        self._descriptors.close()
        self._waiting.clear()
        for child_id, child in list(self.children.items()):
            # On Linux they have died with the process, but perhaps not what they had started.
            if child.pid is not None:
                kill_group(child.pid)
            self._exited(child_id, None, reason)
