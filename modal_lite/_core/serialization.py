"""One pickler for everything that crosses a process boundary.

Plain data goes at the speed of C pickle. Functions and classes go by reference where the other side can import them and
by value (cloudpickle) where it cannot; `main_module` says which of a script's own are which. Large buffers are neither
copied into the pickle stream nor out of what was received.
"""

import io
import pickle
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modal_lite._core import main_module
from modal_lite._core.handles import register_handle
from modal_lite._core.payload import Buffer, Payload
from modal_lite._core.warm_memory import WarmMemory

if TYPE_CHECKING:
    from modal_lite._core.pickler import Pickler

__all__ = [
    "dumps",
    "dumps_function",
    "dumps_key",
    "dumps_whole",
    "loads",
    "loads_function",
    "loads_whole",
    "register_handle",
]

OUT_OF_BAND = 64 << 10
"""Bytes from which on a buffer stays outside of the pickle stream."""
_PROTOCOL = 5
_NUMBERS = frozenset({int, float, bool, type(None)})
_STACK_GLOBAL = b"\x93"
"""The opcode for something to be imported. A stream without that byte needs no unpickler of ours."""
_SCANNED_STREAM = 4 << 10
_COPIED_STREAM = 64 << 10
"""Up to this many bytes a stream is cheaper to copy than to read through Python."""

_memory = WarmMemory()
_pickler: "type[Pickler] | None" = None


class _Parts(list[Buffer]):
    """The file that the pickler writes to: what it writes is kept as it is, large bytes objects themselves included."""

    __slots__ = ()
    write = list.append


def dumps(value: object, *, snapshot: bool = True) -> Payload:
    """Pickles any value.

    Args:
        value: What to pickle.
        snapshot: Copy large mutable buffers (bytearrays, arrays), so that the payload stays what it is when the caller
            changes them afterwards. False saves the copy where the payload is sent before anyone can.

    Raises:
        Exception: What pickle, or the value's own reducers, raise when it cannot be pickled.
    """
    if type(value) is list and len(value) == 1 and type(value[0]) in _NUMBERS:
        # Alone goes what a slow function returns, from caches gone cold meanwhile: the less there is to run the better.
        stream = pickle.dumps(value, _PROTOCOL)
        return Payload((len(stream),), [stream])
    return _dump(_pickler or _load_pickler(), value, snapshot, None)


def loads(payload: Payload) -> Any:
    """Unpickles what `dumps` made.

    Out-of-band buffers are not copied: the value's arrays live in the memory of the payload, so a payload loaded
    twice yields values that share it. Only where that memory is read-only a copy is made, for an array must be
    writable whatever way it arrived.

    Raises:
        Exception: What pickle, or the import of a module that the value refers to, raise.
    """
    sizes, parts = payload
    if len(sizes) == 1 and len(parts) == 1:
        stream = parts[0]
        if sizes[0] <= _SCANNED_STREAM and _STACK_GLOBAL not in (data := bytes(stream)):
            return pickle.loads(data)
        return _Unpickler(io.BytesIO(stream) if sizes[0] <= _COPIED_STREAM else _Reader([memoryview(stream)])).load()
    views = deque(view for part in parts if (view := memoryview(part).cast("B")))
    streams = _take(views, sizes[0])
    buffers = [_join_writable(_take(views, size)) for size in sizes[1:]]
    file = io.BytesIO(b"".join(streams)) if sizes[0] <= _COPIED_STREAM else _Reader(streams)
    return _Unpickler(file, buffers=buffers).load()


def dumps_function(fn: Callable[..., Any]) -> bytes:
    """Pickles a function, or a class, by value, even if its module could be imported. Raises as `dumps` does."""
    return b"".join(_dump(_pickler or _load_pickler(), fn, False, fn).parts)


def loads_function(data: bytes) -> Any:
    """The function that `dumps_function` pickled. Raises as `loads` does."""
    return loads_whole(data)


def dumps_whole(value: object) -> bytes:
    """Pickles any value into one stream, large buffers included: for what is kept as bytes. Raises as `dumps` does."""
    parts = _Parts()
    (_pickler or _load_pickler())(parts, _PROTOCOL).dump(value)
    return b"".join(parts)


def dumps_key(value: object) -> bytes:
    """Pickles a value so that equal plain values become equal bytes, in every process. Raises as `dumps` does.

    Ordinary pickles tell an object that occurs twice from two that are equal; these do not.
    """
    parts = _Parts()
    pickler = (_pickler or _load_pickler())(parts, _PROTOCOL)
    pickler.fast = True
    pickler.dump(value)
    return b"".join(parts)


def loads_whole(data: bytes) -> Any:
    """The value that `dumps_whole` pickled. Raises as `loads` does."""
    return loads(Payload((len(data),), [data]))


def _load_pickler() -> "type[Pickler]":
    global _pickler
    from modal_lite._core.pickler import Pickler

    _pickler = Pickler
    return _pickler


def _dump(pickler_class: "type[Pickler]", value: object, snapshot: bool, by_value: Any) -> Payload:
    parts = _Parts()
    buffers: list[memoryview] = []

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < OUT_OF_BAND:
            return True
        buffers.append(raw)
        return False

    if by_value is None:
        pickler_class(parts, _PROTOCOL, buffer_callback=keep_in_band).dump(value)
    else:
        # In one stream: what is stored as bytes has no place for buffers.
        pickler = pickler_class(parts, _PROTOCOL)
        pickler.by_value = by_value
        pickler.dump(value)
    if len(parts) == 1 and not buffers:
        return Payload((len(parts[0]),), parts)
    if snapshot:
        # Only a large bytearray is written as itself, and only a writable buffer can change.
        parts = _Parts(_memory.copy(memoryview(part)) if type(part) is bytearray else part for part in parts)
        buffers = [raw if raw.readonly else _memory.copy(raw) for raw in buffers]
    sizes = (sum(map(len, parts)), *(raw.nbytes for raw in buffers))
    return Payload(sizes, [*parts, *buffers])


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, name: str) -> Any:
        module = main_module.stand_in(module_name)
        if module is not None:
            return main_module.find_in_stand_in(module, module_name, name)
        return super().find_class(module_name, name)


class _Reader:
    """A file over several buffers that the unpickler reads large objects from without an intermediate copy."""

    def __init__(self, views: list[memoryview]) -> None:
        self._views = deque(views)

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        views = self._views
        if views and len(views[0]) > size:
            head = views[0]
            views[0] = head[size:]
            return bytes(head[:size])
        return b"".join(_take(views, size))

    def readinto(self, target: Any) -> int:
        """Fills `target` and tells how many bytes there were."""
        room = memoryview(target).cast("B")
        filled = 0
        for view in _take(self._views, len(room)):
            room[filled : filled + len(view)] = view
            filled += len(view)
        return filled

    def readline(self) -> bytes:
        """The unpickler insists on this method; only text opcodes, which protocol 5 does not write, call it."""
        raise pickle.UnpicklingError("not a pickle of protocol 5")


def _take(views: deque[memoryview], size: int) -> list[memoryview]:
    """Removes `size` bytes from the front of `views`, fewer if there are no more."""
    taken: list[memoryview] = []
    while size and views:
        head = views[0]
        if len(head) <= size:
            taken.append(views.popleft())
            size -= len(head)
        else:
            taken.append(head[:size])
            views[0] = head[size:]
            size = 0
    return taken


def _join_writable(views: list[memoryview]) -> Buffer:
    if len(views) == 1 and not views[0].readonly:
        return views[0]
    return bytearray().join(views)
