"""Public objects as arguments and results: they travel as handles and are revived as the same public classes."""

from typing import Any

from modal_lite._app import _App
from modal_lite._core.handles import register_handle
from modal_lite._function_call import _FunctionCall
from modal_lite._functions import decode_function, encode_function
from modal_lite._synchronizer import synchronizer
from modal_lite.app import App
from modal_lite.functions import Function, FunctionCall


def register() -> None:
    """Makes the public classes known to the pickler."""
    inside, outside = synchronizer.implementation_of, synchronizer.wrapper_of

    def revive_function(data: Any) -> Any:
        app_name, function = data
        return outside(decode_function(function, _App(app_name)))

    register_handle(Function, "function", lambda f: (inside(f).app.name, encode_function(inside(f))), revive_function)
    register_handle(
        FunctionCall, "function_call", lambda call: call.object_id, lambda i: outside(_FunctionCall.from_id(i))
    )
    register_handle(App, "app", lambda app: app.name, lambda name: outside(_App(name)))
