"""What clients send that makes no sense: their session is ended, the log says why, the others go on."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modal_lite._core.address import Address
from modal_lite._core.client_messages import Answer, Ask, ToClient, Withdraw
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import DONE, GetStats, Hello, Refusal
from modal_lite._server import remote_sessions
from modal_lite._server.remote_sessions import RemoteSessions
from modal_lite._transport.frames import MAX_BODY, MAX_MESSAGE, PREFIX, FrameDecoder, encode
from modal_lite._transport.session import Received
from modal_lite._transport.upgrade import RefusedError, open_connection

EVERY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LAST = 1 << 40


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


class Reader(asyncio.Protocol):
    """Reads answers from a connection."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[Answer | None] = asyncio.Queue()
        self._decoder = FrameDecoder(ToClient | Received)

    def data_received(self, data: bytes) -> None:
        for message, _ in self._decoder.feed(data):
            if isinstance(message, Answer):
                self.answers.put_nowait(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self.answers.put_nowait(None)


class Sessions:
    """The sessions of a server that listens, and clients that say what they like."""

    def __init__(self) -> None:
        self.sessions = RemoteSessions(Service())  # type: ignore[arg-type]
        application = web.Application()
        application.add_routes([web.get("/v1/session", self.sessions.handle)])
        self.runner = web.AppRunner(application)
        self.url = ""
        self.number = 0

    async def start(self) -> None:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        host, port = self.runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def close(self) -> None:
        await self.sessions.close()
        await self.runner.cleanup()

    async def say(self, *messages: bytes, patience: float = 20.0) -> Answer | None:
        """Sends this and a request more, on a connection of its own; gives the first answer. None: its end.

        Raises:
            TimeoutError: Neither comes.
        """
        self.number += 1
        address = Address(self.url, None, self.url, None)
        opened = await open_connection(address, f"cs-{self.number:016x}", 0)
        reader = Reader()
        opened.transport.set_protocol(reader)
        opened.transport.resume_reading()
        try:
            opened.transport.write(b"".join(messages) + whole(Ask(LAST, Hello(), ())))
            async with asyncio.timeout(patience):
                return await reader.answers.get()
        finally:
            opened.transport.abort()


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    made = await started()
    yield made
    await made.close()


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
    st.builds(lambda count: whole(Received(count)), st.integers(-3, 3)),
)


def test_anything(caplog: pytest.LogCaptureFixture) -> None:
    """It is answered, waited for the rest of, or the connection closed; nothing is logged as a fault."""
    faults: list[Any] = []
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: faults.append(context))
        sessions = runner.run(started())

        @EVERY
        @given(st.lists(frames, min_size=1, max_size=5))
        def say(messages: list[bytes]) -> None:
            try:
                runner.run(sessions.say(*messages, patience=0.2))
            except TimeoutError:
                pass  # It waits for the rest.

        try:
            say()
            assert runner.run(sessions.say()) == Answer(LAST, DONE)
        finally:
            runner.run(sessions.close())
    assert not faults and not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def started() -> Sessions:
    made = Sessions()
    await made.start()
    return made


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (PREFIX.pack(MAX_MESSAGE + 1, 0), "over the limit"),
        (PREFIX.pack(1, MAX_BODY + 1) + b"x", "over the limit"),
        (PREFIX.pack(1, 0) + b"\xc1", "not of this channel"),
        (whole(Ask(1, Hello(), (5,))), "a body of 0 bytes"),
        (whole(Received(5)), "5 frames acknowledged, of 0"),
        (whole(*[Ask(1, GetStats("fu-1"), ())] * 2), "request 1 is under way already"),
    ],
)
async def test_the_reason_is_said(
    sessions: Sessions, caplog: pytest.LogCaptureFixture, message: bytes, reason: str
) -> None:
    assert await sessions.say(message) is None
    async with asyncio.timeout(10):
        while sessions.sessions._sessions:  # It has no session to come back to.
            await asyncio.sleep(0.01)
    assert reason in caplog.text and "is ended" in caplog.text


async def test_more_sessions_than_there_can_be(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_sessions, "MAX_SESSIONS", 0)
    with pytest.raises(RefusedError, match="503"):
        await sessions.say()


async def test_more_requests_than_a_client_can_have(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_sessions, "MAX_REQUESTS", 2)
    answer = await sessions.say(*[whole(Ask(number, GetStats("fu-1"), ())) for number in range(3)])
    assert answer is not None and answer.number == 2
    assert isinstance(answer.reply, Refusal) and "This client has 2 requests open" in answer.reply.message


@pytest.mark.parametrize(
    "query", ["", "session=x&received=0", "session=cs-0000000000000000", "session=../x&received=0"]
)
async def test_no_session_without_its_id(sessions: Sessions, query: str) -> None:
    url = f"{sessions.url}/v1/session?{query}"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 400
