"""Where a function comes from: what a container needs to find it again."""

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from modal_lite._core.main_module import current_main
from modal_lite.exception import InvalidError


class FunctionInfo(msgspec.Struct, frozen=True):
    """A user's function.

    Attributes:
        raw_f: The function itself.
        module_name: Its module, by the name under which containers import it.
        qualname: Its place in the module.
        file_path: The module's file, None if it has none.
        by_value: True if it travels pickled: there is no module that a container could import.
        is_generator: It is a generator function, or an async one.
        is_async: It is a coroutine function, or an async generator function.
    """

    raw_f: Callable[..., Any]
    module_name: str
    qualname: str
    file_path: str | None
    by_value: bool
    is_generator: bool
    is_async: bool

    @classmethod
    def of(
        cls, function: Callable[..., Any], serialized: bool, is_generator: bool | None, decorator: str
    ) -> "FunctionInfo":
        """Describes a function that is being decorated.

        Args:
            function: What the decorator was put on.
            serialized: The user asked for it to travel by value.
            is_generator: What the user says of it; None to find out.
            decorator: What the user wrote, for errors.

        Raises:
            InvalidError: No container could find or run it.
        """
        _check_is_function(function, decorator)
        module_name, file_path = function.__module__, _source_file(function)
        by_value = serialized
        if module_name == "__main__":
            main = current_main()
            if main is None:
                by_value = True
            else:
                module_name = main.name
        if not by_value:
            _check_is_global(function, decorator)
        generates = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        return cls(
            function,
            module_name,
            function.__qualname__,
            file_path,
            by_value,
            generates if is_generator is None else is_generator,
            inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
        )


def _check_is_function(function: Any, decorator: str) -> None:
    if inspect.isclass(function):
        raise InvalidError(
            f"{decorator} was put on the class {function.__name__}; it takes functions. "
            "Write a function that makes an instance and uses it. (`@app.cls()` is for classes.)"
        )
    if isinstance(function, staticmethod | classmethod):
        raise InvalidError(f"{decorator} takes functions, not a {type(function).__name__}; move it out of its class.")
    if not callable(function) or not hasattr(function, "__qualname__"):
        raise InvalidError(f"{decorator} takes a function, not {function!r:.100}.")


def _check_is_global(function: Any, decorator: str) -> None:
    name, qualname = function.__name__, function.__qualname__
    if name == "<lambda>" or "<locals>" in qualname:
        what = "A lambda" if name == "<lambda>" else f"The function {qualname}"
        raise InvalidError(
            f"{what} is not at the global scope of its module, so a container cannot import it. Move it there, "
            "or have it pickled: `@app.function(serialized=True)`."
        )
    if "." in qualname:
        raise InvalidError(
            f"{decorator} was put on {qualname}, a method. It takes functions at the global scope of a module; "
            "methods belong to a class decorated with `@app.cls()`."
        )


def _source_file(function: Any) -> str | None:
    try:
        return inspect.getsourcefile(inspect.unwrap(function))
    except (TypeError, ValueError):
        return None
