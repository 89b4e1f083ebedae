"""The contracts between layers, each with several implementations."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from modal_lite._core.messages import ContainerSpec
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import AnyRequest, Output, OutputBatch, RunCall
from modal_lite._core.stored import (
    Catalogue,
    StoredApp,
    StoredCall,
    StoredChunk,
    StoredDeployment,
    StoredSchedule,
    StoredVariant,
    StoredWebPort,
    Unfinished,
)
from modal_lite.call_graph import InputInfo

OnEnd = Callable[[OutputBatch | Exception], None]
"""Takes how a call ended."""


OnMessage = Callable[[Any, memoryview], None]
"""Takes a message of a channel, and its body."""
OnClose = Callable[[Exception | None], None]
"""Told that a channel has ended: None for an orderly end, else what broke it."""


class Connection(Protocol):
    """A way to a control plane: in this process, over a container's client channel, to a server.

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


class ContainerChannel(Protocol):
    """The control plane's end of one of a container's channels."""

    @property
    def closed(self) -> bool:
        """True once either side has ended the connection."""

    def send(self, message: msgspec.Struct, payload: Payload = EMPTY) -> None:
        """Sends a frame, at once or in its turn. The payload's parts must not change until then."""

    def close(self) -> None:
        """Ends the connection. Safe to call again."""


class PlacedContainer(Protocol):
    """The control plane's end of a container."""

    container_id: str
    pid: int | None
    vanished: bool
    """Nobody saw it end, so that `running` may tell of an earlier time."""
    exit_wait: float
    """Seconds between its connection and its process ending, or the reverse, before it counts as gone."""

    def open_output(self, on_written: Callable[[bool, bytes], None]) -> tuple[int, int] | None:
        """The pipes of its stdout and stderr, which belong to the caller.

        Args:
            on_written: Where there are none, called with what it writes, and whether that was to stderr.
        """

    def open_data(self, types: Any, on_message: OnMessage, on_close: OnClose) -> ContainerChannel:
        """Begins to read the data channel, on the loop that runs. Called once; the arguments are those of `Channel`."""

    def open_control(self, types: Any, on_message: OnMessage, on_close: OnClose) -> ContainerChannel:
        """The same for the control channel."""

    def open_client(self, types: Any, on_message: OnMessage, on_close: OnClose) -> ContainerChannel:
        """The same for the client channel."""

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


class StoreFigures(msgspec.Struct, frozen=True):
    """What a store counts, since it was opened but for the first two."""

    calls: int
    """Calls that are in it."""
    queued: int
    """Rows that wait to be written."""
    commits: int
    failed: int
    """Transactions that failed."""
    rows: int
    """Those of the transactions that did not."""
    seconds: float
    """That the transactions took."""


class Store(Protocol):
    """What a server keeps. All methods are called on one event loop.

    Writes are queued in order and return at once; `committed` tells when they are safe. Those between which the loop
    does nothing else are committed together, or not at all.
    """

    def committed(self) -> Awaitable[None]:
        """Waits until all that was queued is committed. Raises ExecutionError if that failed."""

    def when_committed(self, callback: Callable[[], None], on_failure: Callable[[str], None]) -> None:
        """Has one of them called once all that was queued is committed, or not, with the reason.

        What follows a failed write in ignorance of its failure is not written either.
        """

    def put_app(self, app: StoredApp) -> None:
        """Enters an app, or replaces it."""

    def put_deployment(self, deployment: StoredDeployment) -> None:
        """Enters a deployment."""

    def put_variant(self, variant: StoredVariant) -> None:
        """Enters a variant, or replaces it."""

    def drop_deployment(self, app_id: str, version: int) -> None:
        """Removes a deployment."""

    def drop_app(self, app_id: str) -> None:
        """Removes an app with its deployments, variants and web ports; not its calls."""

    def put_schedule(self, schedule: StoredSchedule) -> None:
        """Enters how far a schedule has come, or replaces it."""

    def drop_schedule(self, function_id: str) -> None:
        """Removes a schedule."""

    def put_web_port(self, web_port: StoredWebPort) -> None:
        """Enters where a web function is reached, or replaces it."""

    def put_call(self, call: StoredCall) -> None:
        """Enters a call."""

    def put_chunk(self, call_id: str, chunk: StoredChunk) -> None:
        """Enters inputs of a call. The payload's parts must not change."""

    def close_call(self, call_id: str, num_inputs: int) -> None:
        """The call has so many inputs and gets no more."""

    def cancel_call(self, call_id: str) -> None:
        """The call is cancelled: what is unfinished of it must not go on after a restart."""

    def put_output(self, call_id: str, output: Output) -> None:
        """Enters an output of a call."""

    def finish_call(self, call_id: str, finished: float, graph: list[InputInfo]) -> None:
        """All outputs of the call are there. Its inputs are dropped."""

    def drop_call(self, call_id: str) -> None:
        """Removes a call and all that belongs to it."""

    def expire(self, outputs_before: float, calls_before: float) -> None:
        """Deletes the outputs of calls that finished before the one time, the calls themselves before the other."""

    async def load_catalogue(self) -> Catalogue:
        """All apps."""

    async def load_web_ports(self) -> list[StoredWebPort]:
        """Where web functions are reached."""

    async def load_unfinished(self) -> list[Unfinished]:
        """All calls that have not finished."""

    async def find_call(self, call_id: str) -> StoredCall | None:
        """A call, None if it is not known."""

    async def list_calls(self, app_id: str | None, unfinished: bool, limit: int) -> list[StoredCall]:
        """The newest calls, newest first; of one app, and of those that have not finished, if told so."""

    async def find_output(self, call_id: str, index: int) -> Output | None:
        """The output that holds the input, None if there is none."""

    async def find_graph(self, call_id: str) -> list[InputInfo]:
        """The graph of a call that has finished."""

    async def figures(self) -> StoreFigures:
        """What it counts."""

    async def close(self) -> None:
        """Commits what is queued and closes the store."""
