"""The values of one call of a generator function, as they come."""

from collections.abc import AsyncGenerator
from typing import Any

from modal_lite._client import _Client
from modal_lite._core.ids import new_id
from modal_lite._core.payload import Payload
from modal_lite._core.requests import CallKind
from modal_lite._results import failure_of, values_of


async def generator_blocks(
    client: _Client, function_id: str, arguments: Payload, method: str
) -> AsyncGenerator[list[Any], None]:
    """Calls the function, and yields what it yields in blocks. Leaving it early interrupts the function.

    Args:
        client: Where it runs.
        function_id: The function, or the class of the method.
        arguments: What it is called with.
        method: The method's name; empty for a function.

    Raises:
        ExecutionError: A value cannot be unpickled here.
        Exception: Whatever the function raised, after the values before that.
    """
    call_id, consumed, finished = new_id("fc"), 0, False
    try:
        await client.start(call_id, function_id, CallKind.GENERATOR, arguments, method)
        while not finished:
            batch = await client.next_values(call_id, consumed)
            finished = batch.finished
            for block in batch.outputs:
                if block.failure is not None:
                    raise failure_of(block)
                consumed += block.count
                yield values_of(block)
    finally:
        client.forget_call(call_id)
