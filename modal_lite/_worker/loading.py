"""Finding the user's function in a container."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from modal_lite._core.main_module import MAIN_NAMES, load_container_main, load_module
from modal_lite._core.messages import ContainerSpec
from modal_lite._core.serialization import loads_function

Unwrapper = Callable[[Any], Callable[..., Any] | None]


def _raw_function(obj: Any) -> Callable[..., Any] | None:
    get_raw_f = getattr(obj, "get_raw_f", None)
    return get_raw_f() if callable(get_raw_f) else None


_unwrappers: list[Unwrapper] = [_raw_function]


def register_unwrapper(unwrapper: Unwrapper) -> None:
    """Makes known how to get the undecorated function out of what a decorator made of it.

    Args:
        unwrapper: Takes what was found under the function's name; returns None if it knows nothing of such objects.
    """
    _unwrappers.insert(0, unwrapper)


def load_function(spec: ContainerSpec) -> Callable[..., Any]:
    """The undecorated function that the container is to run. Raises as `find_object` and `unwrap` do."""
    return unwrap(find_object(spec), spec)


def find_object(spec: ContainerSpec) -> Any:
    """What the container's function, or class, is called where it was defined: with what decorators made of it.

    Raises:
        BaseException: What importing the module raises, SystemExit included.
        AttributeError: The module does not define it when it is imported.
    """
    if spec.serialized is not None:
        return loads_function(spec.serialized)
    if spec.module_name in MAIN_NAMES or (spec.main is not None and spec.main.name == spec.module_name):
        module = load_container_main()
    else:
        module = load_module(spec.module_name, spec.file_path)
    found: Any = module
    for name in spec.qualname.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise AttributeError(
                f"{spec.module_name} has no {spec.qualname!r} when it is imported in a container. Define the function "
                'at module level, outside of `if __name__ == "__main__":`, or use `serialized=True`.'
            ) from None
    return found


def is_async(function: Callable[..., Any]) -> bool:
    """True for coroutine functions and async generator functions, also behind partial and functools.wraps."""
    for candidate in (function, _innermost(function), getattr(function, "__call__", None)):  # noqa: B004
        if inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate):
            return True
    return False


def _innermost(function: Any) -> Any:
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return function


def unwrap(found: Any, spec: ContainerSpec) -> Callable[..., Any]:
    """The undecorated function. Raises TypeError if what was found cannot be called."""
    for unwrapper in _unwrappers:
        raw = unwrapper(found)
        if raw is not None:
            return raw
    if not callable(found):
        raise TypeError(f"{spec.module_name}.{spec.qualname} is {type(found).__qualname__!r}, which cannot be called")
    function: Callable[..., Any] = found
    return function
