"""The client: turns what the other client objects need into requests, and sends them to the right control plane.

In the caller's process that is one of its own, made when the first app runs; in a container the one that placed it.
What is deployed is on a server, wherever one asks.
"""

import asyncio
import atexit
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from modal_lite import config, output
from modal_lite._core import context
from modal_lite._core.crossing import Errand, call_soon, call_when_run, directly, on_loop, perform_soon, wait_blocking
from modal_lite._core.interfaces import Connection, OnEnd
from modal_lite._core.library_loop import library
from modal_lite._core.main_module import current_main
from modal_lite._core.messages import Encoding
from modal_lite._core.object_requests import ObjectRequest, QueueGet, QueueTaken, Values
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import (
    DONE,
    AddVariant,
    AnyRequest,
    CallDescription,
    CallGraphReply,
    CallKind,
    CancelCall,
    CloseApp,
    CloseTerminal,
    DeployApp,
    Deployed,
    DeployedFunction,
    DescribeCall,
    ExchangeChunk,
    FindFunction,
    ForgetCall,
    Found,
    FoundDeployed,
    FoundFunction,
    FunctionDefinition,
    GetCallGraph,
    GetOutput,
    GetStats,
    GetWebUrls,
    HasSnapshot,
    Hello,
    LookUp,
    LookUpApp,
    NextValues,
    OpenApp,
    OpenMap,
    OpenTerminal,
    Output,
    OutputBatch,
    PutSnapshot,
    RunCall,
    Source,
    StartCall,
    StatsReply,
    UpdateFunction,
    WebUrls,
)
from modal_lite._core.settings import FunctionSettings
from modal_lite._terminal import CallersTerminal
from modal_lite.call_graph import InputInfo
from modal_lite.exception import ExecutionError, NotFoundError
from modal_lite.types import FunctionStats

if TYPE_CHECKING:
    from modal_lite._core.address import Address
    from modal_lite._transport.server_channel import ServerChannel

T = TypeVar("T")


