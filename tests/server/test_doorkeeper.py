"""Connections that never get to a request, and more of them than there can be."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from modal_lite._core.tokens import Tokens
from modal_lite._server.doorkeeper import Doorkeeper

TOKEN = "t" * 40
HEADERS = f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()


class Door:
    """A server that answers after a while, and its doorkeeper."""

    def __init__(self, tokens: Tokens) -> None:
        self.keeper = Doorkeeper(tokens, TOKEN, request_wait=0.3, max_connections=3)
        self.open = asyncio.Event()
        application = web.Application()
        application.add_routes([web.get("/", self.handle)])
        self.server = TestServer(application)

    async def handle(self, request: web.Request) -> web.Response:
        if not self.keeper.admits(request):
            return web.Response(status=401)
        await self.open.wait()
        return web.Response(text="answered")

    async def connect(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(data)
        await writer.drain()
        return reader, writer


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    made = Door(Tokens(tmp_path / "tokens.json"))
    await made.server.start_server()
    runner = made.server.runner
    watching = asyncio.create_task(
        made.keeper.watch(lambda: [] if runner.server is None else runner.server.connections, 0.05)  # type: ignore[union-attr]
    )
    yield made
    watching.cancel()
    made.open.set()
    await made.server.close()


async def end_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_silence_and_slowness_are_not_waited_for(door: Door) -> None:
    """A request that is complete may take as long as it likes."""
    patient, patient_writer = await door.connect(HEADERS + b"\r\n")
    silent, silent_writer = await door.connect()
    slow, slow_writer = await door.connect()

    async def dribble() -> None:
        for byte in HEADERS:
            slow_writer.write(bytes([byte]))
            await asyncio.sleep(0.05)

    dribbling = asyncio.create_task(dribble())
    assert await end_of(silent) == await end_of(slow) == b""
    dribbling.cancel()
    await asyncio.sleep(0.4)
    door.open.set()
    async with asyncio.timeout(10):
        assert b"200 OK" in await patient.readline()
    for writer in (patient_writer, silent_writer, slow_writer):
        writer.close()


async def test_more_connections_than_there_can_be(door: Door) -> None:
    first = [await door.connect(HEADERS + b"\r\n") for _ in range(3)]
    await asyncio.sleep(0.2)
    newest, writer = await door.connect(HEADERS + b"\r\n")
    assert await end_of(newest) == b""
    door.open.set()
    for reader, each in first:
        async with asyncio.timeout(10):
            assert b"200 OK" in await reader.readline()
        each.close()
    writer.close()
