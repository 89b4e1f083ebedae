"""Bytes that are no frames: each channel ends with a protocol error, in bounded memory, and nothing hangs."""

import contextlib
import functools
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import psutil
import pytest
from hypothesis import HealthCheck, example, given, reject, settings
from hypothesis import strategies as st

from modal_lite._core import client_messages, messages
from modal_lite._core.messages import Failure, FailureKind, FromContainer, InputFailed, Outputs, StartFailed
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._transport.frames import LARGE_BODY, MAX_BODY, PREFIX, FrameDecoder, ProtocolError, encode
from modal_lite.exception import InvalidError
from tests.transport.streams import CHANNELS, Checker, feed

MESSAGES = [
    found
    for module in (messages, client_messages)
    for found in vars(module).values()
    if isinstance(found, type) and issubclass(found, msgspec.Struct) and found.__struct_config__.tag is not None
]


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    made = Checker()
    yield made
    made.close()


def channel_of(kind: type[msgspec.Struct]) -> int:
    return next(i for i, types in enumerate(CHANNELS) if kind in getattr(types, "__args__", (types,)))


@functools.cache
def anything_of(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any message of that kind, every field given: the signature's defaults are no values."""
    fields = msgspec.structs.fields(kind)
    return st.deferred(
        lambda: st.fixed_dictionaries({field.name: st.from_type(field.type) for field in fields}).map(
            lambda given: kind(**given)
        )
    )


def register(kind: type[msgspec.Struct]) -> None:
    for derived in kind.__subclasses__():
        st.register_type_strategy(derived, anything_of)
        register(derived)


register(msgspec.Struct)


def nested(depth: int) -> bytes:
    """An answer with a call graph of this depth."""
    texts = ("input_id", "function_call_id", "task_id", "function_name", "module_name")
    start = b"\x87" + b"".join(bytes([0xA0 + len(name)]) + name.encode() + b"\xa0" for name in texts)
    return b"\x93\x32\x01\x92\x05\x91" + (start + b"\xa6status\x00\xa8children\x91") * depth


def framed(channel: int, message: bytes, body: bytes = b"") -> bytes:
    return bytes([channel, 0]) + PREFIX.pack(len(message), len(body)) + message + body


@settings(deadline=None)
@given(st.binary(max_size=400))
@example(framed(0, b"\x93\x0b\x95\xa4user\xa2\xff\xff\xa0\xa0\xa0\x90"))  # text that is none
@example(framed(6, nested(5_000)))
@example(framed(0, b"\x96\x0c\x01\x00\x01\xcb" + bytes(8) + b"\xdd\xff\xff\xff\xff"))  # four billion sizes
@example(framed(0, b"\x93\x0b\xdf\xff\xff\xff\xff"))
@example(framed(4, b"\x92\x1e\x9f"))
def test_any_bytes(checker: Checker, data: bytes) -> None:
    checker.check(data)


@settings(deadline=None)
@given(st.integers(0, 255), st.binary(min_size=1, max_size=200), st.binary(max_size=30))
def test_any_message(checker: Checker, channel: int, message: bytes, body: bytes) -> None:
    checker.check(framed(channel, message, body))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_messages_with_a_few_bytes_changed(checker: Checker, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(MESSAGES))
    try:
        message = data.draw(anything_of(kind))
    except InvalidError:
        reject()  # Settings that there cannot be.
    payload = EMPTY
    if hasattr(message, "sizes"):
        message, payload = msgspec.structs.replace(message, sizes=(3,)), Payload((3,), [b"abc"])
    try:
        (frame,) = encode(message, payload)
    except (OverflowError, UnicodeEncodeError):
        return  # No number, or no text, that can be sent.
    stream = bytearray(frame * 2)
    decoded = checker.check(bytes([channel_of(kind), 0]) + stream)
    assert list(map(repr, decoded)) == [repr(message)] * 2  # Not itself: NaN differs from NaN.
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(stream) - 1), st.integers(0, 255)), max_size=4)
    ):
        stream[place] = value
    checker.check(bytes([channel_of(kind), data.draw(st.integers(0, 40))]) + stream)


@pytest.mark.parametrize("sizes", [(), (2,), (4,), (-1, 4), (2, 2), (2**63, 3 - 2**63), (3, 0, 0, 1)])
@pytest.mark.parametrize(
    "message",
    [
        Outputs(1, 0, 1, 0.0, ()),
        InputFailed(1, 0, 0.0, Failure(FailureKind.USER, ""), ()),
        StartFailed(Failure(FailureKind.INIT, ""), ()),
    ],
)
def test_sizes_that_are_not_the_bodys(message: Any, sizes: tuple[int, ...]) -> None:
    with pytest.raises(ProtocolError, match="a body of 3 bytes came with"):
        feed(
            FrameDecoder(FromContainer),
            b"".join(map(bytes, encode(msgspec.structs.replace(message, sizes=sizes), Payload((3,), [b"abc"])))),
        )


@pytest.mark.parametrize("promised", [LARGE_BODY - 1, LARGE_BODY, 4 << 30, MAX_BODY])
def test_what_a_length_promises_takes_no_memory(promised: int) -> None:
    before = psutil.Process().memory_info().rss
    message = msgspec.msgpack.encode(Outputs(1, 0, 1, 0.0, (promised,)))
    decoder = FrameDecoder(FromContainer)
    with (
        contextlib.suppress(ProtocolError)
        if promised > psutil.virtual_memory().total // 2
        else contextlib.nullcontext()
    ):
        assert feed(decoder, PREFIX.pack(len(message), promised) + message + bytes(1000)) == []
        assert len(decoder.buffer()) == promised - 1000
    assert psutil.Process().memory_info().rss - before < LARGE_BODY + (8 << 20)


def test_a_large_body_arrives_whole() -> None:
    body = random.Random(1).randbytes(1 << 20) * 65
    parts = encode(Outputs(1, 0, 1, 0.0, (len(body),)), Payload((len(body),), [body]))
    ((_, arrived),) = feed(FrameDecoder(FromContainer), b"".join(map(bytes, parts)))
    assert arrived == body
    assert not arrived.readonly
