"""What the pages show, put together from the catalogue, the control plane and the store."""

import time

import msgspec

from modal_lite._core.ids import parse_input_id
from modal_lite._core.messages import Failure
from modal_lite._core.requests import CallGraphReply, CallKind, GetCallGraph, GetOutput
from modal_lite._core.stored import StoredCall
from modal_lite._scheduler.introspection import function_stats
from modal_lite._scheduler.records import Call
from modal_lite._server.api import FunctionView
from modal_lite._server.calls import CallState
from modal_lite._server.catalogue import DeployedApp
from modal_lite._server.dashboard.drawing import Drawing, Fate, draw, fate_of
from modal_lite._server.durable import DurableCall
from modal_lite._server.observed_plane import SUCCESS, EndedCall, failed_inputs
from modal_lite._server.server_service import ServerService
from modal_lite.call_graph import InputInfo
from modal_lite.exception import Error, NotFoundError

SHOWN = 50
"""Calls of a list."""
_LOOKED_AT = 5000
"""Calls under way that are searched for those of an app."""
_KINDS = {
    CallKind.UNARY: "remote",
    CallKind.SPAWNED: "spawn",
    CallKind.MAPPED: "map",
    CallKind.GENERATOR: "generator",
    CallKind.DETACHED: "spawn",
    CallKind.WEB: "request",
}


class FunctionRow(msgspec.Struct):
    """A function and its figures."""

    view: FunctionView
    urls: dict[str, str]
    """Its addresses, by the names of methods; empty for a function's own."""
    succeeded: int
    failed: int
    """Attempts since the server was started."""
    seconds: float | None
    """That an attempt took on average."""


class AppRow(msgspec.Struct):
    """An app and the sum of its functions."""

    app: DeployedApp
    functions: int
    backlog: int = 0
    running: int = 0
    containers: int = 0


class CallRow(msgspec.Struct):
    """A call."""

    call_id: str
    app_id: str
    app_name: str
    function: str
    kind: str
    state: str
    """waiting, running, done, failed or cancelled."""
    total: int
    """Inputs, as far as they are known."""
    open: bool
    """More inputs may come."""
    done: int
    """Inputs that have ended."""
    failed: int
    running: int
    """Inputs that containers hold."""
    created: float
    seconds: float
    """From its acceptance to its end, or until now."""
    ended: bool
    parent: str | None = None
    """The call that made it."""


class Graph(msgspec.Struct):
    """What is known of the inputs of a call."""

    drawing: Drawing
    known: set[str]
    """The calls in it that have a page."""
    failure: Failure | None
    """Of the first input that failed."""


