"""Apps, with blocking and `.aio` forms."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

import typing_extensions

from modal_lite import cls, functions  # noqa: F401  (wrapped first: apps refer to them)
from modal_lite._app import _App, _FunctionDecorator
from modal_lite._core.tracebacks import hide_library_frames
from modal_lite._local_entrypoint import LocalEntrypoint
from modal_lite._synchronizer import synchronizer

P = typing_extensions.ParamSpec("P")
R = TypeVar("R")


class FunctionDecorator:
    """What `@app.function()` returns: takes a Python function, gives the `Function`.

    Written by hand because generated types would read `Coroutine[Any, Any, R]` as `R`, and an async function's own type
    is needed for `Function.local`.
    """

    def __init__(self, decorator: _FunctionDecorator) -> None:
        self._decorator = decorator

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]]
    ) -> "functions.Function[P, R, Coroutine[Any, Any, R]]": ...

    @overload
    def __call__(self, function: Callable[P, R]) -> "functions.Function[P, R, R]": ...

    def __call__(self, function: Any) -> Any:
        """Decorates the function."""
        try:
            return synchronizer.wrapper_of(self._decorator.decorate(function))
        except BaseException as error:
            hide_library_frames(error)
            raise


synchronizer.register_external_wrapper_class(
    _FunctionDecorator,
    FunctionDecorator,
    translate_in=lambda decorator: decorator._decorator,
    translate_out=FunctionDecorator,
)
App = synchronizer.wrap(_App, "App", __name__)

__all__ = ["App", "FunctionDecorator", "LocalEntrypoint"]
