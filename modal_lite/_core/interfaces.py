"""The contracts between layers, each with several implementations."""

import socket
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from modal_lite._core.messages import ContainerSpec
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import AnyRequest, OutputBatch, RunCall

OnEnd = Callable[[OutputBatch | Exception], None]
"""Takes how a call ended."""


class Connection(Protocol):
    """A way to a control plane: in this process, over a container's client channel, (later) to a server.

    All methods are called on the library's loop.
    """

    async def request(self, request: AnyRequest, payload: Payload = EMPTY) -> Any:
        """Answers with a `Reply` or an `OutputBatch`, as the request says.

        Raises:
            modal_lite.exception.Error: what the control plane refuses, with its reason.
            TimeoutError: the builtin, for `GetOutput`.

        Cancelling it withdraws the request.
        """

    def run(self, request: RunCall, payload: Payload, on_end: OnEnd) -> Callable[[], None]:
        """Makes a UNARY call; the short way of the most frequent request, without a task of its own.

        Args:
            request: What to call.
            payload: The arguments.
            on_end: Called once with the `OutputBatch`, or with what `request` would raise; not after a withdrawal.

        Returns:
            What withdraws the request: the call is cancelled. It does nothing once the call has ended.

        Raises:
            modal_lite.exception.Error: What the control plane refuses, with its reason.
        """

    def notify(self, request: AnyRequest) -> None:
        """Sends a request whose answer does not matter. Never raises, never blocks."""


class DataChannel(Protocol):
    """The control plane's end of a container's data channel."""

    def send(self, message: msgspec.Struct, payload: Payload = EMPTY) -> None:
        """Sends a frame, at once or in its turn. The payload's parts must not change until then."""

    def close(self) -> None:
        """Ends the connection. Safe to call again."""


class PlacedContainer(Protocol):
    """The control plane's end of a container."""

    container_id: str
    control: socket.socket
    client: socket.socket
    stdout: int
    stderr: int
    pid: int | None

    def open_data(
        self, types: Any, on_message: Callable[[Any, memoryview], None], on_close: Callable[[Exception | None], None]
    ) -> DataChannel:
        """Begins to read the data channel, on the loop that runs. Called once; the arguments are those of `Channel`."""

    def running(self) -> tuple[int, int] | None:
        """Lease and index of the input that runs, or that ran when the container died."""

    def close(self) -> None:
        """Frees what this process holds of the container."""


class Placer(Protocol):
    """Starts containers somewhere."""

    async def open(self) -> None:
        """Gets ready to start containers."""

    def start(self, spec: ContainerSpec) -> PlacedContainer:
        """Starts a container; returns before it runs."""

    def withdraw(self, container_id: str) -> bool:
        """Gives a container up that is not running yet, though it was to be started; False if it may be running."""

    def kill(self, container_id: str, signal: int = 9) -> None:
        """Sends a signal to the container."""

    def forget(self, function_id: str) -> None:
        """Frees what is kept for containers of the function. There will be no more of them."""

    async def close(self, grace: float) -> None:
        """Ends every container within `grace` seconds, by force after that, and whatever else was started."""
