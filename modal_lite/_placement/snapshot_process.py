"""The caller's side of a snapshot process: a template's fork that has loaded one function, and forks containers."""

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import Any, cast

from modal_lite._core.ids import new_id
from modal_lite._core.messages import ContainerSpec, Fork, SnapshotTaken, TakeSnapshot
from modal_lite._placement.forking import Child, ForkingProcess, OnExit
from modal_lite._placement.local_container import LocalContainer
from modal_lite._placement.template_process import TemplateProcess
from modal_lite._transport.forks import close_in_forks

UNUSED_LIFE = 600.0
"""Seconds that it is kept without a container."""


class SnapshotProcess(ForkingProcess):
    """The process, and the containers that it was asked for. They wait until the snapshot is taken.

    Args:
        on_exit: Called once for each container, on the loop that runs now: `on_exit(id, status, reason)`.
        on_taken: Called with this object when the snapshot is taken, or failed, or turned out to be of no use.
        template: What it is forked from.
        spec: That of the container that it is made for.
        maker: That container. What the user's code prints meanwhile is its output, and if it ends, this does.

    Attributes:
        snapshot_id: What it is called as a child of the template.
        function_id: What it has loaded.
        pid: The process, once it is there.
        taken: What the process has said of the snapshot, None until then.
    """

    def __init__(
        self,
        on_exit: OnExit,
        on_taken: Callable[["SnapshotProcess"], None],
        template: TemplateProcess,
        spec: ContainerSpec,
        maker: LocalContainer,
    ) -> None:
        self.snapshot_id = new_id("sn")
        self.function_id = spec.function_id
        self.pid: int | None = None
        self.taken: SnapshotTaken | None = None
        self._on_taken = on_taken
        self._template = template
        self._maker = maker
        self._ending = False
        self._timer: asyncio.TimerHandle | None = None
        frames, descriptors = self._socket_pairs()
        super().__init__(on_exit, frames, descriptors)
        template.fork(self.snapshot_id, TakeSnapshot(self.snapshot_id, spec), self)

    def remote_fds(self) -> list[int]:
        """The process's descriptors, in the order of `SnapshotDescriptors`."""
        return [*(end.fileno() for end in self._theirs), *self._maker.output_fds()]

    def close_remote(self) -> None:
        """See `Child`."""
        for end in self._theirs:
            end.close()

    def fork(self, child_id: str, message: Fork | TakeSnapshot, child: Child) -> None:
        """See `ForkingProcess`."""
        self._cancel_timer()
        super().fork(child_id, message, child)

    def withdraw(self, child_id: str) -> bool:
        """See `ForkingProcess`."""
        if self.taken is None and child_id == self._maker.container_id:
            # Its own end follows, and is the container's.
            self.end()
            return True
        return super().withdraw(child_id)

    def withdraw_all(self) -> None:
        """Gives up every container that it has not been asked for yet."""
        for child_id, _, _ in list(self._waiting):
            self.withdraw(child_id)

    def take_waiting(self) -> list[tuple[Fork, LocalContainer]]:
        """The containers that it has not been asked for yet, which are somebody else's now."""
        waiting = list(self._waiting)
        self._waiting.clear()
        for child_id, _, _ in waiting:
            del self.children[child_id]
        return cast("list[tuple[Fork, LocalContainer]]", [(message, child) for _, message, child in waiting])

    def end(self) -> None:
        """Has the process end, and its containers with it. It is the template that tells when it has."""
        self._cancel_timer()
        self._ending = True
        if self.taken is None:
            self._template.kill(self.snapshot_id, signal.SIGKILL)
        elif not self._channel.closed:
            self._frames.shutdown(socket.SHUT_WR)

    def has_ended(self, reason: str) -> None:
        """Frees what is held of it. Containers that it had forked are lost for that reason."""
        self.ended = self.lost = True
        self._cancel_timer()
        self._end_children(reason)

    def _send_waiting(self) -> None:
        if self.taken is not None:
            super()._send_waiting()

    def _received(self, message: Any, body: memoryview) -> None:
        if isinstance(message, SnapshotTaken):
            if self._ending:
                return
            self.taken = message
            self._on_taken(self)
            self._send_waiting()
        else:
            super()._received(message, body)

    def _exited(self, child_id: str, status: int | None, reason: str) -> None:
        super()._exited(child_id, status, reason)
        if self.children or self.taken is None or self.ended:
            return
        if self.taken.failed:
            self.end()
        else:
            self._cancel_timer()
            self._timer = self._loop.call_later(UNUSED_LIFE, self.end)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _socket_pairs(self) -> tuple[socket.socket, socket.socket]:
        """Our ends. Raises OSError if this process is out of descriptors."""
        frames, their_frames = socket.socketpair()
        try:
            descriptors, their_descriptors = socket.socketpair()
        except BaseException:
            frames.close()
            their_frames.close()
            raise
        self._theirs = (their_frames, their_descriptors)
        return close_in_forks(frames), close_in_forks(descriptors)
