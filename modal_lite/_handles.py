"""Public objects as arguments and results: they travel as handles and are revived as the same public classes."""

from typing import Any

from modal_lite._app import _App
from modal_lite._cls import _Cls
from modal_lite._core.context import is_local
from modal_lite._core.handles import register_handle
from modal_lite._core.object_requests import ObjectKind
from modal_lite._core.settings import FunctionSettings
from modal_lite._dict import _Dict
from modal_lite._function_call import _FunctionCall
from modal_lite._function_info import FunctionInfo
from modal_lite._functions import _Function
from modal_lite._queue import _Queue
from modal_lite._reference import Reference, missing_definition
from modal_lite._shared_object import SharedObject
from modal_lite._synchronizer import synchronizer
from modal_lite._volume import _Volume
from modal_lite.app import App
from modal_lite.cls import Cls, Obj
from modal_lite.dict import Dict
from modal_lite.exception import InvalidError
from modal_lite.functions import Function, FunctionCall
from modal_lite.queue import Queue
from modal_lite.volume import Volume

_BY_NAME = "name"
"""First of what a function travels as that is looked up where it arrives."""


def register() -> None:
    """Makes the public classes known to the pickler."""
    inside, outside = synchronizer.implementation_of, synchronizer.wrapper_of

    register_handle(
        Function,
        "function",
        lambda f: (inside(f).app.name, _encode_function(inside(f))),
        lambda data: outside(_decode_function(data[1], _App(data[0]))),
    )
    register_handle(
        FunctionCall, "function_call", lambda call: call.object_id, lambda i: outside(_FunctionCall.from_id(i))
    )
    register_handle(App, "app", lambda app: app.name, lambda name: outside(_App(name)))
    register_handle(Cls, "cls", lambda cls: _encode_class(inside(cls)), lambda data: Cls(_decode_class(data)))
    register_handle(
        Obj,
        "obj",
        lambda obj: (_encode_class(obj._obj.cls), obj._obj.parameters()),
        lambda data: Obj(_decode_class(data[0]).revive(data[1])),
    )
    register_handle(
        Dict,
        "dict",
        lambda shared: inside(shared)._object.describe(),
        lambda data: outside(_Dict._of(SharedObject(ObjectKind.DICT, *data))),
    )
    register_handle(
        Queue,
        "queue",
        lambda shared: inside(shared)._object.describe(),
        lambda data: outside(_Queue._of(SharedObject(ObjectKind.QUEUE, *data))),
    )
    register_handle(Volume, "volume", lambda volume: volume.name, lambda name: outside(_Volume._of(name)))


def _encode_function(function: _Function[Any, Any, Any]) -> tuple[Any, ...]:
    """What a handle to a function travels as.

    Raises:
        InvalidError: It has no id to be found by: its app is not running, or it is a variant that was never used.
    """
    base, reference = function._base, function._reference
    if base is None and reference is not None:
        return (_BY_NAME, reference.environment_name, reference.app_name, reference.tag, function._of_class)
    if base is not None and (function._method or function._parameters is not None):
        # Of its class, whoever receives it makes the same again.
        kind = function._info.is_generator, function._info.is_async, function._info.web
        return _encode_function(base), function._parameters, function._method, kind
    findable = base is None and not is_local()
    if function._object_id is None and not findable:
        raise InvalidError(
            f"The handle of {function._tag} cannot be sent to a container: it has not been hydrated. "
            "Its app must be running, and a variant made by with_options must have been called once."
        )
    info = function._info
    kind = info.is_generator, info.is_async, info.web
    return function._object_id, info.module_name, info.qualname, kind, function._tag


def _decode_function(data: tuple[Any, ...], app: _App) -> _Function[Any, Any, Any]:
    """The handle again, in another process: it can be called, but its code is not there."""
    if isinstance(data[0], tuple):
        encoded, parameters, method, kind = data
        base = _decode_function(encoded, app)
        if parameters is not None:
            return base._with_parameters(parameters)
        info = base.info.of_method(method, base.info.raw_f, *kind)
        return base._method_handle(method, info, info.raw_f)
    if data[0] == _BY_NAME:
        _, environment, app_name, tag, of_class = data
        found = _Function._of(Reference(app_name, tag, environment, None))
        found._of_class = of_class
        return found
    object_id, module_name, qualname, kind, tag = data
    info = FunctionInfo(missing_definition(tag), module_name, qualname, None, False, *kind)
    function: _Function[Any, Any, Any] = _Function(app, info, tag, FunctionSettings(timeout=None), {})
    function._hydrate(object_id)
    return function


def _encode_class(cls: _Cls) -> tuple[Any, ...]:
    methods = {name: (info.is_generator, info.is_async, info.web) for name, info in cls.methods.items()}
    return cls.service.app.name, _encode_function(cls.service), methods


def _decode_class(data: tuple[Any, ...]) -> _Cls:
    """The handle again, in another process: its methods can be called, but the class is not there."""
    app_name, function, methods = data
    service = _decode_function(function, _App(app_name))
    infos = {name: service.info.of_method(name, service.info.raw_f, *kind) for name, kind in methods.items()}
    return _Cls(service, infos, None)
