"""`@modal_lite.concurrent()`: functions and classes whose containers run several inputs at once."""

import inspect
from collections.abc import Callable
from typing import TypeVar, cast

import msgspec

from modal_lite._partial_function import check_within, marked
from modal_lite.exception import InvalidError

T = TypeVar("T", bound=Callable[..., object])

MAX_INPUTS = 1000
"""Inputs that a container may run at once."""
_ATTRIBUTE = "__modal_lite_concurrency__"


class Concurrency(msgspec.Struct, frozen=True):
    """The mark of `@modal_lite.concurrent()`: how many inputs a container runs at once.

    Raises:
        InvalidError: A number is out of range.
    """

    max_inputs: int
    target_inputs: int | None = None

    def __post_init__(self) -> None:
        check_within("max_inputs", self.max_inputs, 1, MAX_INPUTS)
        if self.target_inputs is not None:
            check_within("target_inputs", self.target_inputs, 1, self.max_inputs)


def concurrent(
    _warn_parentheses_missing: None = None, *, max_inputs: int, target_inputs: int | None = None
) -> Callable[[T], T]:
    """Has containers run several inputs at once: `@modal_lite.concurrent(max_inputs=10)`, below `@app.function()`.

    An `async` function runs as tasks on one event loop; cancelling one input, or the end of its time, leaves the others
    alone. Any other function runs in threads, which cannot be interrupted: to end one input its container is ended, and
    the others run again elsewhere; that costs them none of their retries.

    Of a class, below `@app.cls()`, it is for the inputs of all methods together. Async methods run as tasks, others in
    threads; if there are any of those, ending one input of whichever method ends the container.

    Args:
        max_inputs: Inputs at once in a container, at most 1000.
        target_inputs: Inputs per container from which on more containers are started; while they start, and when there
            may be no more, containers take up to `max_inputs`. Default: `max_inputs`.

    Raises:
        InvalidError: Parentheses are missing, or a number is out of range; or it is above the decorator of the app.
    """
    if _warn_parentheses_missing is not None:
        raise InvalidError("Did you forget parentheses? Write `@modal_lite.concurrent(max_inputs=...)`.")
    mark = Concurrency(max_inputs, target_inputs)

    def decorate(target: T) -> T:
        if inspect.isclass(target):
            setattr(target, _ATTRIBUTE, mark)
            return target
        return cast(T, marked(target, mark, "@modal_lite.concurrent()"))

    return decorate


def class_concurrency(cls: type) -> Concurrency | None:
    """What `@modal_lite.concurrent()` says of the class, or of one that it inherits from; None if nothing."""
    mark: Concurrency | None = getattr(cls, _ATTRIBUTE, None)
    return mark
