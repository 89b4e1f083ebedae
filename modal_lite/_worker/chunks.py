"""From the bytes of a chunk to the calls that its inputs are."""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from modal_lite._core.held import PLAIN, Broken, loads_each
from modal_lite._core.messages import Encoding, Failure, Lease
from modal_lite._core.payload import payload_of
from modal_lite._core.serialization import dumps, loads
from modal_lite._worker.outcomes import undecodable

Invoke = Callable[[Any], Any]
"""Calls the user's function with what one input of the chunk consists of."""


class Undecodable(Exception):
    """Raised in the place of calling the function, for an input that cannot be unpickled here."""

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure


def decode(lease: Lease, body: memoryview, function: Callable[..., Any], tag: str) -> tuple[Invoke, Sequence[Any]]:
    """How to call the function, and the chunk's inputs to call it with.

    Inputs that cannot be unpickled raise `Undecodable` when they are called. Raises what unpickling raises if the chunk
    as a whole cannot be.
    """
    payload = payload_of(lease.sizes, body)
    if lease.encoding is Encoding.CALL:
        return _from_call(function), (loads(payload),)
    spread = lease.encoding is Encoding.STAR
    try:
        items, kwargs = loads(payload)
    except Exception:
        items, kwargs = loads_each(payload)
        return _unless_broken(_invoke(function, kwargs, spread), tag), items
    return _invoke(function, kwargs, spread), items


def _invoke(function: Callable[..., Any], kwargs: dict[str, Any], spread: bool) -> Invoke:
    if not kwargs:
        return _from_star(function) if spread else _from_single(function)
    if PLAIN.issuperset(map(type, kwargs.values())):
        return _with_plain_kwargs(function, kwargs, spread)
    return _with_fresh_kwargs(function, kwargs, spread)


def _unless_broken(invoke: Invoke, tag: str) -> Invoke:
    def guarded(item: Any) -> Any:
        if type(item) is Broken:
            raise Undecodable(undecodable(tag, item.error))
        return invoke(item)

    return guarded


def _from_call(function: Callable[..., Any]) -> Invoke:
    def invoke(content: Any) -> Any:
        args, kwargs = content
        return function(*args, **kwargs)

    return invoke


def _from_single(function: Callable[..., Any]) -> Invoke:
    # A Python function has a frame of its own, by which a signal handler sees that user code runs.
    return function if isinstance(function, FunctionType) else lambda item: function(item)


def _from_star(function: Callable[..., Any]) -> Invoke:
    return lambda item: function(*item)


def _with_plain_kwargs(function: Callable[..., Any], kwargs: dict[str, Any], spread: bool) -> Invoke:
    if spread:
        return lambda item: function(*item, **kwargs)
    return lambda item: function(item, **kwargs)


def _with_fresh_kwargs(function: Callable[..., Any], kwargs: dict[str, Any], spread: bool) -> Invoke:
    """Gives each input keyword arguments of its own: what one changes in them must not reach the next."""
    pickled = dumps(kwargs)

    def invoke(item: Any) -> Any:
        args = item if spread else (item,)
        return function(*args, **loads(pickled))

    return invoke