class _Client:
    """Requests to one control plane; each crosses from its caller's thread to the library's loop once."""

    def __init__(self, connect: Callable[[AnyRequest], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._lent: dict[str, asyncio.Task[None]] = {}
        """What passes the bytes of terminals that are open, by their ids."""

    async def open_app(self, app_id: str, name: str, functions: list[FunctionDefinition]) -> None:
        """Starts an app. Cancelling it may leave the app running: close it in any case."""
        await self._request(OpenApp(app_id, name, functions))

    async def close_app(self, app_id: str, hurried: bool) -> None:
        """Ends an app, its calls and its containers; returns when they are gone.

        Exit hooks may take EXIT_GRACE, unless it is `hurried`, or this is cancelled.
        """
        await self._request(CloseApp(app_id, hurried))

    def close_app_soon(self, app_id: str) -> None:
        """Ends an app as one that is hurried, unless it has ended, without waiting for it."""
        perform_soon(self._request(CloseApp(app_id, hurried=True)))

    async def find_function(self, module_name: str, tag: str) -> str | None:
        """The id of a running function."""
        reply: FoundFunction = await self._request(FindFunction(module_name, tag, context.served_function_id))
        return reply.function_id

    async def web_urls(self, function_id: str) -> dict[str, str]:
        """Where a function, or the methods of a class, answer requests. Raises as `update_function` does."""
        reply: WebUrls = await self._request(GetWebUrls(function_id))
        return reply.urls

    async def hello(self) -> None:
        """Returns when a server has answered. Raises ConnectionError or AuthError."""
        await self._request(Hello())

    async def look_up(self, environment: str, app_name: str, tag: str) -> FoundDeployed:
        """A deployed function or class. Raises NotFoundError."""
        return cast(FoundDeployed, await self._request(LookUp(environment, app_name, tag)))

    async def look_up_app(self, environment: str, app_name: str) -> Deployed:
        """A deployed app. Raises NotFoundError."""
        return cast(Deployed, await self._request(LookUpApp(environment, app_name)))

    async def deploy(
        self,
        environment: str,
        app_name: str,
        functions: list[DeployedFunction],
        source: Source,
        snapshot: bytes,
        ephemeral: bool = False,
    ) -> Deployed:
        """Deploys an app, until it has no calls if `ephemeral`; the snapshot is sent if the server has not got it."""
        reply: Found = await self._request(HasSnapshot(source.digest))
        if not reply.found:
            await self._request(PutSnapshot(source.digest), Payload((len(snapshot),), [snapshot]))
        return cast(Deployed, await self._request(DeployApp(environment, app_name, functions, source, ephemeral)))

    async def knows(self, call_id: str) -> bool:
        """True if the control plane has this call. One that was never needed is not started for the question."""
        if self._connection is None and context.is_local():
            return False
        try:
            await self.describe_call(call_id)
        except NotFoundError:
            return False
        return True

    async def add_variant(
        self,
        function_id: str,
        base_id: str,
        settings: FunctionSettings,
        changed: list[str],
        env: dict[str, str] | None,
        parameters: bytes | None = None,
    ) -> None:
        """Makes a variant of a running function known, with the `changed` ones of the settings."""
        await self._request(AddVariant(function_id, base_id, settings, changed, env, parameters))

    async def update_function(
        self,
        function_id: str,
        min_containers: int | None,
        max_containers: int | None,
        buffer_containers: int | None,
        scaledown_window: float | None,
    ) -> None:
        """Changes the autoscaling of a running function."""
        await self._request(
            UpdateFunction(function_id, min_containers, max_containers, buffer_containers, scaledown_window)
        )

    async def function_stats(self, function_id: str) -> FunctionStats:
        """The function's present statistics."""
        reply: StatsReply = await self._request(GetStats(function_id))
        return FunctionStats(reply.backlog, reply.num_total_runners, reply.num_running_inputs, reply.num_active_runners)

    async def run(self, call_id: str, function_id: str, payload: Payload, method: str = "") -> Output:
        """Calls a function, or a method, and waits for the output. Cancelling it cancels the call."""
        batch: OutputBatch = await directly(
            self._run, RunCall(call_id, function_id, context.current_input_id(), method), payload
        )
        return batch.outputs[0]

    async def start(self, call_id: str, function_id: str, kind: CallKind, payload: Payload, method: str = "") -> None:
        """Starts a call with one input; returns once it is accepted."""
        await self._request(StartCall(call_id, function_id, kind, context.current_input_id(), method), payload)

    async def open_map(self, call_id: str, function_id: str, kind: CallKind, method: str = "") -> int:
        """Starts a call whose inputs will follow; returns how many to send in the first chunk."""
        parent = context.current_input_id()
        batch: OutputBatch = await self._request(OpenMap(call_id, function_id, kind, parent, method))
        return batch.chunk_size

    async def exchange(
        self,
        call_id: str,
        start: int,
        count: int,
        encoding: Encoding,
        payload: Payload,
        closed: bool,
        wait: bool,
        awaited: int | None = None,
    ) -> OutputBatch:
        """Adds a chunk of inputs (none if `count` is 0), takes the outputs that are there.

        If `wait`, there is at least one, and the one that starts with input `awaited` is among them, or none will come.
        """
        request = ExchangeChunk(call_id, start, count, encoding, closed, wait, awaited)
        return cast(OutputBatch, await self._request(request, payload))

    async def next_values(self, call_id: str, consumed: int) -> OutputBatch:
        """The next values of a generator call."""
        return cast(OutputBatch, await self._request(NextValues(call_id, consumed)))

    async def get_output(self, call_id: str, index: int, timeout: float | None) -> Output:
        """The kept output that holds the input. Raises the builtin TimeoutError."""
        batch: OutputBatch = await self._request(GetOutput(call_id, index, timeout))
        return batch.outputs[0]

    async def describe_call(self, call_id: str) -> CallDescription:
        """What the control plane knows of the call."""
        return cast(CallDescription, await self._request(DescribeCall(call_id)))

    async def cancel_call(self, call_id: str, terminate_containers: bool) -> None:
        """Cancels what is unfinished of the call."""
        await self._request(CancelCall(call_id, terminate_containers))

    async def call_graph(self, call_id: str) -> list[InputInfo]:
        """The call's graph."""
        reply: CallGraphReply = await self._request(GetCallGraph(call_id))
        return reply.roots

    async def open_terminal(self, terminal: CallersTerminal, app_id: str, function_id: str | None) -> None:
        """Lends the terminal to containers of one function from their start, or to those of an app that ask for it."""
        await on_loop(self._open_terminal, terminal, app_id, function_id)

    async def close_terminal(self, terminal: CallersTerminal, drain: bool) -> None:
        """Takes the terminal back, from a container that is about to end once that has ended if `drain`."""
        await on_loop(self._close_terminal, terminal, drain)

    def forget_call(self, call_id: str) -> None:
        """Gives a call up, without waiting: what is unfinished of it is cancelled."""
        self.tell(ForgetCall(call_id))

    def ask(self, request: ObjectRequest) -> Awaitable[Any]:
        """What the control plane answers about a Dict or a Queue."""
        return self._request(request)

    def take(self, request: QueueGet) -> Awaitable[Values]:
        """Values from a Queue. Cancelling it while it waits takes none; `QueueTaken` is to be told of its answer."""
        return on_loop(self._take, request)

    def tell(self, request: AnyRequest, *, soon: bool = True) -> None:
        """Sends a request whose answer does not matter, without waiting.

        If it need not be `soon`, it may take until the next request, or some hundredths of a second.
        """
        if self._connection is not None:
            (call_soon if soon else call_when_run)(self._connection.notify, request)

    async def close(self) -> None:
        """Ends the connection to a server; what is under way is withdrawn. The next request connects again."""
        await on_loop(self._close)

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not isinstance(connection, _OfAnotherProcess):
            await cast("ServerChannel", connection).close()

    def forked(self) -> None:
        """This process is a fork of the one that made the client: it has the client's memory, but not its threads."""
        self._connection = _OfAnotherProcess()

    @property
    def is_forked(self) -> bool:
        """True in a process that was forked from the one that made the client: it cannot make requests there."""
        return isinstance(self._connection, _OfAnotherProcess)

    def _request(self, request: AnyRequest, payload: Payload = EMPTY) -> "Errand[T]":
        return cast("Errand[T]", on_loop(self._ask, request, payload))

    async def _ask(self, request: AnyRequest, payload: Payload) -> object:
        return await self._connected(request).request(request, payload)

    async def _take(self, request: QueueGet) -> Values:
        connection = self._connected(request)
        try:
            return cast(Values, await connection.request(request))
        except asyncio.CancelledError:
            # Said behind the withdrawal, which may have crossed the answer: what that held goes back.
            connection.notify(QueueTaken(request.object_id, request.take_id, received=False))
            raise

    def _run(self, request: RunCall, payload: Payload, on_end: OnEnd) -> Callable[[], None]:
        return self._connected(request).run(request, payload, on_end)

    def _connected(self, first: AnyRequest) -> Connection:
        if self._connection is None:
            self._connection = self._connect(first)
        return self._connection

    async def _open_terminal(self, terminal: CallersTerminal, app_id: str, function_id: str | None) -> None:
        request = OpenTerminal(terminal.terminal_id, app_id, function_id, terminal.spec())
        connection = self._connected(request)
        await connection.request(request)
        # Ends with `_close_terminal`, which waits for it.
        serving = asyncio.get_running_loop().create_task(terminal.serve(connection))
        self._lent[terminal.terminal_id] = serving

    async def _close_terminal(self, terminal: CallersTerminal, drain: bool) -> None:
        serving = self._lent.pop(terminal.terminal_id, None)
        try:
            await self._ask(CloseTerminal(terminal.terminal_id, drain), EMPTY)
            if serving is not None:
                await serving
        finally:
            if serving is not None and serving.cancel():
                await asyncio.wait([serving])

    async def output_or_raise(self, call_id: str) -> Output:
        """The output of input 0, on the library's loop. Raises if it is a failure."""
        batch = cast(OutputBatch, await self._ask(GetOutput(call_id, 0, None), EMPTY))
        if batch.outputs[0].failure is not None:
            raise _Failed(batch.outputs[0])
        return batch.outputs[0]


async def first_outputs(calls: "list[tuple[_Client, str]]") -> list[Output]:
    """The outputs of input 0 of all the calls, in order; or the first failure to arrive, alone."""
    return await on_loop(_first_outputs, calls)


async def _first_outputs(calls: "list[tuple[_Client, str]]") -> list[Output]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.output_or_raise(call_id)) for client, call_id in calls]
    except BaseExceptionGroup as failures:
        first = failures.exceptions[0]
        if isinstance(first, _Failed):
            return [first.output]
        raise first from None
    return [task.result() for task in tasks]


