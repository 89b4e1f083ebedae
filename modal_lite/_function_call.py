"""Function calls that outlive the statement that made them."""

from collections.abc import AsyncGenerator
from typing import Any, Generic, TypeVar

from modal_lite._client import _Client, current_client, first_outputs, server_client, server_is_near
from modal_lite._core.blocks import Blocks
from modal_lite._results import failure_of, kept, result_of, values_of
from modal_lite.call_graph import InputInfo
from modal_lite.exception import InvalidError

ReturnType = TypeVar("ReturnType", covariant=True)
R = TypeVar("R")


class _FunctionCall(Generic[ReturnType]):
    """A reference to a function call: made by `Function.spawn` and `Function.spawn_map`, or by `from_id`.

    Much like a `concurrent.futures.Future`, with the difference that results and exceptions can be read again and
    again, from any thread or event loop, as long as the app runs.
    """

    def __init__(self, call_id: str, client: _Client | None) -> None:
        self._call_id = call_id
        self._client = client
        """Who knows the call; None until that is found out."""

    @property
    def object_id(self) -> str:
        """The call's id, `fc-…`."""
        return self._call_id

    async def get(self, timeout: float | None = None, *, index: int = 0) -> ReturnType:
        """The result of the call, once there is one.

        Args:
            timeout: Seconds to wait; None waits as long as it takes, 0 only looks.
            index: Which input's result, for the calls of `spawn_map`.

        Raises:
            TimeoutError: The builtin: there is no result yet. (A time limit of the function itself is a
                `modal_lite.exception.FunctionTimeoutError`, which is not one.)
            NotFoundError: The call is not known, or no longer.
            RemoteError: The call was cancelled, or lost its container too often.
            Exception: Whatever the function raised.

        Cancelling the coroutine leaves the call running and its result readable.
        """
        client = await self._found()
        output = await client.get_output(self._call_id, index, None if timeout is None else max(0.0, timeout))
        result: ReturnType = result_of(kept(output), index)
        return result

    async def cancel(self, terminate_containers: bool = False) -> None:
        """Cancels what is unfinished of the call. Its inputs become TERMINATED, `get` raises `RemoteError`.

        Inputs that wait never start. Running synchronous code gets an `InputCancellation` in its main thread,
        asynchronous code an `asyncio.CancelledError`; the container goes on with the next input. Does nothing to a
        finished call,
        and may be called again.

        Args:
            terminate_containers: End the containers that run it at once, as well.
        """
        await (await self._found()).cancel_call(self._call_id, terminate_containers)

    async def get_call_graph(self) -> list[InputInfo]:
        """The call's inputs, with the inputs of the calls they made as `children`, and the status of each.

        As of now: statuses of running calls are PENDING. At most 10,000 inputs are listed.
        """
        return await (await self._found()).call_graph(self._call_id)

    async def num_inputs(self) -> int:
        """The number of inputs: 1, or what `spawn_map` was given."""
        return (await (await self._found()).describe_call(self._call_id)).num_inputs

    def iter(self, *, start: int = 0, end: int | None = None) -> AsyncGenerator[ReturnType, None]:
        """The results in input order, each as soon as those before it are there.

        Args:
            start: Index of the first input wanted.
            end: Index after the last one; None for all.

        Raises:
            ValueError: There are no such inputs.
            Exception: What the function raised for the input whose turn it is.
        """
        return Blocks(lambda: self._results(start, end), "FunctionCall.iter()")

    async def _results(self, start: int, end: int | None) -> AsyncGenerator[list[ReturnType], None]:
        client, count = await self._found(), await self.num_inputs()
        stop = count if end is None else end
        if not 0 <= start <= stop <= count:
            raise ValueError(f"Invalid index range: {start} to {stop}, for a call of {count} inputs.")
        while start < stop:
            output = kept(await client.get_output(self._call_id, start, None))
            if output.failure is not None:
                raise failure_of(output)
            values = values_of(output)[start - output.start : stop - output.start]
            start += len(values)
            yield values

    @staticmethod
    def from_id(function_call_id: str, client: Any | None = None) -> "_FunctionCall[Any]":
        """A reference to the call with this id. Nothing is looked up before the first use.

        Args:
            function_call_id: `object_id` of the call.
            client: Which server to ask, a `Client`; None for the running apps of this program, then the server that the
                environment variables name.

        Raises:
            InvalidError: It is no call's id.
        """
        if not str(function_call_id).startswith("fc-"):
            raise InvalidError(f"{function_call_id!r} is not the id of a function call (they look like fc-…).")
        return _FunctionCall(function_call_id, None if client is None else client.requests)

    async def _found(self) -> _Client:
        """The client that knows the call, or may know it."""
        if self._client is None:
            here = current_client()
            if not await here.knows(self._call_id) and server_is_near():
                self._client = server_client()
            else:
                self._client = here
        return self._client

    def __repr__(self) -> str:
        return f"<FunctionCall {self._call_id}>"


async def gather(*function_calls: _FunctionCall[R]) -> list[R]:
    """Waits until all the calls have results.

    Args:
        *function_calls: As returned by `Function.spawn`.

    Returns:
        Their results, in the order of the arguments; an empty list for none.

    Raises:
        Exception: What the first call to fail raised, as soon as it has. The other calls go on.
    """
    if not function_calls:
        return []
    calls = [(await call._found(), call._call_id) for call in function_calls]
    outputs = await first_outputs(calls)
    return [result_of(kept(output)) for output in outputs]
