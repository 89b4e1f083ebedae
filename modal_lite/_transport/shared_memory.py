"""Memory that the two processes of a data channel share, for bodies that are large for its socket.

It is a file without a name, in memory only, which the kernel frees with the last of the two, however they end. Each
direction has a part of its own. The sender copies a body there and sends where it lies; the receiver copies it out when
the frame arrives. So blocks are freed in the order of the frames, and all that the sender has to be told is how many
were received: a word in the memory itself. Nobody holds bytes that the other side could still change, and what finds no
room goes through the socket.
"""

import mmap
import os
from collections.abc import Iterable

from modal_lite._core.payload import Buffer
from modal_lite._transport.anonymous_file import anonymous_file
from modal_lite._transport.ring import Ring

ROOM = 32 << 20
"""Bytes for each direction. The system provides memory for as much of it as was ever in use at once."""
LARGEST = 20 << 20
"""Bytes up to which a body goes this way: while it is copied, no other thread of the process runs."""
_HEADER = mmap.PAGESIZE
_COUNTS = (0, 8)
"""Words of the header, one for each direction: frames received. Apart, so that they do not share a line of a cache."""


class SharedMemory:
    """One side of the memory. One thread at a time may send, and one may receive.

    Args:
        fd: The file that both sides map.
        first: True on one side, False on the other.

    Raises:
        OSError: The file cannot be mapped.
    """

    def __init__(self, fd: int, first: bool) -> None:
        self._map = mmap.mmap(fd, _HEADER + 2 * ROOM)
        self._words = memoryview(self._map)[:_HEADER].cast("Q")
        self._out, self._in = (0, 1) if first else (1, 0)
        self._ring = Ring(ROOM)
        self._freed = 0

    def put(self, parts: Iterable[Buffer], length: int) -> int | None:
        """Copies a body in. Returns its position for `take`; None if it is not to go this way now.

        Args:
            parts: The body's bytes.
            length: How many they are.
        """
        if length > LARGEST or self._map.closed:
            return None
        received = self._words[_COUNTS[self._out]]
        self._ring.free(received - self._freed)
        self._freed = received
        position = self._ring.take(length)
        if position is None:
            return None
        at = _start(self._out, position)
        for part in parts:
            view = memoryview(part).cast("B")
            self._map[at : at + len(view)] = view
            at += len(view)
        return position

    def take(self, position: int, length: int) -> bytearray:
        """Copies the next body out and frees its block.

        Raises:
            ValueError: There can be no such body.
            MemoryError: There is no memory for the copy.
        """
        if length > LARGEST or position + length > ROOM:
            raise ValueError(f"no body of {length} bytes lies at {position} in shared memory")
        start = _start(self._in, position)
        with memoryview(self._map) as whole, whole[start : start + length] as block:
            body = bytearray(block)
        self._words[_COUNTS[self._in]] += 1
        return body

    def close(self) -> None:
        """Gives the memory up. Safe to call again."""
        self._words.release()
        try:
            self._map.close()
        except BufferError:
            pass  # In a fork, made while another thread was copying: the fork's end gives it up.


def shared_file() -> int | None:
    """A new file for two sides to map; None where there can be none, for bodies may as well go through the socket.

    Some systems have no files in memory only, and limits (of a file's size, say) may forbid one that is so large.
    """
    try:
        return anonymous_file("bodies", _HEADER + 2 * ROOM) if hasattr(os, "memfd_create") else None
    except OSError:
        return None


def _start(direction: int, position: int) -> int:
    return _HEADER + direction * ROOM + position
