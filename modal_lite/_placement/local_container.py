"""The plane's ends of what connects it with a container on this machine."""

import os
import socket

from modal_lite._transport.forks import close_in_forks
from modal_lite._transport.progress import Progress

DATA_BUFFER = 1 << 20
"""Bytes that the data channel's socket holds in either direction, where the system allows it."""


class LocalContainer:
    """See `PlacedContainer`. The two output descriptors belong to whoever reads them, and are not closed here."""

    def __init__(self, container_id: str) -> None:
        self.container_id = container_id
        self.pid: int | None = None
        self._progress = Progress()
        self._ours: list[socket.socket] = []
        self._theirs: list[socket.socket] = []
        self._pipes: list[int] = []
        self._write_ends: list[int] = []
        try:
            self.data, self.control, self.client = self._socket_pair(), self._socket_pair(), self._socket_pair()
            self.stdout, self.stderr = self._pipe(), self._pipe()
        except BaseException:
            self.close()
            self.close_remote()
            for fd in self._pipes:
                os.close(fd)
            raise
        for end in (self.data, self._theirs[0]):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, DATA_BUFFER)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DATA_BUFFER)

    def running(self) -> tuple[int, int] | None:
        """Lease and index of the input that runs, or that ran when the container died."""
        return self._progress.read()

    def remote_fds(self) -> list[int]:
        """The container's ends, in the order of `Descriptors`."""
        return [*(end.fileno() for end in self._theirs), self._progress.fd, *self._write_ends]

    def close_remote(self) -> None:
        """Closes the container's ends here, once it has them or never will. Safe to call again."""
        for end in self._theirs:
            end.close()
        for fd in self._write_ends:
            os.close(fd)
        self._write_ends.clear()
        self._progress.close_fd()

    def close(self) -> None:
        """Closes the sockets and gives the shared page up; `running` goes on to tell what ran last."""
        for end in self._ours:
            end.close()
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
