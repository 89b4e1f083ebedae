"""What clients send that makes no sense: their connection is closed with a reason, the others go on."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modal_lite._core.client_messages import Ask, Withdraw
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import DONE, GetStats, Hello
from modal_lite._server import remote_sessions
from modal_lite._server.remote_sessions import RemoteSessions
from modal_lite._transport.frames import MAX_BODY, MAX_MESSAGE, PREFIX, encode

EVERY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Service:
    """Answers Hello, and leaves everything else open."""

    async def request(self, request: Any, payload: Payload = EMPTY) -> Any:
        if not isinstance(request, Hello):
            await asyncio.Event().wait()
        return DONE

    def run(self, request: Any, payload: Payload, on_end: Any) -> Callable[[], None]:
        return lambda: None

    def notify(self, request: Any) -> None:
        pass


class Sessions:
    """The sessions of a server that listens, and clients that say what they like."""

    def __init__(self) -> None:
        self.sessions = RemoteSessions(Service())  # type: ignore[arg-type]
        application = web.Application()
        application.add_routes([web.get("/v1/session", self.sessions.handle)])
        self.server = TestServer(application)
        self.number = 0

    async def say(self, *messages: bytes | str, patience: float = 20.0) -> Any:
        """Sends this, on a connection of its own; gives what comes back, an answer or the end. None: nothing."""
        self.number += 1
        url = f"{self.server.make_url('/v1/session')}?session=cs-{self.number:016x}&received=0"
        async with aiohttp.ClientSession() as http, http.ws_connect(url) as line:
            await line.receive()  # the welcome
            for message in messages:
                await (line.send_str(message) if isinstance(message, str) else line.send_bytes(message))
            await line.send_bytes(b"".join(map(bytes, encode(Ask(1 << 40, Hello(), ())))))
            try:
                async with asyncio.timeout(patience):
                    answer = await line.receive()
            except TimeoutError:
                return None
            return SimpleNamespace(type=answer.type, code=line.close_code, text=answer.extra)


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    made = Sessions()
    await made.server.start_server()
    yield made
    await made.sessions.close()
    await made.server.close()


def whole(*frames: Any) -> bytes:
    return b"".join(bytes(part) for frame in frames for part in encode(frame))


frames = st.one_of(
    st.binary(max_size=80),
    st.builds(
        lambda message, body: PREFIX.pack(*message) + body,
        st.tuples(st.integers(0, 40), st.integers(0, 40)),
        st.binary(max_size=80),
    ),
    st.builds(lambda number: whole(Ask(number, GetStats("fu-1"), ())), st.integers(0, 3)),
    st.builds(lambda number: whole(Withdraw(number)), st.integers(-3, 3)),
    st.text(max_size=8),
)


def test_anything(caplog: pytest.LogCaptureFixture) -> None:
    """It is answered, waited for the rest of, or closed as the protocol says; nothing is logged as a fault."""
    loop = asyncio.new_event_loop()
    faults: list[Any] = []
    loop.set_exception_handler(lambda loop, context: faults.append(context))
    sessions = loop.run_until_complete(started())

    @EVERY
    @given(st.lists(frames, min_size=1, max_size=5))
    def say(messages: list[bytes | str]) -> None:
        ended = loop.run_until_complete(sessions.say(*messages, patience=0.2))
        assert (
            ended is None
            or ended.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT)
            or ended.code
            in (
                WSCloseCode.PROTOCOL_ERROR,
                WSCloseCode.MESSAGE_TOO_BIG,
            )
        )

    try:
        say()
        answered = loop.run_until_complete(sessions.say())
        assert answered.type == aiohttp.WSMsgType.BINARY
    finally:
        loop.run_until_complete(sessions.sessions.close())
        loop.run_until_complete(sessions.server.close())
        loop.close()
    assert not faults and not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def started() -> Sessions:
    made = Sessions()
    await made.server.start_server()
    return made


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (PREFIX.pack(MAX_MESSAGE + 1, 0), "over the limit"),
        (PREFIX.pack(1, MAX_BODY + 1) + b"x", "over the limit"),
        (PREFIX.pack(1, 0) + b"\xc1", "not of this channel"),
        (whole(Ask(1, Hello(), (5,))), "a body of 0 bytes"),
        ("5", "5 frames acknowledged, of 0"),
        ("²", "is no count of frames"),
    ],
)
async def test_the_reason_is_said(sessions: Sessions, message: bytes | str, reason: str) -> None:
    ended = await sessions.say(message)
    assert ended.code == WSCloseCode.PROTOCOL_ERROR and re.search(reason, ended.text)
    async with asyncio.timeout(10):
        while sessions.sessions._sessions:  # It has no session to come back to.
            await asyncio.sleep(0.01)


async def test_a_message_that_is_too_large(sessions: Sessions) -> None:
    ended = await sessions.say(b"x" * (1 << 20))
    assert ended.code == WSCloseCode.MESSAGE_TOO_BIG


async def test_more_sessions_than_there_can_be(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_sessions, "MAX_SESSIONS", 0)
    url = f"{sessions.server.make_url('/v1/session')}?session=cs-{5:016x}&received=0"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as line:
        ended = await line.receive()
    assert line.close_code == WSCloseCode.TRY_AGAIN_LATER and ended.extra == "too many sessions"


async def test_more_requests_than_a_client_can_have(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_sessions, "MAX_REQUESTS", 2)
    requests = [whole(Ask(number, GetStats("fu-1"), ())) for number in range(3)]
    url = f"{sessions.server.make_url('/v1/session')}?session=cs-{6:016x}&received=0"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as line:
        await line.receive()
        for request in requests:
            await line.send_bytes(request)
        assert b"This client has 2 requests open" in (await line.receive()).data


@pytest.mark.parametrize(
    "query", ["", "session=x&received=0", "session=cs-0000000000000000", "session=../x&received=0"]
)
async def test_no_session_without_its_id(sessions: Sessions, query: str) -> None:
    url = f"{sessions.server.make_url('/v1/session')}?{query}"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 400
