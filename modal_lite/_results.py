"""Outputs as the caller sees them: values unpickled, failures as exceptions, in the caller's thread."""

from typing import Any

import msgspec

from modal_lite._core.failures import unpack_exception
from modal_lite._core.payload import Payload
from modal_lite._core.requests import Output
from modal_lite._core.serialization import loads
from modal_lite.exception import ExecutionError


def values_of(output: Output) -> list[Any]:
    """The values of an output without failure. Raises ExecutionError if they cannot be unpickled here."""
    try:
        values: list[Any] = loads(output.payload)
    except Exception as error:
        raise ExecutionError(
            f"Could not deserialize the result due to a local error: {type(error).__name__}: {error}. "
            "The modules that its type comes from must be importable here as well."
        ) from error
    return values


def failure_of(output: Output) -> BaseException:
    """The exception for an output that is a failure."""
    assert output.failure is not None
    return unpack_exception(output.failure, output.payload)


def result_of(output: Output, index: int = 0) -> Any:
    """The value of input `index`, which the output holds, or its exception, raised."""
    if output.failure is not None:
        raise failure_of(output)
    return values_of(output)[index - output.start]


def kept(output: Output) -> Output:
    """The output with memory of its own: what is read again and again must not be changed by who reads it."""
    sizes, parts = output.payload
    return msgspec.structs.replace(output, payload=Payload(sizes, [b"".join(parts)])) if len(sizes) > 1 else output
