"""The pickler: C speed for plain data, cloudpickle for what plain pickle cannot do.

Imported on first use only, for cloudpickle's sake.
"""

import copyreg
import pickle
from collections.abc import Callable
from functools import cached_property
from types import CodeType, FunctionType, WrapperDescriptorType
from typing import Any

import cloudpickle
from cloudpickle.cloudpickle import _dynamic_class_reduce

from modal_lite._core.handles import reducers
from modal_lite._core.main_module import MAIN_NAMES, is_found_by_container

_of_cloudpickle = cloudpickle.Pickler.dispatch_table.maps[0]


def _reduce_code(code: CodeType) -> Any:
    """Keeps the name of the file, by which tracebacks find the source; cloudpickle replaces it since 3.1.3."""
    # A string of its own, as cloudpickle makes of each: what is pickled does not depend on who shares it.
    return _rebuild_code, ("".join(code.co_filename), *_of_cloudpickle[CodeType](code))


def _rebuild_code(filename: str, make: Callable[..., CodeType], args: tuple[Any, ...]) -> CodeType:
    return make(*args).replace(co_filename=filename)


reducers[CodeType] = _reduce_code
for _type, _reducer in _of_cloudpickle.items():
    reducers.setdefault(_type, _reducer)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc, unused-ignore]
    """Pickles one value with protocol 5; `by_value` is a function or class that travels by value wherever it lives.

    Set up without any Python code of cloudpickle, which costs more than pickling a small value: the initializer is
    pickle's own, and its chained dispatch table is replaced by one look-up.
    """

    __init__ = pickle.Pickler.__init__
    dispatch_table = copyreg.dispatch_table
    by_value: Any = None

    @cached_property
    def globals_ref(self) -> dict[int, dict[str, Any]]:
        """Where cloudpickle keeps the global namespaces of functions that it pickled by value."""
        return {}

    def reducer_override(self, obj: Any) -> Any:
        """How `obj` is taken apart, NotImplemented to leave it to pickle."""
        kind = type(obj)
        reducer = reducers.get(kind)
        if reducer is not None:
            return reducer(obj)
        if not issubclass(kind, (FunctionType, type, BaseException)):
            return NotImplemented
        if issubclass(kind, BaseException):
            return _reduce_exception(obj)
        if obj is self.by_value:
            return _dynamic_class_reduce(obj) if isinstance(obj, type) else self._dynamic_function_reduce(obj)
        if getattr(obj, "__module__", None) in MAIN_NAMES and is_found_by_container(obj):
            return NotImplemented
        return super().reducer_override(obj)


def _reduce_exception(exc: BaseException) -> Any:
    """Makes exceptions with an `__init__` of their own survive, which plain pickle calls again with `args`.

    `args` are the arguments of `Exception.__init__`, not those of the class: the second call fails, or does its work
    twice. A class that says how it is pickled is left alone.
    """
    cls = type(exc)
    if (
        type(cls.__init__) is not FunctionType
        or cls.__reduce_ex__ is not object.__reduce_ex__
        or isinstance(cls.__reduce__, FunctionType)
        or isinstance(cls.__setstate__, FunctionType)
        or cls in copyreg.dispatch_table
    ):
        return NotImplemented
    reduced: Any = exc.__reduce__()
    _, args, *rest = reduced
    return _rebuild_exception, (cls, args), (rest[0] if rest else None), None, None, _restore_attributes


def _rebuild_exception(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    exc = cls.__new__(cls, *args)
    # The initializer of the builtin base fills in what only C can: an OSError's errno, a StopIteration's value.
    builtin = next(base for base in cls.__mro__ if isinstance(base.__dict__.get("__init__"), WrapperDescriptorType))
    builtin.__dict__["__init__"](exc, *args)
    return exc


def _restore_attributes(exc: BaseException, state: dict[str, Any] | None) -> None:
    try:
        exc.__setstate__(state)
    except AttributeError:
        # A frozen dataclass refuses to have its attributes set (its error is an AttributeError).
        exc.__dict__.update(state or {})
