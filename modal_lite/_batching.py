"""`@modal_lite.batched()`: functions that take many inputs together, as lists."""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, cast, overload

import msgspec

from modal_lite._partial_function import check_within, marked
from modal_lite.exception import InvalidError

R = TypeVar("R")

MAX_BATCH_SIZE = 1000
"""Inputs of one batch."""
MAX_WAIT_MS = 600_000
"""Milliseconds that a batch may wait for more inputs."""
_DECORATOR = "@modal_lite.batched()"


class Batching(msgspec.Struct, frozen=True):
    """The mark of `@modal_lite.batched()`.

    Raises:
        InvalidError: A number is out of range.
    """

    max_batch_size: int
    wait_ms: int

    def __post_init__(self) -> None:
        check_within("max_batch_size", self.max_batch_size, 1, MAX_BATCH_SIZE)
        check_within("wait_ms", self.wait_ms, 0, MAX_WAIT_MS)


class _BatchedDecorator(Protocol):
    """Takes a function of lists; callers call it as a function of their elements."""

    @overload
    def __call__(
        self, function: Callable[..., Coroutine[Any, Any, list[R]]]
    ) -> Callable[..., Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, function: Callable[..., list[R]]) -> Callable[..., R]: ...


def batched(_warn_parentheses_missing: None = None, *, max_batch_size: int, wait_ms: int) -> _BatchedDecorator:
    """Runs inputs together: `@modal_lite.batched(max_batch_size=8, wait_ms=50)` below `@app.function()`.

    The function gets a list for each of its parameters and returns a list with a value for each input, in their order;
    each caller passes, and gets, one element. What the function raises fails every input of the batch. A method of a
    class can be batched if it is the only one; it needs no `@modal_lite.method()`, which only tells type checkers more.

    Args:
        max_batch_size: Inputs in a batch, at most 1000.
        wait_ms: Milliseconds that the first input of a batch waits for others, at most 600,000; then the batch runs
            with those there are.

    Raises:
        InvalidError: Parentheses are missing, or a number is out of range; or the function is a generator function, has
            no parameters, or ones with defaults, `*args` or `**kwargs`; or it is above the decorator of the app.
    """
    if _warn_parentheses_missing is not None:
        raise InvalidError("Did you forget parentheses? Write `@modal_lite.batched(max_batch_size=..., wait_ms=...)`.")
    mark = Batching(max_batch_size, wait_ms)

    def decorate(function: Any) -> Any:
        partial = marked(function, mark, _DECORATOR)
        _check_signature(partial.raw_f)
        return partial

    return cast(_BatchedDecorator, decorate)


def _check_signature(function: Callable[..., Any]) -> None:
    name = function.__qualname__
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidError(f"{_DECORATOR} was put on the generator function {name}; it must return a list instead.")
    parameters = inspect.signature(function).parameters.values()
    if not parameters:
        raise InvalidError(f"{_DECORATOR} was put on {name}, which has no parameters; it gets a list for each of them.")
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise InvalidError(f"{_DECORATOR} was put on {name}: write its parameters out instead of `{parameter}`.")
        if parameter.default is not parameter.empty:
            raise InvalidError(
                f"{_DECORATOR} was put on {name}: its parameter {parameter.name} gets a list and has no use for a "
                "default; drop it, and have callers pass a value."
            )
