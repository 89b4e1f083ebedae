"""Modal's Function programming model on your own machine.

import modal_lite as modal

app = modal.App("hello")

@app.function()
def square(x: int) -> int:
return x * x

if __name__ == "__main__":
with app.run():
print(list(square.map(range(10))))
"""

import typing as _typing

from modal_lite import _handles, call_graph, exception, functions
from modal_lite._batching import batched
from modal_lite._concurrency import concurrent
from modal_lite._core.context import current_function_call_id, current_input_id, is_local
from modal_lite._web import asgi_app, fastapi_endpoint, web_endpoint, web_server, wsgi_app
from modal_lite.app import App
from modal_lite.call_graph import InputInfo, InputStatus
from modal_lite.client import Client
from modal_lite.cls import Cls, enter, exit, method, parameter
from modal_lite.dict import Dict
from modal_lite.exception import Error
from modal_lite.functions import Function, FunctionCall, gather
from modal_lite.image import Image
from modal_lite.output import enable_output
from modal_lite.queue import Queue
from modal_lite.retries import Retries
from modal_lite.schedule import Cron, Period
from modal_lite.secret import Secret
from modal_lite.terminal import interact
from modal_lite.types import FunctionStats
from modal_lite.volume import Volume

__version__ = "0.1.0"

__all__ = [
    "App",
    "Client",
    "Cls",
    "Cron",
    "Dict",
    "Error",
    "Function",
    "FunctionCall",
    "FunctionStats",
    "Image",
    "InputInfo",
    "InputStatus",
    "Period",
    "Queue",
    "Retries",
    "Secret",
    "Volume",
    "asgi_app",
    "batched",
    "call_graph",
    "concurrent",
    "current_function_call_id",
    "current_input_id",
    "enable_output",
    "enter",
    "exception",
    "exit",
    "fastapi_endpoint",
    "functions",
    "gather",
    "interact",
    "is_local",
    "method",
    "parameter",
    "web_endpoint",
    "web_server",
    "wsgi_app",
]

_handles.register()

if not _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> _typing.Any:
        if name == "Stub":
            import warnings

            message = "modal_lite.Stub is the former name of modal_lite.App and will be removed in 1.0; use App."
            warnings.warn(message, exception.DeprecationError, stacklevel=2)
            return App
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