class Views:
    """Answers what a page asks.

    Args:
        service: The server.
    """

    def __init__(self, service: ServerService) -> None:
        self._service = service

    # --- apps --------------------------------------------------------------------------------------------------------

    def apps(self) -> tuple[list[AppRow], list[DeployedApp]]:
        """Those that run, by name, and those that were stopped, the last one first."""
        apps = self._service.catalogue.apps()
        running = sorted(
            (app for app in apps if app.is_deployed), key=lambda app: (app.stored.name, app.stored.created)
        )
        stopped = sorted((app for app in apps if not app.is_deployed), key=lambda app: -(app.stored.stopped or 0.0))
        rows = {app.stored.app_id: AppRow(app, len(app.current.functions)) for app in running}
        for (app_id, _), functions in self._service.observed.functions_by_tag().items():
            row = rows.get(app_id)
            if row is None:
                continue  # It is being stopped.
            for stats in map(function_stats, functions):
                row.backlog += stats.backlog
                row.running += stats.num_running_inputs
                row.containers += stats.num_total_runners
        return list(rows.values()), stopped

    def find_app(self, app_id: str) -> DeployedApp:
        """The app of that id. Raises NotFoundError."""
        for app in self._service.catalogue.apps():
            if app.stored.app_id == app_id:
                return app
        raise NotFoundError(f"There is no app {app_id:.100} on this server.")

    def functions(self, app: DeployedApp) -> list[FunctionRow]:
        """The functions of an app."""
        urls = self._service.web_addresses.of(app.stored.app_id)
        rows = []
        for view in self._service.describe_functions(app):
            own = {name[len(view.name) + 1 :]: url for name, url in urls.items() if _is_of(name, view.name)}
            figures = self._service.observed.figures.of(app.stored.app_id, view.name)
            attempts, succeeded = figures.attempts.total(), figures.attempts[SUCCESS]
            average = figures.running.seconds / attempts if attempts else None
            rows.append(FunctionRow(view, own, succeeded, attempts - succeeded, average))
        return rows

    # --- calls -------------------------------------------------------------------------------------------------------

    async def calls(self, app_id: str | None = None) -> tuple[list[CallRow], list[CallRow]]:
        """Calls under way and calls that have ended, the newest first; of one app, if told so."""
        live: list[CallRow] = []
        for state, record, accepted in self._service.observed.under_way(SHOWN if app_id is None else _LOOKED_AT):
            if len(live) < SHOWN and (app_id is None or self._app_id(state) == app_id):
                live.append(self._live(state, record, accepted))
        under_way = {row.call_id for row in live}
        stored = await self._service.list_calls(app_id, False, SHOWN + len(live))
        rows = [self._stored(each) for each in stored if each.finished is not None and each.call_id not in under_way]
        rows += [self._ended(each) for each in self._service.observed.ended if app_id in (None, each.app_id)]
        return live, sorted(rows, key=lambda row: -row.created)[:SHOWN]

    async def call(self, call_id: str) -> CallRow:
        """A call. Raises NotFoundError."""
        observed = self._service.observed
        found = observed.find_under_way(call_id)
        if found is not None:
            return self._live(*found)
        for ended in reversed(observed.ended):
            if ended.call_id == call_id:
                return self._ended(ended)
        return self._stored(await self._service.find_call(call_id))

    async def graph(self, call_id: str) -> Graph | None:
        """The call's graph, None if it is not known any more."""
        try:
            reply = await self._service.request(GetCallGraph(call_id))
        except NotFoundError:
            return None
        assert isinstance(reply, CallGraphReply)
        drawing = draw(reply.roots)
        called = {node.call_id for node in drawing.nodes if node.call_id is not None} - {call_id}
        known = {each for each in called if await self._is_known(each)}
        failed = next((info for info in reply.roots if fate_of(info) is Fate.FAILED), None)
        return Graph(drawing, known, None if failed is None else await self._failure(failed))

    async def _is_known(self, call_id: str) -> bool:
        try:
            await self.call(call_id)
        except NotFoundError:
            return False
        return True

    async def _failure(self, info: InputInfo) -> Failure | None:
        """Why the input failed, if that is stored."""
        call_id, index = parse_input_id(info.input_id)
        try:
            batch = await self._service.request(GetOutput(call_id, index, 0.0))
        except (Error, TimeoutError):
            return None
        failure: Failure | None = batch.outputs[0].failure
        return failure

    def _app_id(self, state: CallState) -> str | None:
        definition = self._service.observed.functions.get(state.function_id)
        return None if definition is None else definition.app_id

    def _live(self, state: CallState, record: Call, accepted: float) -> CallRow:
        definition = self._service.observed.functions.get(state.function_id)
        row = self._row(state.call_id, self._app_id(state) or "", state.function_id, state.method, state.kind, accepted)
        if definition is not None:
            row.app_name = definition.app_name
        row.total = max(record.added, state.num_inputs if isinstance(state, DurableCall) else 0)
        # Those that ended before the server was started anew are not known to the scheduler.
        row.done = record.done + row.total - record.added
        row.failed, row.running, row.open = failed_inputs(record), record.leased, not record.closed
        row.seconds, row.ended = max(0.0, time.time() - accepted), False
        row.state = "cancelled" if record.cancelled else "running" if record.leased else "waiting"
        row.parent = None if record.parent is None else record.parent[0]
        return row

    def _ended(self, call: EndedCall) -> CallRow:
        row = self._row(call.call_id, call.app_id, call.function_id, call.method, call.kind, call.accepted)
        row.total = row.done = call.num_inputs
        row.failed, row.seconds = call.failed, call.seconds
        row.state = _state(call.cancelled, call.failed)
        return row

    def _stored(self, call: StoredCall) -> CallRow:
        row = self._row(call.call_id, call.app_id, call.function_id, call.method, call.kind, call.created)
        row.total = row.done = call.num_inputs
        row.failed, row.seconds = call.failed, max(0.0, (call.finished or time.time()) - call.created)
        row.state = _state(call.cancelled, call.failed) if call.finished is not None else "waiting"
        row.ended = call.finished is not None
        row.parent = None if call.parent is None else parse_input_id(call.parent)[0]
        return row

    def _row(self, call_id: str, app_id: str, function_id: str, method: str, kind: CallKind, created: float) -> CallRow:
        tag, app_name = self._service.catalogue.names(app_id, function_id)
        name = f"{tag}.{method}" if method else tag
        return CallRow(call_id, app_id, app_name, name, _KINDS[kind], "", 0, False, 0, 0, 0, created, 0.0, True)


def _state(cancelled: bool, failed: int) -> str:
    return "cancelled" if cancelled else "failed" if failed else "done"


def _is_of(name: str, tag: str) -> bool:
    return name == tag or name.startswith(f"{tag}.")
