import array
import functools
import json
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
from dataclasses import dataclass
from typing import Any

import pytest

from modal_lite._core import handles
from modal_lite._core.payload import Buffer, Payload
from modal_lite._core.serialization import OUT_OF_BAND, dumps, dumps_function, loads, loads_function, register_handle

MIB = 1 << 20


def received(payload: Payload, cut: int | None = None) -> Payload:
    """The payload as it arrives: in one writable buffer, or cut into pieces of `cut` bytes."""
    joined = bytearray().join(payload.parts)
    assert len(joined) == payload.nbytes
    parts: list[Buffer] = [memoryview(joined)]
    if cut is not None:
        parts = [memoryview(joined)[at : at + cut] for at in range(0, len(joined), cut)]
    return Payload(payload.sizes, parts)


class Array:
    """Stands for an array: travels as a buffer of its own."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Array, (pickle.PickleBuffer(self.data),)


@dataclass
class Point:
    x: int


VALUES = [
    None,
    list(range(256)),
    {"a": [1.5, "ü", b"b", ("t",), {1, 2}]},
    [os.urandom(3 * OUT_OF_BAND), "s" * 3 * OUT_OF_BAND, list(range(50_000))],
    [Point(1), Point],
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
@pytest.mark.parametrize("cut", [None, 1000, 100_001])
def test_values_survive_however_their_bytes_are_cut(value: Any, cut: int | None) -> None:
    assert loads(received(dumps(value), cut)) == value
    assert loads(dumps(value)) == value


def test_large_bytes_are_not_copied_when_pickled_and_once_when_unpickled() -> None:
    value = bytes(100 * MIB)
    tracemalloc.start()
    try:
        payload = dumps((value, 1))
        assert tracemalloc.get_traced_memory()[1] < MIB
        assert any(part is value for part in payload.parts)
        body = received(payload)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        loaded = loads(body)
        assert tracemalloc.get_traced_memory()[1] - before < 101 * MIB
        assert loaded[0] == value
    finally:
        tracemalloc.stop()


def test_large_buffers_stay_out_of_the_stream_and_in_the_memory_they_arrived_in() -> None:
    data = bytearray(os.urandom(MIB))
    payload = dumps([Array(data), Array(b"small")], snapshot=False)
    assert len(payload.sizes) == 2
    assert payload.sizes[1] == MIB
    arrived = received(payload)
    loaded = loads(arrived)
    assert loaded[0].data == data
    assert bytes(loaded[1].data) == b"small"
    memoryview(arrived.parts[0])[-1] = data[-1] ^ 1
    assert loaded[0].data[-1] == data[-1] ^ 1
    loaded[0].data[0] ^= 1  # an array that arrived is writable


def test_a_buffer_in_read_only_memory_or_in_pieces_is_writable_all_the_same() -> None:
    payload = dumps(Array(bytearray(MIB)))
    for arrived in (Payload(payload.sizes, [b"".join(payload.parts)]), received(payload, 5000)):
        loaded = loads(arrived)
        loaded.data[0] = 1
        assert len(loaded.data) == MIB


def test_a_payload_does_not_change_with_the_value() -> None:
    data, plain = bytearray(MIB), bytearray(MIB)
    payload = dumps([Array(data), plain])
    data[0] = plain[0] = 1
    array_, loaded = loads(payload)
    assert array_.data[0] == 0
    assert loaded[0] == 0


def test_buffers_of_several_dimensions_or_not_contiguous() -> None:
    items = memoryview(array.array("d", range(20_000))).cast("B").cast("d", shape=[200, 100])
    loaded = loads(received(dumps(Array(items))))
    assert bytes(loaded.data) == items.tobytes()
    # memoryviews are pickled by their bytes, in band, so slices with a step are welcome
    assert loads(dumps(memoryview(bytes(range(100)))[::2])) == bytes(range(0, 100, 2))


def test_numpy_arrays() -> None:
    numpy = pytest.importorskip("numpy")
    value = numpy.arange(100_000).reshape(100, 1000)
    for sent in (value, value[:, ::2], value.T, value[:3]):
        loaded = loads(received(dumps(sent)))
        assert (loaded == sent).all()
        loaded += 1


def test_functions_by_value_and_by_reference() -> None:
    offset = 3

    def closure(x: int) -> int:
        return x + offset

    class Local(Point):
        pass

    assert loads(dumps(closure))(1) == 4
    assert loads(dumps(lambda x: x * offset))(2) == 6
    assert loads(dumps(functools.partial(closure, 1)))() == 4
    assert loads(dumps(received)) is received
    assert loads(dumps([Point, json.dumps, len, int, type(None)])) == [Point, json.dumps, len, int, type(None)]
    assert type(loads(dumps(Local(1)))) is Local
    assert loads(dumps(Point(1).__eq__))(Point(1))


def test_dumps_function_is_by_value_even_if_importable() -> None:
    data = dumps_function(json.dumps)
    assert loads(dumps(json.dumps)) is json.dumps
    copy = loads_function(data)
    assert copy is not json.dumps
    assert copy({"a": 1}) == '{"a": 1}'
    assert loads_function(dumps_function(Point)) is not None


def test_a_function_by_value_keeps_the_name_of_its_file_and_its_lines() -> None:
    def outer(x: int) -> Any:
        return [lambda: x][0]

    for function in (outer, outer(1)):
        code, copied = function.__code__, loads_function(dumps_function(function)).__code__
        assert (copied.co_filename, copied.co_firstlineno) == (__file__, code.co_firstlineno)
        assert list(copied.co_lines()) == list(code.co_lines())


def test_a_function_by_value_needs_no_module() -> None:
    namespace: dict[str, Any] = {"__name__": "nowhere"}
    exec("def fact(n): return 1 if n < 2 else n * fact(n - 1)", namespace)
    code = "import sys; from modal_lite._core.serialization import *; print(loads_function(sys.stdin.buffer.read())(5))"
    data = dumps_function(namespace["fact"])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=30, env=environment)
    assert done.stdout == b"120\n", done.stderr


class Wire:
    """A handle: only its name travels."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()


@pytest.fixture
def wire_kind() -> Any:
    register_handle(Wire, "wire", lambda wire: (wire.name,), lambda data: Wire(*data))
    yield "wire"
    del handles.reducers[Wire], handles._by_type[Wire]
    handles._decoders.pop("wire", None)


def test_handles_travel_by_their_description(wire_kind: str) -> None:
    wire = Wire("w")
    loaded = loads(dumps([wire, wire]))
    assert loaded[0] is loaded[1]
    assert loaded[0].name == "w"


def test_a_handle_of_an_unknown_kind_is_named(wire_kind: str) -> None:
    payload = dumps(Wire("w"))
    del handles._decoders[wire_kind]
    with pytest.raises(LookupError, match="A handle of kind 'wire' arrived"):
        loads(payload)


def test_what_cannot_be_pickled_raises() -> None:
    with pytest.raises(TypeError, match="lock"):
        dumps(threading.Lock())
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(pickle.PicklingError, match="recursion"):
        dumps(deep)


def test_importing_the_module_does_not_import_cloudpickle() -> None:
    code = "import sys, modal_lite._core.failures; print('cloudpickle' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, env=environment)
    assert done.stdout == "False\n", done.stderr
