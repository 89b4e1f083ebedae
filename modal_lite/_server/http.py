"""The server's HTTP interface: health, administration in JSON, and the way to the sessions of clients."""

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET

from modal_lite._core.data_directory import ServerInfo
from modal_lite._core.placed_messages import CONTAINER_PATH
from modal_lite._core.requests import CancelCall
from modal_lite._core.stored import StoredCall
from modal_lite._server.api import (
    OPERATIONS,
    SESSION,
    AppView,
    CallView,
    Cancelling,
    ClusterView,
    DashboardLink,
    Failed,
    FunctionView,
    Health,
    Lines,
    Nothing,
    OfCalls,
    OfEnvironment,
    OfVersion,
    Operation,
    Status,
    VersionView,
)
from modal_lite._server.app_logs import AppLogs, LogLine
from modal_lite._server.arrivals import Arrivals
from modal_lite._server.catalogue import DeployedApp, split_version
from modal_lite._server.dashboard.guard import MAX_FORM
from modal_lite._server.dashboard.pages import PREFIX, Dashboard, see_other
from modal_lite._server.doorkeeper import Doorkeeper, is_local, token_digest
from modal_lite._server.openapi import description
from modal_lite._server.remote_sessions import RemoteSessions
from modal_lite._server.server_service import ServerService
from modal_lite.exception import AuthError, Error, InvalidError, NotFoundError

_STATUS: dict[type[Error], int] = {NotFoundError: 404, InvalidError: 400, AuthError: 401}

_DOORS = ("/", PREFIX)
"""Paths that lead to the dashboard."""

