"""The codec: however the stream is cut, the same frames come out; garbage is told from frames."""

import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_lite._core.messages import FromContainer, Outputs, Ready, Returned
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._transport.frames import (
    MAX_BODY,
    PREFIX,
    SHARED_FROM,
    SMALL_BODY,
    FrameDecoder,
    ProtocolError,
    encode,
)
from modal_lite._transport.shared_memory import ROOM, SharedMemory, shared_file

bodies = st.one_of(
    st.lists(st.binary(max_size=200), max_size=4),
    st.integers(SMALL_BODY - 2, SMALL_BODY + 2).map(lambda size: [bytes(size)]),
    st.integers(SMALL_BODY, 5 * SMALL_BODY).map(lambda size: [b"ab", bytes(range(256)) * (size // 256)]),
)
messages = st.one_of(
    st.builds(Ready, st.integers(1, 2**31)),
    st.builds(Returned, st.integers(0, 2**60), st.integers(0, 2**60)),
)


def _frame(message: msgspec.Struct, parts: list[bytes]) -> tuple[msgspec.Struct, Payload]:
    sizes = tuple(map(len, parts))
    return (Outputs(1, 0, 1, 0.5, sizes) if parts else message), Payload(sizes, list(parts))


frames = st.lists(st.builds(_frame, messages, bodies), max_size=5)


def _feed(decoder: FrameDecoder, data: bytes) -> list[tuple[msgspec.Struct, bytes]]:
    found, at = [], 0
    while at < len(data):
        room = decoder.buffer()
        count = min(len(room), len(data) - at)
        room[:count] = data[at : at + count]
        at += count
        decoder.received(count)
        found += [(message, bytes(body)) for message, body in decoder.frames()]
    return found


@given(frames, st.lists(st.integers(0, 400_000), max_size=20))
def test_frames_survive_any_cut(sent: list[tuple[msgspec.Struct, Payload]], cuts: list[int]) -> None:
    stream = b"".join(bytes(part) for message, payload in sent for part in encode(message, payload))
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    decoder = FrameDecoder(FromContainer)
    found = [
        frame for start, end in zip(places, places[1:], strict=False) for frame in _feed(decoder, stream[start:end])
    ]
    assert found == [(message, b"".join(map(bytes, payload.parts))) for message, payload in sent]


@given(frames.filter(lambda sent: sum(p.nbytes for _, p in sent) < 2000))
def test_frames_survive_bytes_one_by_one(sent: list[tuple[msgspec.Struct, Payload]]) -> None:
    stream = b"".join(bytes(part) for message, payload in sent for part in encode(message, payload))
    decoder = FrameDecoder(FromContainer)
    found = [frame for byte in stream for frame in _feed(decoder, bytes([byte]))]
    assert [message for message, _ in found] == [message for message, _ in sent]


@given(st.binary(max_size=300))
def test_garbage_gives_nothing_but_protocol_errors(data: bytes) -> None:
    try:
        found = _feed(FrameDecoder(FromContainer), data)
    except ProtocolError:
        return
    for message, body in found:
        assert isinstance(message, msgspec.Struct)
        assert isinstance(body, bytes)


@given(st.binary(min_size=1, max_size=100))
def test_message_of_garbage_is_a_protocol_error_or_a_message(data: bytes) -> None:
    try:
        ((message, _),) = _feed(FrameDecoder(FromContainer), PREFIX.pack(len(data), 0) + data)
    except ProtocolError:
        return
    assert isinstance(message, FromContainer)


def test_message_of_another_channel_is_a_protocol_error() -> None:
    (data,) = encode(Ready(1), EMPTY)
    with pytest.raises(ProtocolError, match="is not of this channel"):
        _feed(FrameDecoder(Returned), bytes(data))


def test_absurd_length_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="over the limit"):
        _feed(FrameDecoder(FromContainer), PREFIX.pack(10, MAX_BODY + 1))


def test_large_body_is_received_into_its_own_memory() -> None:
    payload = Payload((SMALL_BODY * 8,), [bytes(SMALL_BODY * 8)])
    head, _ = encode(Outputs(1, 0, 1, 0.0, payload.sizes), payload)
    decoder = FrameDecoder(FromContainer)
    assert _feed(decoder, bytes(head)) == []
    room = decoder.buffer()
    assert len(room) == SMALL_BODY * 8
    decoder.received(len(room))
    ((_, body),) = decoder.frames()
    assert not body.readonly
    room[0] = 7
    assert body[0] == 7


needs_shared_memory = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no files in memory only")


def _shared() -> tuple[SharedMemory, SharedMemory]:
    fd = shared_file()
    assert fd is not None
    try:
        return SharedMemory(fd, first=False), SharedMemory(fd, first=True)
    finally:
        os.close(fd)


@needs_shared_memory
def test_large_bodies_lie_in_shared_memory_and_small_ones_in_the_frame() -> None:
    sender, receiver = _shared()
    decoder = FrameDecoder(FromContainer, receiver)
    for size in (10, SHARED_FROM - 1, SHARED_FROM, 3 * SHARED_FROM):
        payload = Payload((size,), [b"x" * size])
        stream = b"".join(bytes(part) for part in encode(Outputs(1, 0, 1, 0.0, payload.sizes), payload, sender))
        assert (len(stream) > size) == (size < SHARED_FROM)
        assert _feed(decoder, stream[:7]) == []
        ((message, body),) = _feed(decoder, stream[7:])
        assert message.sizes == (size,)
        assert body == b"x" * size


@needs_shared_memory
def test_a_body_goes_through_the_frame_when_the_memory_is_full() -> None:
    sender, receiver = _shared()
    while sender.put([bytes(ROOM // 8)], ROOM // 8) is not None:
        pass
    payload = Payload((SHARED_FROM,), [b"x" * SHARED_FROM])
    stream = b"".join(bytes(part) for part in encode(Outputs(1, 0, 1, 0.0, payload.sizes), payload, sender))
    ((_, body),) = _feed(FrameDecoder(FromContainer, receiver), stream)
    assert body == b"x" * SHARED_FROM


@needs_shared_memory
def test_a_shared_body_that_cannot_be_is_a_protocol_error() -> None:
    sender, receiver = _shared()
    payload = Payload((SHARED_FROM,), [bytes(SHARED_FROM)])
    (stream,) = encode(Outputs(1, 0, 1, 0.0, payload.sizes), payload, sender)
    with pytest.raises(ProtocolError, match="there is none"):
        _feed(FrameDecoder(FromContainer), bytes(stream))
    with pytest.raises(ProtocolError, match="no body of"):
        _feed(FrameDecoder(FromContainer, receiver), bytes(stream)[:-8] + bytes([255] * 8))
