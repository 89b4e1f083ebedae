"""Local entrypoints: functions of the caller's side that `modal-lite run` starts."""

import functools
from collections.abc import Callable
from typing import Generic, TypeVar

import typing_extensions

from modal_lite.exception import InvalidError

P = typing_extensions.ParamSpec("P")
R = TypeVar("R", covariant=True)


class LocalEntrypoint(Generic[P, R]):
    """What `@app.local_entrypoint()` makes: can be called like the function it was put on.

    Attributes:
        name: Its name on the command line.
        raw_f: The function.
    """

    def __init__(self, function: Callable[P, R], name: str) -> None:
        if not callable(function):
            raise InvalidError(f"@app.local_entrypoint() takes a function, not {function!r:.100}.")
        self.raw_f = function
        self.name = name
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function, here."""
        return self.raw_f(*args, **kwargs)
