"""Answers requests: the `Connection` of this process to a control plane of its own.

The control plane, and with it every process that it started, exists from the first running app to the last. Dicts and
Queues need none.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from modal_lite._core.ids import parse_input_id
from modal_lite._core.interfaces import OnEnd
from modal_lite._core.messages import Encoding
from modal_lite._core.object_requests import DeleteObject, QueueTaken
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.request_base import Reply
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
    DescribeCall,
    ExchangeChunk,
    FindFunction,
    ForgetCall,
    FoundFunction,
    FunctionDefinition,
    GetCallGraph,
    GetOutput,
    GetStats,
    GetWebUrls,
    NextOutput,
    NextValues,
    OpenApp,
    OpenMap,
    OpenTerminal,
    OutputBatch,
    ResizeTerminal,
    RunCall,
    StartCall,
    StatsReply,
    TypeIn,
    UpdateFunction,
    WebUrls,
)
from modal_lite._scheduler import events, policy
from modal_lite._scheduler.introspection import call_graph, function_stats
from modal_lite._server.calls import CallState, Chunk
from modal_lite._server.objects import SharedObjects
from modal_lite._server.plane import ControlPlane
from modal_lite._server.web_front import WebFront
from modal_lite.exception import ExecutionError, InvalidError, NotFoundError


class Service:
    """Implements `Connection` for a control plane in this process. Lives on one event loop.

    Args:
        make_plane: makes a control plane whose containers' own calls are answered by the service it is given.
    """

    def __init__(self, make_plane: Callable[["Service"], ControlPlane]) -> None:
        self._make_plane = make_plane
        self._plane: ControlPlane | None = None
        self._apps: dict[str, list[str]] = {}
        self._closing = 0
        """Apps whose containers are being stopped."""
        self._lifecycle = asyncio.Lock()
        """Held while the control plane starts or ends."""
        self._objects = SharedObjects()
        self._web = WebFront(self._running, self._definition)
        self._handlers: dict[type[AnyRequest], Callable[[Any, Payload], Awaitable[Reply | OutputBatch]]] = {
            OpenApp: self._open_app,
            CloseApp: self._close_app,
            AddVariant: self._add_variant,
            FindFunction: self._find_function,
            UpdateFunction: self._update_function,
            GetStats: self._get_stats,
            StartCall: self._start_call,
            OpenMap: self._open_map,
            ExchangeChunk: self._exchange_chunk,
            NextValues: self._next_values,
            GetOutput: self._get_output,
            DescribeCall: self._describe_call,
            CancelCall: self._cancel_call,
            ForgetCall: self._forget_call,
            GetCallGraph: self._get_call_graph,
            OpenTerminal: self._open_terminal,
            NextOutput: self._next_output,
            CloseTerminal: self._close_terminal,
            GetWebUrls: self._get_web_urls,
            **self._objects.handlers,
        }

    async def request(self, request: AnyRequest, payload: Payload = EMPTY) -> Any:
        """See `Connection.request`."""
        return await self._handlers[type(request)](request, payload)

    def run(self, request: RunCall, payload: Payload, on_end: OnEnd) -> Callable[[], None]:
        """See `Connection.run`."""
        plane = self._running()
        function_id = self._definition(request.function_id).function_id
        call = CallState(request.call_id, function_id, CallKind.UNARY, request.method)
        call.on_finish = lambda call: on_end(OutputBatch(call.take(), finished=True))
        plane.open_call(call, parent_of(request.parent), Chunk(Encoding.CALL, payload, 1))

        def withdraw() -> None:
            call.on_finish = None
            plane.forget(call.call_id)

        return withdraw

    def is_busy(self) -> bool:
        """True while a call is under way, whoever made it."""
        return self._plane is not None and self._plane.is_busy()

    def is_attended(self) -> bool:
        """True while clients may come, or a call is under way: the loop is to run although nobody here waits."""
        return self._web.is_open or self.is_busy()

    def notify(self, request: AnyRequest) -> None:
        """See `Connection.notify`."""
        if isinstance(request, DeleteObject | QueueTaken):
            self._objects.notify(request)
        plane = self._plane
        if plane is None:
            return
        if isinstance(request, ForgetCall):
            plane.forget(request.call_id)
        elif isinstance(request, CancelCall) and request.call_id in plane.scheduler.calls:
            plane.happened(events.CallCancelled(request.call_id, request.terminate_containers))
        elif isinstance(request, TypeIn | ResizeTerminal):
            plane.terminals.tell(request)

    # --- apps and functions ------------------------------------------------------------------------------------------

    async def _open_app(self, request: OpenApp, payload: Payload) -> Reply:
        async with self._lifecycle:
            if self._plane is None:
                plane = self._make_plane(self)
                await plane.open()
                self._plane = plane
            self._apps[request.app_id] = []
            if any(definition.settings.gpus for definition in request.functions):
                await self._plane.find_gpus()
            for definition in request.functions:
                self._add(definition)
        return DONE

    async def _close_app(self, request: CloseApp, payload: Payload) -> Reply:
        async with self._lifecycle:
            function_ids, plane = self._apps.pop(request.app_id, None), self._plane
            if function_ids is None or plane is None:
                return DONE
            self._closing += 1
        plane.terminals.close_all(request.app_id)
        self._web.close_functions(function_ids)
        try:
            # Without the lock: exit hooks may take long, and other apps start and end meanwhile.
            await plane.remove_functions(function_ids, request.hurried)
        finally:
            self._closing -= 1
            async with self._lifecycle:
                if self._plane is plane and not self._apps and not self._closing:
                    self._plane = None
                    await plane.close()
        return DONE

    def _add(self, definition: FunctionDefinition) -> None:
        plane = self._running()
        if definition.app_id not in self._apps:
            raise ExecutionError(f"The app {definition.app_name} is not running any more.")
        if definition.function_id not in plane.functions:
            self._apps[definition.app_id].append(definition.function_id)
            plane.functions[definition.function_id] = definition
            settings = definition.settings
            if definition.incomplete:
                settings = msgspec.structs.replace(settings, min_containers=0)
            plane.happened(events.FunctionAdded(definition.function_id, settings))

    async def _add_variant(self, request: AddVariant, payload: Payload) -> Reply:
        base = self._definition(request.base_id)
        variant = variant_of(base, request)
        if variant.settings.gpus:
            await self._running().find_gpus()
        self._add(variant)
        return DONE

    async def _find_function(self, request: FindFunction, payload: Payload) -> Reply:
        for function_id, definition in self._running().functions.items():
            if definition.tag == request.tag and definition.module_name == request.module_name:
                # The first is the function itself; variants of it come later.
                return FoundFunction(function_id)
        return FoundFunction(None)

    async def _update_function(self, request: UpdateFunction, payload: Payload) -> Reply:
        plane = self._running()
        definition = self._definition(request.function_id)
        changes = {
            name: value
            for name in ("min_containers", "max_containers", "buffer_containers", "scaledown_window")
            if (value := getattr(request, name)) is not None
        }
        settings = msgspec.structs.replace(definition.settings, **changes)
        if settings.max_containers is not None and settings.min_containers > settings.max_containers:
            raise InvalidError(
                f"min_containers={settings.min_containers} of {definition.tag} is over its "
                f"max_containers={settings.max_containers}; raise that first."
            )
        plane.functions[definition.function_id] = msgspec.structs.replace(definition, settings=settings)
        plane.happened(events.FunctionChanged(definition.function_id, settings))
        return DONE

    async def _get_stats(self, request: GetStats, payload: Payload) -> Reply:
        definition = self._definition(request.function_id)
        stats = function_stats(self._running().scheduler.functions[definition.function_id])
        return StatsReply(stats.backlog, stats.num_total_runners, stats.num_running_inputs, stats.num_active_runners)

    async def _get_web_urls(self, request: GetWebUrls, payload: Payload) -> Reply:
        definition = self._definition(request.function_id)
        urls = {}
        for method in definition.web:
            try:
                urls[method] = await self._open_web(definition, method)
            except OSError as error:
                raise ExecutionError(f"No port could be opened for {definition.tag}: {error}.") from None
        return WebUrls(urls)

    async def _open_web(self, definition: FunctionDefinition, method: str) -> str:
        """The address of a web function, which may be opened by that. Raises OSError."""
        return (await self._web.open(definition.function_id, method)).url

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _start_call(self, request: StartCall, payload: Payload) -> Reply:
        if request.kind in (CallKind.MAPPED, CallKind.WEB):
            raise InvalidError(f"The call {request.call_id} cannot be started as one of kind {request.kind.name}.")
        plane = self._running()
        function_id = self._definition(request.function_id).function_id
        call = CallState(request.call_id, function_id, request.kind, request.method)
        plane.open_call(call, parent_of(request.parent), Chunk(Encoding.CALL, payload, 1))
        return DONE

    async def _open_map(self, request: OpenMap, payload: Payload) -> Reply | OutputBatch:
        if request.kind not in (CallKind.MAPPED, CallKind.SPAWNED):
            raise InvalidError(f"The call {request.call_id} cannot have inputs of kind {request.kind.name}.")
        plane = self._running()
        function_id = self._definition(request.function_id).function_id
        call = CallState(request.call_id, function_id, request.kind, request.method)
        plane.open_call(call, parent_of(request.parent), None)
        return OutputBatch([], chunk_size=self._chunk_size(call))

    async def _exchange_chunk(self, request: ExchangeChunk, payload: Payload) -> OutputBatch:
        plane = self._running()
        call = self._call(request.call_id)
        if request.count:
            chunk = Chunk(request.encoding, payload, request.count)
            plane.add_inputs(call, request.start, chunk, request.ranges)
        if request.closed:
            plane.happened(events.InputsClosed(request.call_id))
        if request.ranges:
            return OutputBatch([], False, self._chunk_size(call))  # Nobody takes the outputs of this request.
        if request.wait:
            while not call.holds(request.awaited) and not call.finished:
                await call.changed(request.awaited)
        return OutputBatch(call.take(), call.finished, self._chunk_size(call))

    async def _next_values(self, request: NextValues, payload: Payload) -> OutputBatch:
        call = self._call(request.call_id)
        if call.kind is not CallKind.GENERATOR:
            raise InvalidError(f"The call {call.call_id} yields no values.")
        if request.consumed > call.consumed:
            self._running().consumed(call, request.consumed)
        while not call.ready and not call.finished:
            await call.changed()
        return OutputBatch(call.take(), call.finished)

    async def _get_output(self, request: GetOutput, payload: Payload) -> OutputBatch:
        call = self._call(request.call_id)
        async with asyncio.timeout(request.timeout):
            while (output := call.kept.get(request.index)) is None:
                if call.finished:
                    raise InvalidError(f"The call {call.call_id} has no input number {request.index}.")
                if request.timeout is not None and request.timeout <= 0:
                    raise TimeoutError
                await call.changed(request.index)
        return OutputBatch([output])

    async def _describe_call(self, request: DescribeCall, payload: Payload) -> Reply:
        call = self._call(request.call_id)
        return CallDescription(call.function_id, call.kind, self._running().scheduler.calls[request.call_id].added)

    async def _cancel_call(self, request: CancelCall, payload: Payload) -> Reply:
        self._call(request.call_id)
        self._running().happened(events.CallCancelled(request.call_id, request.terminate_containers))
        return DONE

    async def _forget_call(self, request: ForgetCall, payload: Payload) -> Reply:
        self.notify(request)
        return DONE

    async def _get_call_graph(self, request: GetCallGraph, payload: Payload) -> Reply:
        self._call(request.call_id)
        plane = self._running()
        return CallGraphReply(call_graph(plane.scheduler, request.call_id, self._describe))

    def _describe(self, function_id: str) -> tuple[str, str]:
        """Name and module of a function, for the call graph."""
        definition = self._running().functions.get(function_id)
        if definition is None:
            # Its app was removed while the call that made this one is still known.
            return function_id, ""
        return definition.tag, definition.module_name

    # --- terminals ---------------------------------------------------------------------------------------------------

    async def _open_terminal(self, request: OpenTerminal, payload: Payload) -> Reply:
        if request.function_id is not None:
            definition = self._definition(request.function_id)
            request = msgspec.structs.replace(request, app_id=definition.app_id)
        self._running().terminals.open(request)
        return DONE

    async def _next_output(self, request: NextOutput, payload: Payload) -> Reply:
        return await self._running().terminals.find(request.terminal_id).next_output()

    async def _close_terminal(self, request: CloseTerminal, payload: Payload) -> Reply:
        plane = self._plane
        terminal = None if plane is None else plane.terminals.get(request.terminal_id)
        if plane is None or terminal is None:
            return DONE  # It was closed with its app.
        try:
            if request.drain:
                await terminal.drained()
        finally:
            plane.terminals.close(request.terminal_id)
            if terminal.function_id is not None:
                await plane.remove_functions([terminal.function_id], hurried=not request.drain)
        return DONE

    # --- looking things up -------------------------------------------------------------------------------------------

    def _running(self) -> ControlPlane:
        if self._plane is None:
            raise ExecutionError("No app is running in this process. Start one with `with app.run():`.")
        return self._plane

    def _definition(self, function_id: str) -> FunctionDefinition:
        definition = self._running().functions.get(function_id)
        if definition is None:
            raise ExecutionError(f"The app of the function {function_id} is not running any more.")
        return definition

    def _call(self, call_id: str) -> CallState:
        call = None if self._plane is None else self._plane.calls.get(call_id)
        if call is None:
            raise NotFoundError(
                f"There is no function call {call_id} here. Calls are known to the program that made them, "
                "while the app they belong to runs."
            )
        return call

    def _chunk_size(self, call: CallState) -> int:
        return policy.chunk_size(self._running().scheduler.functions[call.function_id])


def parent_of(input_id: str | None) -> tuple[str, int] | None:
    """The call and the index of the input that makes a call, as the scheduler wants them."""
    return None if input_id is None else parse_input_id(input_id)


def variant_of(base: FunctionDefinition, request: AddVariant) -> FunctionDefinition:
    """The definition of a variant, given that of its base."""
    changes = {name: getattr(request.settings, name) for name in request.changed}
    return msgspec.structs.replace(
        base,
        function_id=request.function_id,
        settings=msgspec.structs.replace(base.settings, **changes),
        env=base.env if request.env is None else request.env,
        parameters=base.parameters if request.parameters is None else request.parameters,
        incomplete=base.incomplete and request.parameters is None,
    )
