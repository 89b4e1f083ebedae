"""What the parts of a class are: methods, hooks and parameters. The decorators, and the marks that they leave."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from modal_lite._batching import Batching
from modal_lite._concurrency import Concurrency, class_concurrency
from modal_lite._function_info import generates, is_async
from modal_lite._partial_function import PartialFunction, check_parentheses, marked
from modal_lite.exception import InvalidError

MISSING: Any = object()
PARAMETER_TYPES: tuple[type, ...] = (str, int, bool, bytes, float)
"""What a parameter may be: values that can be compared, so that equal parameters share containers."""


class Method(msgspec.Struct, frozen=True):
    """The mark of `@modal_lite.method()`: inputs may be for it."""

    is_generator: bool | None = None


class Enter(msgspec.Struct, frozen=True):
    """The mark of `@modal_lite.enter()`: runs before the first input."""

    snap: bool = False
    """It runs before those without; with `enable_memory_snapshot=True` once for many containers."""


class Exit(msgspec.Struct, frozen=True):
    """The mark of `@modal_lite.exit()`: runs after the last input."""


class Parameter:
    """What `modal_lite.parameter()` leaves in the body of a class."""

    def __init__(self, default: Any, init: bool) -> None:
        self.default = default
        self.init = init


def method(
    _warn_parentheses_missing: None = None, *, is_generator: bool | None = None
) -> Callable[[Any], PartialFunction]:
    """See `modal_lite.method`."""
    check_parentheses(_warn_parentheses_missing, "@modal_lite.method()")
    return lambda target: marked(target, Method(is_generator), "@modal_lite.method()")


def enter(_warn_parentheses_missing: None = None, *, snap: bool = False) -> Callable[[Any], PartialFunction]:
    """Decorates a method that runs in each new container before its first input: `@modal_lite.enter()`.

    Hooks with `snap=True` run first; of these, and then of the others, synchronous ones before asynchronous ones, each
    kind in the order of definition, those of base classes first. A container takes inputs when all have returned; if
    one raises, the inputs that wait fail with its exception.

    Args:
        snap: If the class has `enable_memory_snapshot=True`, this hook runs once, in the process that containers are
            forked from, and must not leave threads. On an event loop of its own, closed afterwards, if it is async.

    Raises:
        InvalidError: Parentheses are missing, or it is put on something else than a method without arguments.
    """
    check_parentheses(_warn_parentheses_missing, "@modal_lite.enter()")
    return lambda target: _hook(target, Enter(bool(snap)), "@modal_lite.enter()")


def exit(_warn_parentheses_missing: None = None) -> Callable[[Any], PartialFunction]:
    """Decorates a method that runs in each container after its last input: `@modal_lite.exit()`.

    Also when the container is told to end by a signal or with its app, and after failures of inputs; not when the enter
    hooks were interrupted or failed. Hooks run in the order of definition, those of base classes first.

    Raises:
        InvalidError: Parentheses are missing, or it is put on something else than a method without arguments.
    """
    check_parentheses(_warn_parentheses_missing, "@modal_lite.exit()")
    return lambda target: _hook(target, Exit(), "@modal_lite.exit()")


def parameter(*, default: Any = MISSING, init: bool = True) -> Any:
    """Declares a parameter of a class: `name: str = modal_lite.parameter()` in its body.

    The class then gets a constructor that takes its parameters by keyword, and every distinct set of parameters has its
    own containers. Values are str, int, bool, bytes or float, as the annotation says.

    Args:
        default: The value where none is given.
        init: False: the constructor does not take it; it always has its default.
    """
    return Parameter(default, init)


def _hook(target: Any, mark: object, decorator: str) -> PartialFunction:
    partial = marked(target, mark, decorator)
    name = partial.raw_f.__qualname__
    if "." not in name or name.rpartition(".")[0].endswith("<locals>"):
        raise InvalidError(
            f"{decorator} was put on the function {name}; it takes methods of a class decorated with `@app.cls()`."
        )
    if generates(partial.raw_f):
        raise InvalidError(f"{decorator} was put on the generator function {name}; a hook runs to its end: use return.")
    try:
        inspect.signature(partial.raw_f).bind(None)
    except TypeError:
        raise InvalidError(f"{decorator} was put on {name}, which must take no arguments but self.") from None
    return partial


def refuse_parts(function: Any, decorator: str) -> None:
    """Raises InvalidError if a part of a class was given to a decorator of functions."""
    if not isinstance(function, PartialFunction):
        return
    for mark, name in ((Method, "method"), (Enter, "enter"), (Exit, "exit")):
        if function.mark(mark) is not None:
            raise InvalidError(
                f"{decorator} was put on {function.raw_f.__qualname__}, which has @modal_lite.{name}(). Methods and "
                f"hooks belong to a class: write `@app.cls()` above the class, and only `@modal_lite.{name}()` here."
            )


def partials_of(user_cls: type) -> dict[str, PartialFunction]:
    """The methods and hooks of a class by name, base classes first.

    What overrides one of them without a decorator of its own has the marks of what it overrides.

    Raises:
        InvalidError: Something is both a method and a hook, or has a decorator that is for the class.
    """
    found: dict[str, PartialFunction] = {}
    for base in reversed(user_cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, PartialFunction):
                found[name] = value
            elif name in found and inspect.isfunction(value):
                found[name] = PartialFunction(value, found[name].marks)
            elif name in found:
                del found[name]
    for name, partial in found.items():
        if partial.mark(Concurrency) is not None:
            raise InvalidError(
                f"@modal_lite.concurrent() was put on the method {user_cls.__name__}.{name}. All methods share a "
                "container: write it above the class, below `@app.cls()`."
            )
        if is_hook(partial) and len(partial.marks) > 1:
            raise InvalidError(
                f"{user_cls.__name__}.{name} has several of @modal_lite.method(), enter(), exit() and batched(); "
                "a hook is nothing else. Write a method for each."
            )
    return found


def is_hook(partial: PartialFunction) -> bool:
    """True if it runs at the start or the end of a container; else inputs may be for it."""
    return partial.mark(Enter) is not None or partial.mark(Exit) is not None


def kind_of(partial: PartialFunction) -> tuple[bool, bool]:
    """Of a method: whether it yields its results, and whether it is async."""
    mark = partial.mark(Method)
    declared = None if mark is None else mark.is_generator
    return generates(partial.raw_f) if declared is None else declared, is_async(partial.raw_f)


def marks_of(user_cls: type, methods: Mapping[str, PartialFunction]) -> list[object]:
    """What decorators of the class, and of its methods, say of how inputs share its containers.

    Raises:
        InvalidError: One of several methods is batched.
    """
    concurrency = class_concurrency(user_cls)
    marks: list[object] = [] if concurrency is None else [concurrency]
    for name, partial in methods.items():
        batching = partial.mark(Batching)
        if batching is not None:
            marks.append(batching)
            if len(methods) > 1:
                others = ", ".join(other for other in methods if other != name)
                raise InvalidError(
                    f"The method {user_cls.__name__}.{name} is batched, so it has to be the only one of its class, "
                    f"which has {others} too. Write a class for each."
                )
    return marks
