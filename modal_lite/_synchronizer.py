"""The wrapper layer: blocking and `.aio` forms of every method, generated from its one async implementation.

The implementations are ordinary coroutines and async generators. They run in the *caller's* thread, so that what they
touch of the user's (input iterators, `__reduce__`, unpickling) runs there too, and cross to the library's event loop
only where they await `on_loop(...)`, the requests to the control plane:

* `await f.remote.aio(x)` awaits the coroutine in the caller's own event loop;
* `f.remote(x)` steps the same coroutine by hand (`_drive.py`): what it yields is an errand for the library's loop,
  which the caller's thread waits for before it steps on.

synchronicity makes the wrapper classes and their type stubs, and translates between implementation objects
(`_Function`) and public ones (`Function`). How a method is run, and that tracebacks show no library frames, is decided
here.

Frames are hidden by a bare `raise` after the exception's `__traceback__` was cut: CPython then adds no entry for the
frame that re-raises, so the caller's line is followed by the remote function's.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable
from contextlib import _AsyncGeneratorContextManager
from typing import Any, cast

from synchronicity import Synchronizer
from synchronicity.combined_types import FunctionWithAio, MethodWithAio
from synchronicity.interface import Interface
from synchronicity.synchronizer import should_have_aio_interface

from modal_lite._core.blocks import Blocks
from modal_lite._core.library_loop import close_library, library
from modal_lite._core.tracebacks import hide_library_frames
from modal_lite._core.wrapping import blocking_refusal, is_refused_in_loops, is_untranslated
from modal_lite._drive import BlockingIterable, elements, enter_blocking, inside_event_loop, run_blocking
from modal_lite.exception import InvalidError

_AIO = Interface._ASYNC_WITH_BLOCKING_TYPES


class _Synchronizer(Synchronizer):
    """synchronicity's wrapper classes with our way of running what they wrap."""

    # The loop is our own: `_core/library_loop.py` says who runs it.

    def _get_loop(self, start: bool = False) -> Any:
        return library().loop

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        return library().loop

    def _close_loop(self) -> None:
        close_library()

    def implementation_of(self, wrapper: Any) -> Any:
        """The object behind a public one."""
        return self._translate_scalar_in(wrapper)

    def wrapper_of(self, implementation: Any) -> Any:
        """The public object of an implementation; always the same one."""
        return self._translate_scalar_out(implementation)

    def _wrap_class(self, cls: Any, interface: Any, name: str | None, target_module: str | None = None) -> Any:
        wrapper = super()._wrap_class(cls, interface, name, target_module)
        if cls.__module__.startswith("modal_lite."):
            # What is private to the implementation is no method of the public class.
            for attribute in [key for key in vars(wrapper) if key[0] == "_" != key[1] and not key.startswith("_sync_")]:
                delattr(wrapper, attribute)
        return wrapper

    def _wrap_proxy_method(
        self, method: Any, interface: Any, allow_futures: bool = True, include_aio_interface: bool = True
    ) -> Any:
        if getattr(method, self._nowrap_attr, None):
            return method
        call = self._on_implementation(method)
        wrapped = self._form(method, interface, call)
        if interface == Interface.BLOCKING and include_aio_interface and should_have_aio_interface(method):
            return _Method(wrapped, self._form(method, _AIO, call), self)
        return wrapped

    def _wrap_callable(
        self,
        f: Any,
        interface: Any,
        name: str | None = None,
        allow_futures: bool = True,
        unwrap_user_excs: bool = True,
        target_module: str | None = None,
        include_aio_interface: bool = True,
    ) -> Any:
        if hasattr(f, self._original_attr):
            return f
        call = self._translated(f)
        wrapped = self._form(f, interface, call)
        if interface == Interface.BLOCKING and should_have_aio_interface(f):
            wrapped = _Function(wrapped, self._form(f, _AIO, call), self)
        self._update_wrapper(wrapped, f, name, interface, target_module=target_module)
        setattr(wrapped, self._original_attr, f)
        return wrapped

    def _update_wrapper(
        self, f_wrapped: Any, f: Any, name: str | None = None, interface: Any = None, target_module: str | None = None
    ) -> None:
        super()._update_wrapper(f_wrapped, f, name, interface, target_module)
        f_wrapped.__qualname__ = f_wrapped.__qualname__.removeprefix("_")  # the public class's

    def _on_implementation(self, method: Any) -> Callable[..., Any]:
        """The method, to be called with the wrapper object as `self`."""
        original, call = self._original_attr, self._translated(method)

        def on_implementation(wrapper: Any, *args: Any, **kwargs: Any) -> Any:
            return call(wrapper.__dict__[original], *args, **kwargs)

        return on_implementation

    def _translated(self, function: Any) -> Callable[..., Any]:
        """The function, to be called with public objects as arguments."""
        keep_arguments, _ = is_untranslated(function)
        if keep_arguments:
            return cast(Callable[..., Any], function)

        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*self._translate_in(args), **self._translate_in(kwargs))

        return call

    def _form(self, method: Any, interface: Any, call: Callable[..., Any]) -> Any:
        """One of the forms of a method, made to look like it."""
        make = _aio_form if interface == _AIO else _blocking_form
        _, keep_result = is_untranslated(method)
        form = make(method, call, (lambda value: value) if keep_result else self._translate_out)
        self._update_wrapper(form, method, interface=interface)
        setattr(form, self._original_attr, method)
        return form


