"""The routes of the dashboard. All but the login ask for a session; what changes something is a form with a token."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote

from aiohttp import web

from modal_lite._core.data_directory import ServerInfo
from modal_lite._core.requests import CancelCall
from modal_lite._core.tokens import digest_of
from modal_lite._server.app_logs import AppLogs, LogLine
from modal_lite._server.dashboard.guard import HEADERS, Hosts, check_origin, read_form
from modal_lite._server.dashboard.logins import Login, Logins
from modal_lite._server.dashboard.rendering import STATIC, Renderer
from modal_lite._server.dashboard.views import Views
from modal_lite._server.doorkeeper import Doorkeeper
from modal_lite._server.server_service import ServerService
from modal_lite.exception import AuthError, Error, InvalidError, NotFoundError

PREFIX = "/dashboard"
"""What all of its paths begin with; the cookie is sent there alone."""
COOKIE = "modal-lite"
LINES = 500
"""Lines of output that a page begins with."""
_HEARTBEAT = 10.0
"""Seconds between two looks whether somebody still reads a stream."""
_GATHER = 0.1
"""Seconds between two parts of a stream at least."""
_STATUS: dict[type[Error], int] = {NotFoundError: 404, InvalidError: 400, AuthError: 403}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Page = Callable[[web.Request, Login], Awaitable[web.StreamResponse]]


class Dashboard:
    """Answers browsers.

    Args:
        service: What the pages are about.
        logs: What containers wrote.
        info: What the server says of itself.
        doorkeeper: Knows the tokens.
        hostnames: Names under which it may be reached, besides those that are known anyway.
    """

    def __init__(
        self,
        service: ServerService,
        logs: AppLogs,
        info: ServerInfo,
        doorkeeper: Doorkeeper,
        hostnames: tuple[str, ...] = (),
    ) -> None:
        self._service = service
        self._logs = logs
        self._info = info
        self._doorkeeper = doorkeeper
        self._hosts = Hosts(hostnames)
        self._views = Views(service)
        self.logins = Logins(doorkeeper.knows)
        self.application = web.Application(middlewares=[self._guard])
        self.application.on_response_prepare.append(_add_headers)
        self._add_routes()

    @cached_property
    def _renderer(self) -> Renderer:
        # When the first page is asked for: a server that nobody looks at has no templates in memory.
        return Renderer(self._info.version)

    def link(self, token: str | None) -> str:
        """A path that logs in whoever opens it first, with the rights of the token of that hash."""
        return f"{PREFIX}/login?link={self.logins.new_link(token)}"

    def _add_routes(self) -> None:
        get, post = self._get, self._post
        self.application.add_routes(
            [
                web.get("/static/{name}", self._static),
                # Without HEAD: what it answers may be the only use of a link.
                web.get("/login", self._login_page, allow_head=False),
                web.post("/login", self._log_in),
                web.post("/logout", post(self._log_out)),
                web.get("/", get(self._overview)),
                web.get("/calls", get(self._calls)),
                web.get("/calls/{call_id}", get(self._call)),
                web.post("/calls/{call_id}/cancel", post(self._cancel)),
                web.get("/apps/{app_id}", get(self._app)),
                web.post("/apps/{app_id}/stop", post(self._stop)),
                web.get("/apps/{app_id}/logs", get(self._log)),
                web.get("/apps/{app_id}/logs/stream", get(self._stream), allow_head=False),
            ]
        )

    # --- who may ask -------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._hosts.check(request)
            if request.method == "POST":
                check_origin(request)
            return await handler(request)
        except Error as error:
            status, text = _STATUS.get(type(error), 500), str(error)
        except web.HTTPException as error:
            status, text = error.status, error.text or error.reason
        login = self._login(request)
        return self._html("error.html", login, status, text=text, code=status)

    def _get(self, page: Page) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            login = self._login(request)
            if login is None:
                return see_other(f"{PREFIX}/login?next={quote(request.path_qs, safe='/')}")
            return await page(request, login)

        return handle

    def _post(self, page: Page) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            login = self._login(request)
            if login is None:
                return see_other(f"{PREFIX}/login")
            form = await read_form(request)
            if not login.sent(form.get("csrf", "")):
                raise AuthError("The form is not of this session. Go back, load the page again, and repeat it.")
            return await page(request, login)

        return handle

    def _login(self, request: web.Request) -> Login | None:
        """The session of the request, whose connection may stay as long as it lasts."""
        secret = request.cookies.get(COOKIE, "")
        login = self.logins.find(secret)
        if login is not None:
            self._doorkeeper.admit(request, lambda: self.logins.lasts(secret))
        return login

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        link = request.query.get("link")
        if link is None:
            return self._ask(_path_of(request.query), "")
        secret = self.logins.redeem(link)
        if secret is None:
            return self._ask("", "That link was used before, or is too old.", 403)
        # A page, and not a redirection: the cookie would not be sent with one that began on another site.
        response = self._html("welcome.html", None)
        self._give(request, response, secret)
        return response

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        form = await read_form(request)
        digest, path = digest_of(form.get("token", "").strip()), _path_of(form)
        if not self._doorkeeper.knows(digest):
            return self._ask(path, "The server does not know that token.", 403)
        response = see_other(path or f"{PREFIX}/")
        self._give(request, response, self.logins.begin(digest))
        return response

    async def _log_out(self, request: web.Request, login: Login) -> web.StreamResponse:
        self.logins.end(request.cookies[COOKIE])
        response = see_other(f"{PREFIX}/login")
        response.del_cookie(COOKIE, path=f"{PREFIX}/")
        return response

    def _give(self, request: web.Request, response: web.StreamResponse, secret: str) -> None:
        response.set_cookie(
            COOKIE,
            secret,
            path=f"{PREFIX}/",
            httponly=True,
            samesite="Strict",
            secure=self._info.url.startswith("https:"),
        )

    def _ask(self, path: str, trouble: str, status: int = 200) -> web.Response:
        return self._html(
            "login.html", None, status, next=path, trouble=trouble, with_token=self._doorkeeper.has_tokens
        )

    # --- pages -------------------------------------------------------------------------------------------------------

    async def _overview(self, request: web.Request, login: Login) -> web.StreamResponse:
        apps, stopped = self._views.apps()
        seconds = time.time() - self._info.started
        figures = self._service.figures()
        return self._html("overview.html", login, apps=apps, stopped=stopped, seconds=seconds, figures=figures)

    async def _app(self, request: web.Request, login: Login) -> web.StreamResponse:
        app = self._views.find_app(request.match_info["app_id"])
        functions = self._views.functions(app) if app.is_deployed else []
        live, ended = await self._views.calls(app.stored.app_id)
        versions = sorted(app.deployments.values(), key=lambda deployment: -deployment.version)
        return self._html(
            "app.html", login, app=app.stored, functions=functions, live=live, ended=ended, versions=versions
        )

    async def _calls(self, request: web.Request, login: Login) -> web.StreamResponse:
        live, ended = await self._views.calls()
        return self._html("calls.html", login, live=live, ended=ended)

    async def _call(self, request: web.Request, login: Login) -> web.StreamResponse:
        call = await self._views.call(request.match_info["call_id"])
        graph = await self._views.graph(call.call_id)
        return self._html("call.html", login, call=call, graph=graph)

    async def _log(self, request: web.Request, login: Login) -> web.StreamResponse:
        app = self._views.find_app(request.match_info["app_id"]).stored
        lines = await asyncio.to_thread(self._logs.read, app.app_id, LINES)
        after = repr(lines[-1].time) if lines else "0"
        return self._html("logs.html", login, app=app, lines=lines, after=after)

    async def _stream(self, request: web.Request, login: Login) -> web.StreamResponse:
        """Sends what an app writes after a time, as server-sent events whose ids are times."""
        app = self._views.find_app(request.match_info["app_id"]).stored
        seen = _number(request.headers.get("Last-Event-ID", request.query.get("after", "0")))
        secret = request.cookies[COOKIE]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with self._logs.watched(app.app_id) as watcher:
            await response.prepare(request)
            lines = await asyncio.to_thread(self._logs.read, app.app_id, LINES)
            while self.logins.lasts(secret):
                lines = [line for line in lines if line.time > seen]
                seen = lines[-1].time if lines else seen
                try:
                    await response.write(self._event(lines, seen))
                except ConnectionError:
                    break  # Nobody reads it any more.
                await asyncio.sleep(_GATHER)
                try:
                    lines = await asyncio.wait_for(watcher.next(), _HEARTBEAT)
                except TimeoutError:
                    lines = []
        return response

    def _event(self, lines: list[LogLine], seen: float) -> bytes:
        if not lines:
            return b":\n\n"
        html = self._renderer.render("lines.html", lines=lines)
        data = "".join(f"data: {line}\n" for line in html.splitlines())
        return f"id: {seen!r}\n{data}\n".encode()

    # --- forms -------------------------------------------------------------------------------------------------------

    async def _stop(self, request: web.Request, login: Login) -> web.StreamResponse:
        app = self._views.find_app(request.match_info["app_id"])
        if app.is_deployed:
            await self._service.stop_app(app)
        return see_other(f"{PREFIX}/apps/{app.stored.app_id}")

    async def _cancel(self, request: web.Request, login: Login) -> web.StreamResponse:
        call_id = request.match_info["call_id"]
        try:
            await self._service.request(CancelCall(call_id, False))
        except NotFoundError:
            # It is not stored: its client waits for it, or nobody does.
            self._service.notify(CancelCall(call_id, False))
        return see_other(f"{PREFIX}/calls/{quote(call_id, safe='')}")

    async def _static(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in STATIC:
            raise web.HTTPNotFound
        # Pages name them by what is in them.
        headers = {"Cache-Control": "max-age=31536000, immutable"}
        body = self._renderer.static[name]
        return web.Response(body=body, content_type=STATIC[name], charset="utf-8", headers=headers)

    def _html(self, template: str, login: Login | None, status: int = 200, **values: Any) -> web.Response:
        text = self._renderer.render(template, csrf=None if login is None else login.csrf, prefix=PREFIX, **values)
        return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")


def see_other(path: str) -> web.Response:
    """Sends the browser to a path of this server."""
    return web.Response(status=303, headers={"Location": path})


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _path_of(given: Mapping[str, str]) -> str:
    """Where to go after the login: a page of the dashboard, or nothing."""
    path = given.get("next", "")
    return path if path.startswith(f"{PREFIX}/") and path.isprintable() and "\\" not in path else ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
