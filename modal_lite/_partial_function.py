"""Functions that decorators have said something of, before an app takes them.

`@method()`, `@enter()`, `@exit()`, `@batched()`, `@concurrent()` and their like stack in any order. Each leaves a mark,
an object of a class of its own; the app, or the class that the function belongs to, reads the marks it knows.
"""

import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar

from modal_lite._core.class_description import ATTRIBUTE
from modal_lite.exception import InvalidError

T = TypeVar("T")


class PartialFunction:
    """A user's function with its marks. Called, or got from an instance, it is the plain function.

    Args:
        raw_f: The function.
        marks: What decorators said of it, by the class of the mark.
    """

    def __init__(self, raw_f: Callable[..., Any], marks: dict[type[Any], Any]) -> None:
        self.raw_f = raw_f
        self.marks = marks

    def mark(self, kind: type[T]) -> T | None:
        """The mark of that class, None if there is none."""
        found: T | None = self.marks.get(kind)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.raw_f(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self.raw_f, instance)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.raw_f.__qualname__} {list(self.marks.values())}>"


def marked(target: Any, mark: object, decorator: str) -> PartialFunction:
    """The function with one more mark.

    Args:
        target: What was decorated: a function, or one with marks already.
        mark: What the decorator says.
        decorator: How the decorator is written, such as `@modal_lite.enter()`, for errors.

    Raises:
        InvalidError: It is no function, or says the same twice, or belongs to an app already.
    """
    if hasattr(target, "get_raw_f") or hasattr(target, ATTRIBUTE):
        raise InvalidError(
            f"{decorator} is above the decorator of the app; put it below, next to the function or class."
        )
    partial = target if isinstance(target, PartialFunction) else PartialFunction(target, {})
    raw_f: Any = partial.raw_f
    name = getattr(raw_f, "__qualname__", repr(raw_f))
    if not callable(raw_f) or isinstance(raw_f, type):
        raise InvalidError(f"{decorator} decorates functions, not {name}.")
    if type(mark) in partial.marks:
        raise InvalidError(f"{decorator} decorates {name} twice.")
    return PartialFunction(partial.raw_f, {**partial.marks, type(mark): mark})


def check_parentheses(given: Any, decorator: str, above: str = "function") -> None:
    """Raises InvalidError if a decorator that has to be called was put on something as it is."""
    if given is not None:
        what = f"a {above}" if inspect.isroutine(given) or inspect.isclass(given) else repr(given)
        raise InvalidError(
            f"Did you forget parentheses? {decorator[:-2]} was given {what}; write `{decorator}` above the {above}."
        )


def check_within(name: str, value: object, least: int, most: int) -> None:
    """Raises InvalidError unless the argument of a decorator is an int in this range."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidError(f"{name}={value!r}: must be an int from {least} to {most:,}.")
