"""Values that are pickled one by one and still travel in one list.

Pickling several values together keeps what they share and shows what became of them until then: `[x, x]` arrives as one
object, and an object that was changed after it was handed over arrives changed. Whoever collects values of separate
calls in one payload holds each by itself instead, so that batching is never visible.
"""

from contextvars import ContextVar
from typing import Any, NamedTuple

from modal_lite._core.payload import Payload
from modal_lite._core.serialization import dumps, loads

PLAIN = frozenset({int, float, bool, complex, str, bytes, type(None)})
"""Exact types whose values cannot change and hold nothing else: safe to pickle together and later."""
HELD_BYTES = 32 << 10
"""Bytes of pickle from which on a value travels in a payload of its own."""
_SIZED = frozenset({str, bytes})
_FEW = 64
"""Members up to which a collection is looked through."""


class Held:
    """A value as it was when it was held; unpickles to the value."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return _release, (self._data,)


def hold(value: object) -> tuple[object, Payload | None]:
    """Fixes a value, to be pickled as a member of a list later.

    Returns:
        What to put into the list, and None; or, for a large value, anything and the payload of a list of it alone.

    Raises:
        Exception: What pickling the value raises.
    """
    kind = type(value)
    if kind in PLAIN and not (isinstance(value, str | bytes) and len(value) > HELD_BYTES):
        return value, None
    if kind is tuple or kind is list or kind is dict:
        copy = _copy_if_flat(value)
        if copy is not None:
            return copy, None
    payload = dumps([value], snapshot=False)
    if len(payload.sizes) > 1 or payload.nbytes > HELD_BYTES:
        return None, payload
    return Held(b"".join(payload.parts)), None


def _copy_if_flat(value: Any) -> Any:
    """A copy of a small collection that holds nothing but plain values, else None."""
    if len(value) > _FEW:
        return None
    members = (*value, *value.values()) if type(value) is dict else value
    if not PLAIN.issuperset(map(type, members)):
        return None
    if any(type(member) in _SIZED and len(member) > HELD_BYTES for member in members):
        return None
    return value if type(value) is tuple else value.copy()


class Broken(NamedTuple):
    """Stands for a held value that could not be unpickled."""

    error: Exception


def loads_each(payload: Payload) -> Any:
    """Unpickles what holds values of which some may not unpickle: those come as `Broken`.

    Raises:
        Exception: What unpickling the rest raises.
    """
    token = _tolerant.set(True)
    try:
        return loads(payload)
    finally:
        _tolerant.reset(token)


_tolerant: ContextVar[bool] = ContextVar("_tolerant", default=False)


def _release(data: bytes) -> Any:
    if not _tolerant.get():
        return loads(Payload((len(data),), [data]))[0]
    token = _tolerant.set(False)  # what is inside a value is not for us to judge
    try:
        return loads(Payload((len(data),), [data]))[0]
    except Exception as error:
        return Broken(error)
    finally:
        _tolerant.reset(token)
