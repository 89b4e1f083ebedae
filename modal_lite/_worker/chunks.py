"""From the bytes of a chunk to the calls that its inputs are."""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from modal_lite._core.held import PLAIN
from modal_lite._core.messages import Encoding, Lease
from modal_lite._core.payload import payload_of
from modal_lite._core.serialization import dumps, loads

Invoke = Callable[[Any], Any]
"""Calls the user's function with what one input of the chunk consists of."""


def decode(lease: Lease, body: memoryview, function: Callable[..., Any]) -> tuple[Invoke, Sequence[Any]]:
    """How to call the function, and the chunk's inputs to call it with. Raises what unpickling raises."""
    content = loads(payload_of(lease.sizes, body))
    if lease.encoding is Encoding.CALL:
        return _from_call(function), (content,)
    items, kwargs = content
    spread = lease.encoding is Encoding.STAR
    if not kwargs:
        return _from_star(function) if spread else _from_single(function), items
    if PLAIN.issuperset(map(type, kwargs.values())):
        return _with_plain_kwargs(function, kwargs, spread), items
    return _with_fresh_kwargs(function, kwargs, spread), items


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
