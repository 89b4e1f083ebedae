"""What any bytes at all may do to a decoder: the check that Hypothesis and the fuzzer share."""

import os

import msgspec

from modal_lite._core.client_messages import FromClient, ToClient
from modal_lite._core.messages import (
    ContainerControl,
    FromContainer,
    FromContainerControl,
    FromTemplate,
    ToContainer,
    ToTemplate,
)
from modal_lite._transport.frames import FrameDecoder, ProtocolError
from modal_lite._transport.shared_memory import SharedMemory, shared_file

CHANNELS = (
    FromContainer,
    ToContainer,
    ContainerControl,
    FromTemplate,
    ToTemplate,
    FromClient,
    ToClient,
    FromContainerControl,
)
"""The messages of each channel, by the number that the first byte of the data gives."""


def feed(decoder: FrameDecoder, data: bytes, piece: int = 1 << 20) -> list[tuple[msgspec.Struct, memoryview]]:
    """The frames in the data, which arrives so many bytes at a time."""
    found, at = [], 0
    while at < len(data):
        room = decoder.buffer()
        count = min(len(room), len(data) - at, piece)
        room[:count] = data[at : at + count]
        at += count
        decoder.received(count)
        found += list(decoder.frames())
    return found


class Checker:
    """Feeds data to decoders. Holds what they share with the other side, if the system has such memory."""

    def __init__(self) -> None:
        self._memory: SharedMemory | None = None
        fd = shared_file()
        if fd is not None:
            self._memory = SharedMemory(fd, first=True)
            os.close(fd)

    def check(self, data: bytes) -> list[msgspec.Struct] | None:
        """The messages in the data, None if it makes no sense.

        The first two bytes say which channel it is for, and how it is cut. Raises whatever is no clean end: anything
        but a ProtocolError; messages of another channel; a decoder that keeps more than it was given.
        """
        if len(data) < 2:
            return []
        types = CHANNELS[data[0] % len(CHANNELS)]
        decoder = FrameDecoder(types, self._memory if data[0] & 128 else None)
        try:
            found = feed(decoder, data[2:], data[1] or 1 << 20)
        except ProtocolError:
            return None
        for message, body in found:
            assert isinstance(message, types)
            assert len(body) <= len(data) or data[0] & 128
        assert len(decoder._pending) + len(decoder._arrived) <= len(data)
        return [message for message, _ in found]

    def close(self) -> None:
        """Gives up what it holds."""
        if self._memory is not None:
            self._memory.close()
