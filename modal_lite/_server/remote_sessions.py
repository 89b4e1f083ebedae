"""Clients elsewhere: their sessions, which outlive their connections for a while."""

import asyncio
import logging
import re
from typing import Any

import msgspec
from aiohttp import web

from modal_lite._core.client_messages import Answer, Ask, FromClient
from modal_lite._core.interfaces import Connection
from modal_lite._core.messages import PROTOCOL_VERSION
from modal_lite._core.requests import Refusal
from modal_lite._server.sessions import Answers
from modal_lite._transport.frames import ProtocolError
from modal_lite._transport.server_channel import PATIENCE
from modal_lite._transport.session import Session
from modal_lite._transport.upgrade import UPGRADE, WELCOME_HEADER, Welcome

logger = logging.getLogger("modal_lite.server")

LINGER = PATIENCE + 5.0
"""Seconds that a session without a connection is kept."""
MAX_SESSIONS = 10_000
MAX_REQUESTS = 500_000
"""Requests of one client that may be open."""
_ID = re.compile(r"cs-[0-9a-f]{16,64}")


class _RemoteSession:
    """One client's session."""

    def __init__(self, service: Connection) -> None:
        self.session = Session(FromClient, self._received)
        self.answers = Answers(service, self.session.send)
        self.expiry: asyncio.TimerHandle | None = None

    def _received(self, message: Any, body: memoryview) -> None:
        if isinstance(message, Ask) and self.answers.is_under_way(message.number):
            raise ProtocolError(f"request {message.number} is under way already")
        if isinstance(message, Ask) and self.answers.under_way >= MAX_REQUESTS:
            refusal = Refusal("ExecutionError", f"This client has {MAX_REQUESTS} requests open; it can have no more.")
            self.session.send(Answer(message.number, refusal))
        else:
            self.answers.received(message, body)


class RemoteSessions:
    """All sessions of remote clients.

    Args:
        service: Answers their requests.
        linger: Seconds that a session without a connection is kept.
    """

    def __init__(self, service: Connection, linger: float = LINGER) -> None:
        self._service = service
        self._linger = linger
        self._sessions: dict[str, _RemoteSession] = {}
        self._closed = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serves one connection of a client, `/v1/session`."""
        if self._closed:
            raise web.HTTPServiceUnavailable(text="the server is ending")
        session_id, received = request.query.get("session", ""), request.query.get("received", "")
        if not _ID.fullmatch(session_id) or not received.isdecimal() or len(received) > 18:
            raise web.HTTPBadRequest(text="session= and received= are missing, or make no sense")
        if request.headers.get("Upgrade") != UPGRADE:
            raise web.HTTPUpgradeRequired(text=f"this is for clients, which ask for the upgrade to {UPGRADE}")
        known = self._sessions.get(session_id)
        if known is None and len(self._sessions) >= MAX_SESSIONS:
            raise web.HTTPServiceUnavailable(text="there are too many sessions")
        remote = self._sessions[session_id] = known or _RemoteSession(self._service)
        if remote.expiry is not None:
            remote.expiry.cancel()
            remote.expiry = None
        remote.session.hang_up()  # Nothing comes over an earlier connection behind the count of what has come.
        welcome = Welcome(known is not None, remote.session.received, PROTOCOL_VERSION)
        return await self._serve(session_id, remote, 0 if known is None else int(received), welcome, request)

    async def close(self) -> None:
        """Ends all sessions and their connections."""
        self._closed = True
        for session_id, remote in list(self._sessions.items()):
            # What comes after this is for the server that is started next.
            remote.session.hang_up()
            self._end(session_id)

    async def _serve(
        self, session_id: str, remote: _RemoteSession, received: int, welcome: Welcome, request: web.Request
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            status=101,
            headers={
                "Connection": "Upgrade",
                "Upgrade": UPGRADE,
                WELCOME_HEADER: msgspec.json.encode(welcome).decode(),
            },
        )
        response.force_close()
        try:
            await response.prepare(request)
            transport = request.transport
            if transport is not None:  # else the client has gone already
                assert isinstance(transport, asyncio.Transport)
                await remote.session.serve(transport, received)
        except ProtocolError as error:
            logger.warning("session %s is ended: %s", session_id, error)
            self._end(session_id)  # On another connection the same bytes would come again.
        except OSError as error:
            logger.info("the connection of session %s broke: %s", session_id, error)
        finally:
            if remote.session.over:
                self._end(session_id)
            elif self._sessions.get(session_id) is remote and not remote.session.connected:
                loop = asyncio.get_running_loop()
                remote.expiry = loop.call_later(self._linger, self._end, session_id)
        return response

    def _end(self, session_id: str) -> None:
        remote: Any = self._sessions.pop(session_id, None)
        if remote is not None:
            if remote.expiry is not None:
                remote.expiry.cancel()
            remote.answers.close()