class _Failed(Exception):
    """Ends the wait for other outputs."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self.output = output


class _OfAnotherProcess:
    """Implements `Connection` where there is none: its sockets and its event loop are another process's."""

    async def request(self, request: AnyRequest, payload: Payload = EMPTY) -> object:
        if isinstance(request, CloseApp):
            return DONE  # That process will.
        raise _forked()

    def run(self, request: RunCall, payload: Payload, on_end: OnEnd) -> Callable[[], None]:
        raise _forked()

    def notify(self, request: AnyRequest) -> None:
        return


def _forked() -> ExecutionError:
    return ExecutionError(
        "This process was forked from the one that can make calls, and cannot make them itself. "
        "Call from there, or start processes by the method 'spawn' and run an app in each."
    )


def _connect_in_process(first: AnyRequest) -> Connection:
    from modal_lite._placement.launch import launch

    # Before everything else: the template's imports and the control plane's then run side by side.
    launched = [launch()] if isinstance(first, OpenApp) else []
    try:
        from modal_lite._placement.local import LocalPlacer
        from modal_lite._server.logs import Written
        from modal_lite._server.plane import ControlPlane, Environment
        from modal_lite._server.service import Service
    except BaseException:
        for template in launched:
            template.close()
        raise

    def environment(definition: FunctionDefinition) -> Environment:
        path = [entry or os.getcwd() for entry in sys.path]
        return Environment(current_main(), path, os.getcwd(), config.environment_name())

    def on_output(written: Written) -> None:
        manager = output.current()
        if manager is None:
            return
        show = manager.transient if written.transient else manager.lines
        show(written.function.tag, written.container_id, written.stream, written.lines)

    def make_placer(on_exit: Callable[[str, int | None, str], None]) -> LocalPlacer:
        return LocalPlacer(on_exit, launched.pop() if launched else None)

    service = Service(lambda service: ControlPlane(make_placer, environment, service, on_output))
    library().add_work(service.is_attended)
    return service


