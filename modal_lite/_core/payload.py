"""Payload: pickled bytes as every layer but the pickler sees them, opaque and never joined.

A payload is a pickle stream followed by the out-of-band buffers of pickle protocol 5. `sizes` gives the length of each
of them in bytes; `parts` are the same bytes in order, cut wherever it was cheapest not to copy. What travels is
`sizes` in a message and `parts` behind it.
"""

from typing import NamedTuple

Buffer = bytes | bytearray | memoryview


class Payload(NamedTuple):
    """Opaque bytes: `sizes[0]` bytes of pickle stream, then one out-of-band buffer of each further size."""

    sizes: tuple[int, ...]
    parts: list[Buffer]

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return sum(self.sizes)


EMPTY = Payload((), [])


def payload_of(sizes: tuple[int, ...], body: memoryview) -> Payload:
    """The payload that arrived as the body of a frame."""
    return Payload(sizes, [body])
