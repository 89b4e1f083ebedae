"""Apps, with blocking and `.aio` forms."""

from modal_lite import functions as functions  # wrapped first: apps refer to them
from modal_lite._app import _App, _FunctionDecoratorType
from modal_lite._local_entrypoint import LocalEntrypoint
from modal_lite._synchronizer import synchronizer

FunctionDecoratorType = synchronizer.wrap(_FunctionDecoratorType, "FunctionDecoratorType", __name__)
App = synchronizer.wrap(_App, "App", __name__)

__all__ = ["App", "FunctionDecoratorType", "LocalEntrypoint"]
