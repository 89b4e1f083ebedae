"""What a container has to know of a user's class. `@app.cls()` leaves it on the class, where the container finds it."""

from collections.abc import Callable
from typing import Any

import msgspec

from modal_lite._core.serialization import dumps_key, dumps_whole, loads_whole

ATTRIBUTE = "__modal_lite_class__"
"""Where the description is: on the class itself, and on what the decorator put in its place."""


class MethodDescription(msgspec.Struct, frozen=True):
    """A method that inputs may be for.

    Attributes:
        raw_f: The undecorated function, to be called with the instance.
        is_generator: It yields its results.
        is_async: It is a coroutine function or an async generator function.
    """

    raw_f: Callable[..., Any]
    is_generator: bool
    is_async: bool


class ClassDescription(msgspec.Struct, frozen=True):
    """A user's class.

    Attributes:
        cls: The class, to be called with the parameters of the instance.
        methods: By name.
        snap_enters: Undecorated hooks to be called with the instance first of all; a memory snapshot has their effect.
        enters: The same, after those.
        exits: The same, after the last input.
    """

    cls: type
    methods: dict[str, MethodDescription]
    snap_enters: tuple[Callable[..., Any], ...]
    enters: tuple[Callable[..., Any], ...]
    exits: tuple[Callable[..., Any], ...]


def pack_parameters(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """The constructor's arguments as bytes, equal ones as equal bytes if their pickles are. Raises as pickling does."""
    arguments = args, sorted(kwargs.items())
    try:
        return dumps_key(arguments)
    except (ValueError, RecursionError):
        return dumps_whole(arguments)  # Something in them contains itself.


def unpack_parameters(packed: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments that `pack_parameters` was given. Raises as unpickling does."""
    args, kwargs = loads_whole(packed)
    return args, dict(kwargs)