def _connect_in_container(first: AnyRequest) -> Connection:
    from modal_lite._transport.client_channel import ClientChannel

    if context.client_socket is None:
        raise ExecutionError(
            "A hook with @modal_lite.enter(snap=True), or the import, of a class or function with "
            "enable_memory_snapshot=True cannot call functions: it runs before there is a container. Call from a hook "
            "with plain @modal_lite.enter()."
        )
    if context.client_socket.fileno() < 0:
        return _OfAnotherProcess()  # Forks of a container do not keep its sockets.
    return ClientChannel(context.client_socket)


_current: _Client | None = None
_of_servers: "dict[Address, _Client]" = {}


def _after_fork() -> None:
    global _current
    for client in (_current, *_of_servers.values()):
        if client is not None:
            client.forked()
    _current = None
    _of_servers.clear()


os.register_at_fork(after_in_child=_after_fork)


def current_client() -> _Client:
    """The client of this process."""
    global _current
    if _current is None:
        if context.is_local() and config.placer() == "ray":
            # The apps, and the objects that they share, are where the containers can reach them.
            return server_client()
        _current = _Client(_connect_in_process if context.is_local() else _connect_in_container)
    return _current


def server_client(given: _Client | None = None) -> _Client:
    """The client for what is deployed: the given one, else that of the server that the environment names.

    In a container that a server has placed, it is that server's, over the container's own channel: so the server knows
    who waits for whom.
    """
    if given is not None:
        return given
    if context.on_server:
        return current_client()
    from modal_lite._core.address import address_of  # here and below: few programs need it

    return client_of(address_of())


def server_is_near() -> bool:
    """True if there seems to be a server to ask."""
    from modal_lite._core.address import address_of

    address = address_of()
    return context.on_server or address.socket is None or os.path.exists(address.socket)


def client_of(address: "Address") -> _Client:
    """The client of the server at this address, the same one each time."""
    client = _of_servers.get(address)
    if client is None:
        if not _of_servers:
            atexit.register(_leave_servers)
        client = _of_servers[address] = _Client(lambda first: _connect_to(address))
    return client


def _connect_to(address: "Address") -> Connection:
    from modal_lite._transport.server_channel import ServerChannel

    return ServerChannel(address)


def _leave_servers() -> None:
    """Says goodbye, so that servers need not wait for this process to come back."""
    for client in _of_servers.values():
        if client._connection is not None:
            wait_blocking(on_loop(client._close))
