"""The plane's ends of what connects it with a container on this machine."""

import os
import socket
from collections.abc import Callable
from typing import Any

from modal_lite._core.interfaces import OnClose, OnMessage
from modal_lite._transport.channel import Channel
from modal_lite._transport.forks import close_in_forks
from modal_lite._transport.progress import Progress
from modal_lite._transport.shared_memory import SharedMemory, shared_file

DATA_BUFFER = 1 << 20
"""Bytes that the data channel's socket holds in either direction, where the system allows it."""

EXIT_WAIT = 0.25
"""Seconds; both ends are noticed by the same loop, or nearly."""


class LocalContainer:
    """See `PlacedContainer`. The two output descriptors belong to whoever reads them, and are not closed here."""

    def __init__(self, container_id: str) -> None:
        self.container_id = container_id
        self.pid: int | None = None
        self.vanished = False
        self.exit_wait = EXIT_WAIT
        self._progress = Progress()
        self._ours: list[socket.socket] = []
        self._theirs: list[socket.socket] = []
        self._pipes: list[int] = []
        self._write_ends: list[int] = []
        self._memory_fd: int | None = None
        self.memory: SharedMemory | None = None
        try:
            self.data, self.control, self.client = self._socket_pair(), self._socket_pair(), self._socket_pair()
            self.stdout, self.stderr = self._pipe(), self._pipe()
            self._share_memory()
        except BaseException:
            self.close()
            self.close_remote()
            for fd in self._pipes:
                os.close(fd)
            raise
        for end in (self.data, self._theirs[0]):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, DATA_BUFFER)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DATA_BUFFER)

    def open_output(self, on_written: Callable[[bool, bytes], None]) -> tuple[int, int]:
        """See `PlacedContainer`."""
        return self.stdout, self.stderr

    def running(self) -> tuple[int, int] | None:
        """Lease and index of the input that runs, or that ran when the container died."""
        return self._progress.read()

    def open_data(self, types: Any, on_message: OnMessage, on_close: OnClose) -> Channel:
        """See `PlacedContainer`."""
        return Channel(self.data, types, on_message, on_close, self.memory)

    def open_control(self, types: Any, on_message: OnMessage, on_close: OnClose) -> Channel:
        """See `PlacedContainer`."""
        return Channel(self.control, types, on_message, on_close)

    def open_client(self, types: Any, on_message: OnMessage, on_close: OnClose) -> Channel:
        """See `PlacedContainer`."""
        return Channel(self.client, types, on_message, on_close)

    def remote_fds(self) -> list[int]:
        """The container's ends, in the order of `Descriptors`."""
        memory = [] if self._memory_fd is None else [self._memory_fd]
        return [*(end.fileno() for end in self._theirs), self._progress.fd, *self._write_ends, *memory]

    def output_fds(self) -> list[int]:
        """The container's ends of stdout and stderr, until it has them."""
        return list(self._write_ends)

    def close_remote(self) -> None:
        """Closes the container's ends here, once it has them or never will. Safe to call again."""
        for end in self._theirs:
            end.close()
        for fd in self._write_ends:
            os.close(fd)
        self._write_ends.clear()
        if self._memory_fd is not None:
            os.close(self._memory_fd)
            self._memory_fd = None
        self._progress.close_fd()

    def close(self) -> None:
        """Closes the sockets and gives what is shared up; `running` goes on to tell what ran last."""
        for end in self._ours:
            end.close()
        if self.memory is not None:
            self.memory.close()
        self._progress.close()

    def _socket_pair(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._ours.append(close_in_forks(ours))
        self._theirs.append(theirs)
        return ours

    def _pipe(self) -> int:
        read_end, write_end = os.pipe()
        self._pipes.append(read_end)
        self._write_ends.append(write_end)
        os.set_blocking(read_end, False)
        return read_end

    def _share_memory(self) -> None:
        self._memory_fd = shared_file()
        if self._memory_fd is not None:
            try:
                self.memory = close_in_forks(SharedMemory(self._memory_fd, first=True))
            except OSError:
                # No room among this process's addresses: without it, bodies go through the socket.
                os.close(self._memory_fd)
                self._memory_fd = None
