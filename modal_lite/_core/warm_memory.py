"""Copies of large buffers into memory that was in use before.

A new page costs a fault, which takes ten times as long as copying the page, and the copies are short-lived: what one no
longer needs serves the next. A buffer is free again when nobody has a view of it: only then does a bytearray let itself
grow.
"""

from collections import deque

KEPT = 128 << 20
"""Bytes of buffers that are kept at most: what a map over large inputs has under way."""
SMALLEST = 1 << 20
"""Bytes from which on a buffer is kept; for smaller ones the allocator does as well."""
LARGEST = 16 << 20
"""Bytes up to which a buffer is kept."""


class WarmMemory:
    """Makes copies, in buffers that it keeps. For any thread, without a lock that a fork could find held."""

    def __init__(self) -> None:
        self._buffers: deque[bytearray] = deque()

    def copy(self, raw: memoryview) -> memoryview:
        """A read-only copy of a buffer of bytes."""
        size = raw.nbytes
        if not SMALLEST <= size <= LARGEST:
            return memoryview(bytes(raw))
        view = self._reused(size)
        if view is None:
            view = self._added(size)
        view[:] = raw
        return view.toreadonly()

    def _reused(self, size: int) -> memoryview | None:
        for _ in range(len(self._buffers)):
            buffer = self._next()
            if buffer is None:
                return None
            try:
                # At most twice as large: a small copy is not to hold a large buffer for long.
                if size <= len(buffer) <= 2 * size and _is_free(buffer):
                    return memoryview(buffer)[:size]
            finally:
                self._buffers.append(buffer)
        return None

    def _added(self, size: int) -> memoryview:
        buffer = bytearray(size + 1)
        buffer.pop()  # room for `_is_free` to grow into, in place
        kept = sum(map(len, list(self._buffers)))
        if kept + size > KEPT:
            kept -= self._drop_free()
        view = memoryview(buffer)
        if kept + size <= KEPT:
            self._buffers.append(buffer)
        return view

    def _drop_free(self) -> int:
        """Gives up the buffers that nobody uses: they are of the wrong size. Returns how many bytes that were."""
        dropped = 0
        for _ in range(len(self._buffers)):
            buffer = self._next()
            if buffer is None:
                break
            if _is_free(buffer):
                dropped += len(buffer)
            else:
                self._buffers.append(buffer)
        return dropped

    def _next(self) -> bytearray | None:
        """Takes a buffer out, so that no other thread looks at it; None if they have them all."""
        try:
            return self._buffers.popleft()
        except IndexError:
            return None


def _is_free(buffer: bytearray) -> bool:
    try:
        buffer.append(0)
    except BufferError:
        return False
    buffer.pop()
    return True
