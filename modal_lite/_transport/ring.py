"""Where the next block goes in memory whose blocks are freed in the order in which they were taken. Pure."""

from collections import deque


class Ring:
    """Blocks in `size` bytes of memory. The lowest place that fits is taken, so that little of the memory is ever used.

    Pages that were written before are cheap to write again, new ones are not.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._blocks: deque[tuple[int, int]] = deque()

    def take(self, length: int) -> int | None:
        """The start of a block of `length` bytes; None if there is no room for it before others are freed."""
        start = self._start(length)
        if start is not None:
            self._blocks.append((start, start + length))
        return start

    def free(self, count: int) -> None:
        """Frees the `count` oldest blocks; all of them, if there are no more."""
        for _ in range(min(count, len(self._blocks))):
            self._blocks.popleft()

    def _start(self, length: int) -> int | None:
        if not self._blocks:
            return 0 if length <= self._size else None
        (oldest, _), (newest, end) = self._blocks[0], self._blocks[-1]
        if newest < oldest:  # the free part lies between the two
            return end if end + length <= oldest else None
        if length <= oldest:
            return 0
        return end if end + length <= self._size else None
