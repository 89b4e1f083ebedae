"""The frame codec, without any I/O.

A frame is a prefix (length of the message, length of the body, little endian), the message in msgpack, and the body:
the bytes of one payload, which nobody on the way looks into. Bodies are sent from the parts they consist of and
received into one buffer each, so a large payload is copied once by the kernel on either side and not at all here. Where
the two sides share memory a large body lies there, and the frame has its position instead.
"""

import itertools
import mmap
import os
import struct
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from modal_lite._core.payload import EMPTY, Buffer, Payload
from modal_lite._transport.shared_memory import SharedMemory

PREFIX = struct.Struct("<IQ")
POSITION = struct.Struct("<Q")
SHARED = 1 << 63
"""Set in the length of a body that lies in shared memory: its position there follows the message."""
SHARED_FROM = 64 << 10
"""Bytes from which on bodies go through shared memory."""
MAX_MESSAGE = 256 << 20
"""Bytes of a message; a serialized function travels in one."""
MAX_BODY = 1 << 40
"""Bytes of a body. Larger lengths are taken for a corrupted stream."""
SMALL_BODY = 64 << 10
"""Up to this many bytes a body is copied out of the read buffer; a larger one is read in place."""
JOINED = 4 << 10
"""Up to this many bytes of body a frame is one buffer: copying them costs less than a longer list of buffers."""
LARGE_BODY = 64 << 20
"""Bytes from which on a body's memory is taken as it arrives: what a corrupt length promises must not be."""
READ_SIZE = 256 << 10
"""Bytes asked of the socket at a time."""

_IOV_MAX = min(os.sysconf("SC_IOV_MAX"), 512)
_encoder = msgspec.msgpack.Encoder()


class ProtocolError(Exception):
    """The bytes that arrived are no frame of this protocol."""


def encode(message: msgspec.Struct, payload: Payload = EMPTY, memory: SharedMemory | None = None) -> list[Buffer]:
    """The frame as a list of buffers to be written in order, all of them: `memory` may hold its body already."""
    header = _encoder.encode(message)
    size = payload.nbytes
    if memory is not None and size >= SHARED_FROM and (position := memory.put(payload.parts, size)) is not None:
        return [b"".join((PREFIX.pack(len(header), size | SHARED), header, POSITION.pack(position)))]
    prefix = PREFIX.pack(len(header), size)
    if size <= JOINED:
        return [b"".join((prefix, header, *payload.parts))]
    return [prefix + header, *payload.parts]


def views(parts: list[Buffer]) -> list[memoryview]:
    """The buffers as bytes that can be cut, without the empty ones."""
    return [view for part in parts if (view := memoryview(part).cast("B"))]


def next_batch(unsent: deque[memoryview]) -> list[memoryview]:
    """As many of the buffers as one system call takes."""
    return list(unsent) if len(unsent) <= _IOV_MAX else list(itertools.islice(unsent, _IOV_MAX))


def drop_sent(unsent: deque[memoryview], sent: int) -> None:
    """Removes the first `sent` bytes, which may end within a buffer."""
    while sent:
        head = unsent[0]
        if sent < len(head):
            unsent[0] = head[sent:]
            return
        sent -= len(head)
        unsent.popleft()


def check_lengths(message_length: int, body_length: int) -> None:
    """Raises ProtocolError for lengths that no frame has."""
    if message_length > MAX_MESSAGE or body_length > MAX_BODY:
        raise ProtocolError(f"frame of {message_length} + {body_length} bytes is over the limit; the stream is corrupt")


