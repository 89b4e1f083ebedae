"""What a container has to know of a user's class. `@app.cls()` leaves it on the class, where the container finds it."""

from collections.abc import Callable
from typing import Any

import msgspec

from modal_lite._core.serialization import dumps_whole, loads_whole

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
    """The constructor's arguments as bytes, equal ones as equal bytes if their pickles are. Raises as pickling does.

    Each is pickled by itself, for within one pickle the same string is written differently the second time.
    """
    return dumps_whole(([dumps_whole(a) for a in args], [(k, dumps_whole(kwargs[k])) for k in sorted(kwargs)]))


def unpack_parameters(packed: bytes) -> tuple[list[Any], dict[str, Any]]:
    """The arguments that `pack_parameters` was given. Raises as unpickling does."""
    args, kwargs = loads_whole(packed)
    return [loads_whole(a) for a in args], {name: loads_whole(value) for name, value in kwargs}