def _blocking_form(method: Any, call: Callable[..., Any], leave: Callable[[Any], Any]) -> Any:
    refused = is_refused_in_loops(method)
    is_coroutine_function = inspect.iscoroutinefunction(method)
    run = enter_blocking if method is _AsyncGeneratorContextManager.__aenter__ else run_blocking

    def blocking(*args: Any, **kwargs: Any) -> Any:
        try:
            if refused and inside_event_loop():
                raise InvalidError(blocking_refusal(method.__name__))
            if is_coroutine_function:
                return leave(run(call, *args, **kwargs))
            result = call(*args, **kwargs)
            return BlockingIterable(result) if isinstance(result, Blocks) else leave(result)
        except BaseException as error:
            hide_library_frames(error)
            raise

    return blocking


def _aio_form(method: Any, call: Callable[..., Any], leave: Callable[[Any], Any]) -> Any:
    if inspect.iscoroutinefunction(method):

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            try:
                return leave(await call(*args, **kwargs))
            except BaseException as error:
                hide_library_frames(error)
                raise

        return awaited

    def direct(*args: Any, **kwargs: Any) -> Any:
        try:
            result = call(*args, **kwargs)
            return elements(result) if isinstance(result, Blocks) else leave(result)
        except BaseException as error:
            hide_library_frames(error)
            raise

    return direct


class _Method(MethodWithAio):
    """A method with its `.aio` twin. Binding is on the path of every call, so it is kept short."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        bound = _BoundMethod(self._func, instance if instance is not None else owner)
        bound.aio = functools.partial(self._aio_func, bound.__self__)
        return bound


class _BoundMethod:
    __slots__ = ("__func__", "__self__", "aio")

    aio: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], instance: Any) -> None:
        self.__func__ = function
        self.__self__ = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.__func__(self.__self__, *args, **kwargs)
        except BaseException as error:
            hide_library_frames(error)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__func__, name)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        # What the class has by itself, documented or not, would be found before __getattr__.
        return self.__func__.__doc__

    @property
    def __signature__(self) -> inspect.Signature:
        signature = inspect.signature(self.__func__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def __repr__(self) -> str:
        return f"<bound method {self.__func__.__qualname__} of {self.__self__!r}>"


class _Function(FunctionWithAio):
    """A function with its `.aio` twin."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._func(*args, **kwargs)
        except BaseException as error:
            hide_library_frames(error)
            raise


synchronizer = _Synchronizer()