class FrameDecoder:
    """Bytes in, frames out: feed what arrived with `buffer()` and `received()`, then iterate.

    `types` is the union of messages this side accepts, `memory` what it shares with the other, if anything.
    """

    def __init__(self, types: Any, memory: SharedMemory | None = None) -> None:
        self._memory = memory
        self._decoder = msgspec.msgpack.Decoder(types)
        self._chunk = bytearray(READ_SIZE)
        self._arrived = b""
        """What was received last, if nothing was pending before it."""
        self._pending = bytearray()
        """The beginning of a frame whose rest has not arrived."""
        self._body: bytearray | mmap.mmap | None = None
        self._body_filled = 0
        self._message: msgspec.Struct | None = None

    def buffer(self) -> memoryview:
        """Where the next bytes go: a large body's own memory while one is under way, else a scratch buffer."""
        if self._body is not None:
            return memoryview(self._body)[self._body_filled :]
        return memoryview(self._chunk)

    def feed(self, data: bytes) -> Iterator[tuple[msgspec.Struct, memoryview]]:
        """Takes in bytes that something else has received; gives the frames that are complete."""
        left = memoryview(data)
        while left:
            room = self.buffer()
            count = min(len(room), len(left))
            room[:count] = left[:count]
            self.received(count)
            left = left[count:]
            yield from self.frames()

    def received(self, count: int) -> None:
        """`count` bytes were written at the front of the last `buffer()`."""
        if self._body is not None:
            self._body_filled += count
        else:
            arrived = memoryview(self._chunk)[:count]
            if self._pending:
                self._pending += arrived
            else:
                self._arrived = bytes(arrived)

    def frames(self) -> Iterator[tuple[msgspec.Struct, memoryview]]:
        """The complete frames so far. Raises ProtocolError once the stream makes no sense."""
        pending: bytes | bytearray = self._pending or self._arrived
        at = 0
        try:
            while True:
                if self._body is not None:
                    if self._body_filled < len(self._body):
                        return
                    message, large = self._message, self._body
                    self._message = self._body = None
                    assert message is not None
                    yield message, _checked(message, memoryview(large))
                if len(pending) - at < PREFIX.size:
                    return
                message_length, body_length = PREFIX.unpack_from(pending, at)
                shared_length = 0
                if body_length & SHARED:
                    shared_length, body_length = body_length ^ SHARED, POSITION.size
                check_lengths(message_length, body_length)
                start = at + PREFIX.size
                end = start + message_length
                if len(pending) < end:
                    return
                if body_length <= SMALL_BODY and len(pending) < end + body_length:
                    return
                message = self._decode(_cut(pending, start, end))
                if len(pending) >= end + body_length:
                    at = end + body_length
                    body = _cut(pending, end, at)
                    body_view = self._shared(body, shared_length) if shared_length else memoryview(body)
                    yield message, _checked(message, body_view)
                    continue
                self._message = message
                self._body = _allocate(body_length)
                self._body_filled = len(pending) - end
                self._body[: self._body_filled] = memoryview(pending)[end:]
                at = len(pending)
        finally:
            if isinstance(pending, bytearray):
                del pending[:at]
            else:
                self._pending += pending[at:]
                self._arrived = b""

    def _shared(self, position: bytes, length: int) -> memoryview:
        (start,) = POSITION.unpack(position)
        if self._memory is None:
            raise ProtocolError("a body is in shared memory, and there is none")
        try:
            return memoryview(self._memory.take(start, length))
        except ValueError as error:
            raise ProtocolError(str(error)) from None
        except MemoryError:
            raise _no_memory(length) from None

    def _decode(self, data: bytes) -> msgspec.Struct:
        try:
            message: msgspec.Struct = self._decoder.decode(data)
        except (ValueError, RecursionError, MemoryError) as error:
            # The first of them is msgspec's own, and what it lets through of text that is none.
            raise ProtocolError(f"message of {len(data)} bytes is not of this channel: {error}") from None
        return message


def _cut(data: bytes | bytearray, start: int, stop: int) -> bytes:
    return data[start:stop] if isinstance(data, bytes) else bytes(memoryview(data)[start:stop])


def _checked(message: msgspec.Struct, body: memoryview) -> memoryview:
    """The body, if it is as long as the message says."""
    sizes: tuple[int, ...] | None = getattr(message, "sizes", None)
    if sizes is not None and (sum(sizes) != len(body) or (len(sizes) > 1 and min(sizes) < 0)):
        raise ProtocolError(
            f"a body of {len(body)} bytes came with {type(message).__name__}, which tells of {sizes!r:.100}"
        )
    return body


def _allocate(size: int) -> bytearray | mmap.mmap:
    try:
        if size < LARGE_BODY:
            return bytearray(size)
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (MemoryError, OSError):
        raise _no_memory(size) from None


def _no_memory(size: int) -> ProtocolError:
    return ProtocolError(f"no memory for a payload of {size} bytes")
