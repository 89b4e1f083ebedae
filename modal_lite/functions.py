"""Functions and their calls, with blocking and `.aio` forms."""

from modal_lite._function_call import _FunctionCall
from modal_lite._function_call import gather as _gather
from modal_lite._functions import _Function
from modal_lite._synchronizer import synchronizer
from modal_lite.types import FunctionStats

FunctionCall = synchronizer.wrap(_FunctionCall, "FunctionCall", __name__)
Function = synchronizer.wrap(_Function, "Function", __name__)
gather = synchronizer.wrap(_gather, "gather", __name__)
FunctionCall.gather = gather

__all__ = ["Function", "FunctionCall", "FunctionStats", "gather"]
