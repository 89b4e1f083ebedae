"""The server's HTTP interface: health, administration in JSON, and the way to the sessions of clients."""

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from modal_lite._core.data_directory import ServerInfo
from modal_lite._server.app_logs import AppLogs
from modal_lite._server.catalogue import DeployedApp
from modal_lite._server.doorkeeper import Doorkeeper, is_local
from modal_lite._server.remote_sessions import RemoteSessions
from modal_lite._server.server_service import ServerService
from modal_lite.exception import AuthError, Error, InvalidError, NotFoundError

MAX_LINES = 100_000
_STATUS: dict[type[Error], int] = {NotFoundError: 404, InvalidError: 400, AuthError: 401}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpInterface:
    """Handlers for the requests of one server.

    Args:
        service: What they are about.
        sessions: Serves the WebSockets of clients.
        logs: What containers wrote.
        info: What the server says of itself.
        doorkeeper: Admits requests.
    """

    def __init__(
        self, service: ServerService, sessions: RemoteSessions, logs: AppLogs, info: ServerInfo, doorkeeper: Doorkeeper
    ) -> None:
        self._service = service
        self._logs = logs
        self._info = info
        self._doorkeeper = doorkeeper
        # No request has a body.
        self.application = web.Application(middlewares=[self._admit, _refusals_as_json], client_max_size=1)
        one = "/v1/apps/{environment}/{name}"
        self.application.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/v1/session", sessions.handle),
                web.get("/v1/status", self._status),
                web.get("/v1/apps", self._list_apps),
                web.get(f"{one}/history", self._history),
                web.get(f"{one}/logs", self._read_logs),
                web.post(f"{one}/stop", self._stop),
                web.post(f"{one}/rollback", self._roll_back),
            ]
        )

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._doorkeeper.admits(request):
            answer: web.StreamResponse = _json({"error": "AuthError", "message": "This server asks for a token."}, 401)
        else:
            answer = await handler(request)
        if not is_local(request) and not answer.prepared:
            answer.force_close()  # Each connection has one request, so none is open without having one.
        return answer

    async def _health(self, request: web.Request) -> web.Response:
        return _json({"status": "ok", "version": self._info.version, "pid": os.getpid()})

    async def _status(self, request: web.Request) -> web.Response:
        now = time.time()
        return _json(
            msgspec.to_builtins(self._info) | {"seconds": round(now - self._info.started, 1)} | self._service.figures()
        )

    async def _list_apps(self, request: web.Request) -> web.Response:
        wanted = request.query.get("environment")
        apps = [a for a in self._service.catalogue.apps() if wanted is None or a.stored.environment == wanted]
        return _json([_describe(app) for app in apps])

    async def _history(self, request: web.Request) -> web.Response:
        app = self._app(request)
        versions = sorted(app.deployments.values(), key=lambda deployment: -deployment.version)
        return _json(
            [
                {
                    "version": deployment.version,
                    "created": deployment.created,
                    "current": deployment.version == app.stored.version,
                    "rollback_of": deployment.rollback_of,
                    "snapshot": deployment.source.digest,
                    "functions": [function.definition.tag for function in deployment.functions],
                }
                for deployment in versions
            ]
        )

    async def _read_logs(self, request: web.Request) -> web.Response:
        count = _number(request.query.get("lines", "1000"), "lines", MAX_LINES)
        return _json(msgspec.to_builtins(self._logs.read(self._app(request).stored.app_id, count)))

    async def _stop(self, request: web.Request) -> web.Response:
        app = self._app(request)
        await self._service.stop_app(app)
        return _json(_describe(app))

    async def _roll_back(self, request: web.Request) -> web.Response:
        given = request.query.get("version")
        app = self._app(request)
        await self._service.roll_back(app, None if given is None else _number(given, "version", 1 << 31))
        return _json(_describe(app))

    def _app(self, request: web.Request) -> DeployedApp:
        """The app that a request names. An id is taken as well, also of one that was stopped."""
        name = request.match_info["name"]
        for app in self._service.catalogue.apps():
            if app.stored.app_id == name:
                return app
        return self._service.catalogue.app(request.match_info["environment"], name)


def _describe(app: DeployedApp) -> dict[str, Any]:
    stored = app.stored
    return {
        "name": stored.name,
        "environment": stored.environment,
        "app_id": stored.app_id,
        "state": stored.state.value,
        "version": stored.version,
        "created": stored.created,
        "deployed": app.current.created,
        "functions": [function.definition.tag for function in app.current.functions],
    }


def _number(text: str, name: str, limit: int) -> int:
    if not text.isdecimal() or len(text) > 10 or not 0 < int(text) <= limit:
        raise InvalidError(f"{name}={text[:50]} must be a number from 1 to {limit}.")
    return int(text)


def _json(data: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), status=status, content_type="application/json")


@web.middleware
async def _refusals_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Error as error:
        return _json({"error": type(error).__name__, "message": str(error)}, _STATUS.get(type(error), 500))
