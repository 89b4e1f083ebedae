"""A page of memory that a container shares with its plane: which input runs, readable after the container's SIGKILL."""

import mmap
import os

from modal_lite._transport.anonymous_file import anonymous_file

PAGE = mmap.PAGESIZE
LEASE = 0
"""Word that holds the lease's id."""
RUNNING = 1
"""Word that holds the input's index plus one; zero while no user code runs."""


class Progress:
    """The plane's side of the page.

    Attributes:
        fd: What the container maps, by `attach`. Owned by this object.
    """

    def __init__(self) -> None:
        self.fd = anonymous_file("progress", PAGE)
        self._last: tuple[int, int] | None = None
        try:
            self._map = mmap.mmap(self.fd, PAGE)
            self._words = memoryview(self._map).cast("Q")
        except BaseException:
            os.close(self.fd)
            raise

    def read(self) -> tuple[int, int] | None:
        """Lease and index of the input that runs, or that ran when the container died; None if there was none."""
        words = self._words
        if self._map.closed:
            return self._last
        while True:
            lease_id, running = words[LEASE], words[RUNNING]
            if not running:
                return None
            # A living container may have begun its next lease between the two reads.
            if words[LEASE] == lease_id:
                return lease_id, running - 1

    def close(self) -> None:
        """Gives the page up, which would keep a descriptor; `read` goes on to tell what it told last."""
        if not self._map.closed:
            self._last = self.read()
            self._words.release()
            self._map.close()
        self.close_fd()

    def close_fd(self) -> None:
        """Closes the descriptor, which is needed only until the container has it. Safe to call again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def attach(fd: int) -> "memoryview[int]":
    """The page's words. A container sets RUNNING to zero before it changes LEASE: no kill names a wrong input."""
    return memoryview(mmap.mmap(fd, PAGE)).cast("Q")
