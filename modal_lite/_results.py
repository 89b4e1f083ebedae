"""Outputs as the caller sees them: values unpickled, failures as exceptions, in the caller's thread."""

from typing import Any

import msgspec

from modal_lite._core.failures import unpack_exception
from modal_lite._core.held import Broken, loads_each
from modal_lite._core.payload import Payload
from modal_lite._core.requests import Output
from modal_lite._core.serialization import loads
from modal_lite._core.tracebacks import hide_library_frames
from modal_lite.exception import ExecutionError


def values_of(output: Output) -> list[Any]:
    """The values of an output without failure. Raises ExecutionError if they cannot be unpickled here."""
    try:
        values: list[Any] = loads(output.payload)
    except Exception as error:
        raise undeserialisable(error) from error
    return values


def values_and_errors_of(output: Output) -> list[Any]:
    """As `values_of`, with an ExecutionError in the place of each value that cannot be unpickled here."""
    try:
        values = loads_each(output.payload)
    except Exception as error:
        return [undeserialisable(error)] * output.count
    return [undeserialisable(value.error) if type(value) is Broken else value for value in values]


def undeserialisable(error: Exception) -> ExecutionError:
    """What to raise for a result that cannot be unpickled here."""
    hide_library_frames(error)
    problem = ExecutionError(
        f"Could not deserialize the result due to a local error: {type(error).__name__}: {error}. "
        "The modules that its type comes from must be importable here as well."
    )
    problem.__cause__ = error
    return problem


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
