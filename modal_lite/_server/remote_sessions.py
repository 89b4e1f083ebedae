"""Clients elsewhere: their sessions, which outlive their connections for a while."""

import asyncio
import logging
import re
from typing import Any

import msgspec
from aiohttp import WSCloseCode, web

from modal_lite._core.client_messages import Answer, Ask, FromClient
from modal_lite._core.interfaces import Connection
from modal_lite._core.messages import PROTOCOL_VERSION
from modal_lite._core.requests import Refusal
from modal_lite._server.sessions import Answers
from modal_lite._transport.frames import ProtocolError
from modal_lite._transport.server_channel import PATIENCE, Welcome
from modal_lite._transport.session import PIECE, Session

logger = logging.getLogger("modal_lite.server")

LINGER = PATIENCE + 5.0
"""Seconds that a session without a connection is kept."""
MAX_SESSIONS = 10_000
MAX_REQUESTS = 500_000
"""Requests of one client that may be open."""
_HEARTBEAT = 20.0
_ID = re.compile(r"cs-[0-9a-f]{16,64}")


class _RemoteSession:
    """One client's session."""

    def __init__(self, service: Connection) -> None:
        self.session = Session(FromClient, self._received)
        self.answers = Answers(service, self.session.send)
        self.expiry: asyncio.TimerHandle | None = None

    def _received(self, message: Any, body: memoryview) -> None:
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
        self._web_sockets: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serves one connection of a client, `/v1/session`."""
        if self._closed:
            raise web.HTTPServiceUnavailable(text="the server is ending")
        session_id, received = request.query.get("session", ""), request.query.get("received", "")
        if not _ID.fullmatch(session_id) or not received.isdecimal() or len(received) > 18:
            raise web.HTTPBadRequest(text="session= and received= are missing, or make no sense")
        web_socket = web.WebSocketResponse(max_msg_size=2 * PIECE, compress=False, heartbeat=_HEARTBEAT)
        await web_socket.prepare(request)
        self._web_sockets.add(web_socket)
        try:
            await self._serve(session_id, int(received), web_socket)
        finally:
            self._web_sockets.discard(web_socket)
        return web_socket

    async def close(self) -> None:
        """Ends all sessions and their connections."""
        self._closed = True
        for session_id, remote in list(self._sessions.items()):
            # What comes after this is for the server that is started next.
            remote.session.hang_up()
            self._end(session_id)
        for web_socket in list(self._web_sockets):
            await web_socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server is ending")

    async def _serve(self, session_id: str, received: int, web_socket: web.WebSocketResponse) -> None:
        known = self._sessions.get(session_id)
        if known is None:
            if len(self._sessions) >= MAX_SESSIONS:
                await web_socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"too many sessions")
                return
            remote = self._sessions[session_id] = _RemoteSession(self._service)
            received = 0
        else:
            remote = known
        if remote.expiry is not None:
            remote.expiry.cancel()
            remote.expiry = None
        welcome = Welcome(known is not None, remote.session.received, PROTOCOL_VERSION)
        left = False
        try:
            await web_socket.send_str(msgspec.json.encode(welcome).decode())
            await remote.session.serve(web_socket, received)
            left = web_socket.close_code == WSCloseCode.OK
        except ProtocolError as error:
            left = True  # On another connection the same bytes would come again.
            await web_socket.close(code=WSCloseCode.PROTOCOL_ERROR, message=str(error).encode()[:100])
        except OSError as error:
            logger.info("the connection of session %s broke: %s", session_id, error)
        finally:
            if left:
                self._end(session_id)
            elif self._sessions.get(session_id) is remote and not remote.session.connected:
                loop = asyncio.get_running_loop()
                remote.expiry = loop.call_later(self._linger, self._end, session_id)

    def _end(self, session_id: str) -> None:
        remote: Any = self._sessions.pop(session_id, None)
        if remote is not None:
            if remote.expiry is not None:
                remote.expiry.cancel()
            remote.answers.close()
