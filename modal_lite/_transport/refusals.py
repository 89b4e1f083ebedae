"""Refusals as the exceptions that they stand for."""

import builtins

from modal_lite import exception
from modal_lite._core.requests import Refusal


def exception_of(refusal: Refusal) -> Exception:
    """What to raise for a request that was refused."""
    if refusal.exception == builtins.TimeoutError.__name__:
        return builtins.TimeoutError(refusal.message)
    kind = getattr(exception, refusal.exception, exception.ExecutionError)
    error: Exception = kind(refusal.message)
    return error