Query = TypeVar("Query", bound=msgspec.Struct)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpInterface:
    """Handlers for the requests of one server.

    Args:
        service: What they are about.
        sessions: Serves the connections of clients.
        logs: What containers wrote.
        info: What the server says of itself.
        doorkeeper: Admits requests.
        arrivals: Serves the connections of containers elsewhere, and admits them.
        hostnames: Names under which browsers may reach the dashboard.
    """

    def __init__(
        self,
        service: ServerService,
        sessions: RemoteSessions,
        logs: AppLogs,
        info: ServerInfo,
        doorkeeper: Doorkeeper,
        arrivals: Arrivals,
        hostnames: tuple[str, ...] = (),
    ) -> None:
        self._service = service
        self._logs = logs
        self._info = info
        self._doorkeeper = doorkeeper
        self._arrivals = arrivals
        self._dashboard = Dashboard(service, logs, info, doorkeeper, hostnames)
        # No other request than the dashboard's forms has a body that is read.
        self.application = web.Application(
            middlewares=[_one_request, _refusals_as_json, self._admit], client_max_size=MAX_FORM
        )
        for operation in OPERATIONS:
            self.application.router.add_route(operation.method, operation.path, self._handler(operation))
        self.application.router.add_get(SESSION, sessions.handle)
        self.application.router.add_get(CONTAINER_PATH, arrivals.handle)
        for path in _DOORS:
            self.application.router.add_get(path, _to_dashboard)
        self.application.add_subapp(PREFIX, self._dashboard.application)

    def _handler(self, operation: Operation) -> Handler:
        """What answers an operation: the method of its name, which gets the checked parameters."""
        answer = getattr(self, f"_{operation.name}")

        async def handle(request: web.Request) -> web.StreamResponse:
            reply = await answer(request, _query(request, operation.query))
            return reply if isinstance(reply, web.StreamResponse) else _json(reply)

        return handle

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # These have keys and sessions of their own; the dashboard has a page for those who have none.
        others = (*_DOORS, CONTAINER_PATH)
        admitted = request.path in others or request.path.startswith(f"{PREFIX}/")
        if not admitted and not self._doorkeeper.admits(request):
            raise AuthError("This server asks for a token.")
        return await handler(request)

    # --- the server --------------------------------------------------------------------------------------------------

    async def _health(self, request: web.Request, query: Nothing) -> Health:
        return Health("ok", self._info.version, os.getpid())

    async def _metrics(self, request: web.Request, query: Nothing) -> web.Response:
        from modal_lite._server import metrics  # here: most servers are never asked

        body = await self._service.metrics(metrics.render)
        return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _openapi(self, request: web.Request, query: Nothing) -> dict[str, Any]:
        return description(self._info.version)

    async def _status(self, request: web.Request, query: Nothing) -> Status:
        info = self._info
        seconds = round(time.time() - info.started, 1)
        return Status(info.pid, info.url, info.version, info.started, seconds, **self._service.figures())

    async def _dashboard_link(self, request: web.Request, query: Nothing) -> DashboardLink:
        return DashboardLink(self._info.dashboard, self._dashboard.link(token_digest(request)))

    async def _cluster(self, request: web.Request, query: Nothing) -> ClusterView:
        return self._arrivals.view()

    # --- apps --------------------------------------------------------------------------------------------------------

    async def _list_apps(self, request: web.Request, query: OfEnvironment) -> list[AppView]:
        wanted = query.environment
        apps = self._service.catalogue.apps()
        return [self._view(app) for app in apps if wanted is UNSET or app.stored.environment == wanted]

    async def _app(self, request: web.Request, query: Nothing) -> AppView:
        return self._view(self._find(request))

    async def _history(self, request: web.Request, query: Nothing) -> list[VersionView]:
        app = self._find(request)
        versions = sorted(app.deployments.values(), key=lambda deployment: -deployment.version)
        return [
            VersionView(
                deployment.version,
                deployment.created,
                deployment.version == app.stored.version,
                deployment.rollback_of,
                deployment.source.digest,
                [function.definition.tag for function in deployment.functions],
            )
            for deployment in versions
        ]

    async def _functions(self, request: web.Request, query: Nothing) -> list[FunctionView]:
        return self._service.describe_functions(self._find(request))

    async def _logs_of_app(self, request: web.Request, query: Lines) -> list[LogLine]:
        app_id = self._find(request).stored.app_id
        if query.after is UNSET:
            return self._logs.read(app_id, query.lines)
        return self._logs.read_new(app_id, query.lines, query.after)

    async def _stop(self, request: web.Request, query: Nothing) -> AppView:
        app = self._find(request)
        await self._service.stop_app(app)
        return self._view(app)

    async def _roll_back(self, request: web.Request, query: OfVersion) -> AppView:
        app = self._find(request)
        await self._service.roll_back(app, None if query.version is UNSET else query.version)
        return self._view(app)

    def _find(self, request: web.Request) -> DeployedApp:
        """The app that a request names. An id is taken as well, also of one that was stopped."""
        name = request.match_info["name"]
        for app in self._service.catalogue.apps():
            if app.stored.app_id == name:
                return app
        return self._service.catalogue.app(request.match_info["environment"], name)

    def _view(self, app: DeployedApp) -> AppView:
        stored = app.stored
        return AppView(
            stored.name,
            stored.environment,
            stored.app_id,
            stored.state.value,
            stored.version,
            stored.created,
            app.current.created,
            stored.stopped,
            [function.definition.tag for function in app.current.functions],
            self._service.web_addresses.of(stored.app_id),
            self._service.catalogue.schedules.next_time(stored.app_id),
        )

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _list_calls(self, request: web.Request, query: OfCalls) -> list[CallView]:
        app_id = None if query.app_id is UNSET else query.app_id
        calls = await self._service.list_calls(app_id, query.unfinished, query.limit)
        return [_view_of_call(call) for call in calls]

    async def _call(self, request: web.Request, query: Nothing) -> CallView:
        return _view_of_call(await self._service.find_call(request.match_info["call_id"]))

    async def _cancel(self, request: web.Request, query: Cancelling) -> CallView:
        call_id = request.match_info["call_id"]
        await self._service.request(CancelCall(call_id, query.terminate_containers))
        return _view_of_call(await self._service.find_call(call_id))


def _view_of_call(call: StoredCall) -> CallView:
    function_id, version = split_version(call.function_id)
    return CallView(
        call.call_id,
        call.app_id,
        function_id,
        version,
        call.method,
        call.num_inputs,
        call.created,
        call.finished,
        call.failed,
        call.cancelled,
        call.expired,
    )


def _query(request: web.Request, kind: type[Query]) -> Query:
    """The request's parameters. Raises InvalidError for those that make no sense."""
    if len(request.query) != len(set(request.query)):
        raise InvalidError("A parameter is given twice.")
    try:
        return msgspec.convert(dict(request.query), kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidError(f"The parameters make no sense: {error}.") from None


def _json(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), status=status, headers=headers, content_type="application/json")


async def _to_dashboard(request: web.Request) -> web.StreamResponse:
    return see_other(f"{PREFIX}/")


@web.middleware
async def _one_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Over TCP each connection has one request, so that none stays open without having one."""
    answer = await handler(request)
    if not is_local(request) and not answer.prepared:
        answer.force_close()
    return answer


@web.middleware
async def _refusals_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Error as error:
        return _json(Failed(type(error).__name__, str(error)), _STATUS.get(type(error), 500))
    except web.HTTPException as error:
        # Of aiohttp's own: no such path, no such method, a body that is too large.
        allow = {name: value for name, value in error.headers.items() if name == "Allow"}
        return _json(Failed(error.reason.replace(" ", ""), error.text or error.reason), error.status, allow)
