"""Marks that implementations put on their methods for the wrapper layer."""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def untranslated(*, arguments: bool = False, result: bool = False) -> Callable[[F], F]:
    """The method's arguments, or its result, are the user's own: the wrapper does not look into them."""

    def mark(method: F) -> F:
        method.__untranslated__ = (arguments, result)  # type: ignore[attr-defined]
        return method

    return mark


def is_untranslated(method: Any) -> tuple[bool, bool]:
    """Whether arguments, and whether the result, are passed on as they are."""
    marks: tuple[bool, bool] = getattr(method, "__untranslated__", (False, False))
    return marks


def refused_in_loops(method: F) -> F:
    """The method's blocking form is an `InvalidError` inside a running event loop: it would stop that loop for long."""
    method.__refused_in_loops__ = True  # type: ignore[attr-defined]
    return method


def is_refused_in_loops(method: Any) -> bool:
    """Whether `refused_in_loops` was put on it."""
    return getattr(method, "__refused_in_loops__", False)


def hidden_from_types(method: F) -> F:
    """The method is left out of the type stubs: it only explains, at run time, why there is no such method."""
    method.__hidden_from_types__ = True  # type: ignore[attr-defined]
    return method


def blocking_refusal(name: str) -> str:
    """What to say to who calls the blocking form of method `name` inside an event loop."""
    return f"The blocking .{name}() would stop the event loop that it is used in. Use .{name}.aio() here."
