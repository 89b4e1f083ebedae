"""Where a function comes from: what a container needs to find it again."""

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from modal_lite._core.main_module import current_main
from modal_lite._core.web import WebConfig
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
        web: What is said of the requests that it answers, if that is what it is for.
    """

    raw_f: Callable[..., Any]
    module_name: str
    qualname: str
    file_path: str | None
    by_value: bool
    is_generator: bool
    is_async: bool
    web: WebConfig | None = None

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
        module_name, by_value = _module_of(function, serialized)
        if not by_value:
            _check_is_global(function, decorator)
        return cls(
            function,
            module_name,
            function.__qualname__,
            _source_file(function),
            by_value,
            generates(function) if is_generator is None else is_generator,
            is_async(function),
        )

    @classmethod
    def of_class(cls, user_cls: Any, serialized: bool, decorator: str) -> "FunctionInfo":
        """Describes a class that is being decorated.

        Args:
            user_cls: What the decorator was put on.
            serialized: The user asked for it to travel by value.
            decorator: What the user wrote, for errors.

        Raises:
            InvalidError: It is no class, or no container could find it.
        """
        if not inspect.isclass(user_cls):
            name = getattr(user_cls, "__qualname__", repr(user_cls))
            raise InvalidError(f"{decorator} takes classes, not {name:.100}; `@app.function()` is for functions.")
        module_name, by_value = _module_of(user_cls, serialized)
        if not by_value and "<locals>" in user_cls.__qualname__:
            raise InvalidError(
                f"The class {user_cls.__qualname__} is not at the global scope of its module, so a container cannot "
                "import it. Move it there, or have it pickled: `@app.cls(serialized=True)`."
            )
        return cls(user_cls, module_name, user_cls.__qualname__, _source_file(user_cls), by_value, False, False)

    def of_method(
        self, name: str, raw_f: Callable[..., Any], is_generator: bool, is_async: bool, web: WebConfig | None = None
    ) -> "FunctionInfo":
        """Describes a method of the class that this describes."""
        place = self.module_name, f"{self.qualname}.{name}", self.file_path
        return FunctionInfo(raw_f, *place, self.by_value, is_generator, is_async, web)


def generates(function: Callable[..., Any]) -> bool:
    """True for generator functions and async ones."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def is_async(function: Callable[..., Any]) -> bool:
    """True for coroutine functions and async generator functions."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _module_of(obj: Any, serialized: bool) -> tuple[str, bool]:
    """The name by which containers import its module, and whether it has to travel by value instead."""
    if obj.__module__ != "__main__":
        return obj.__module__, serialized
    main = current_main()
    return ("__main__", True) if main is None else (main.name, serialized)


def _check_is_function(function: Any, decorator: str) -> None:
    if inspect.isclass(function):
        raise InvalidError(
            f"{decorator} was put on the class {function.__name__}; it takes functions. "
            "Write `@app.cls()` above it instead, and `@modal_lite.method()` above the methods to be called."
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
