"""Conversations over connections that are cut again and again."""

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from modal_lite._core.payload import Payload
from modal_lite._transport.frames import ProtocolError
from modal_lite._transport.session import ACKNOWLEDGE_FRAMES, PIECE, Outgoing, Session


class Numbered(msgspec.Struct, frozen=True, array_like=True, tag=1):
    number: int
    sizes: tuple[int, ...] = ()


class Line:
    """One direction of a connection: a queue of messages that may be cut."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=3)

    def cut(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()  # what is on its way is lost
        self.queue.put_nowait(None)


class Socket:
    """A WebSocket in memory."""

    def __init__(self, out: Line, into: Line) -> None:
        self._out, self._into = out, into

    async def send_bytes(self, data: Any) -> None:
        assert len(data) <= PIECE
        await self._out.queue.put(bytes(data))

    async def send_str(self, data: str) -> None:
        await self._out.queue.put(data)

    async def receive(self) -> Any:
        return SimpleNamespace(data=await self._into.queue.get())


class Pair:
    """Two sides, and connections between them."""

    def __init__(self) -> None:
        self.got: list[list[Numbered]] = [[], []]
        self.bodies: list[bytes] = []
        self.sessions = [Session(Numbered, self._take(0)), Session(Numbered, self._take(1))]

    def _take(self, side: int) -> Any:
        def take(message: Numbered, body: memoryview) -> None:
            self.got[side].append(message)
            self.bodies.append(bytes(body))

        return take

    async def connect(self, lasts: float) -> None:
        """A connection that is cut after some seconds."""
        there, back = Line(), Line()
        counts = [session.received for session in self.sessions]
        async with asyncio.TaskGroup() as group:
            serving = [
                group.create_task(self.sessions[0].serve(Socket(there, back), counts[1])),
                group.create_task(self.sessions[1].serve(Socket(back, there), counts[0])),
            ]
            await asyncio.sleep(lasts)
            there.cut()
            back.cut()
            await asyncio.wait(serving)


@pytest.mark.parametrize("seed", range(5))
async def test_everything_arrives_once_and_in_order(seed: int) -> None:
    chance, pair, sent = random.Random(seed), Pair(), [0, 0]

    def send_some() -> None:
        for side in (0, 1):
            for _ in range(chance.randrange(40)):
                body = chance.randbytes(chance.choice([0, 10, 5_000, 600_000 if chance.random() < 0.05 else 1]))
                payload = Payload((len(body),), [body])
                pair.sessions[side].send(Numbered(sent[side], payload.sizes), payload)
                sent[side] += 1

    for _ in range(30):
        send_some()
        async with asyncio.TaskGroup() as group:
            connection = group.create_task(pair.connect(chance.random() * 0.004))
            await asyncio.sleep(chance.random() * 0.002)
            send_some()
            await connection
    await pair.connect(1.0)
    assert [[message.number for message in got] for got in pair.got] == [list(range(sent[1])), list(range(sent[0]))]
    assert sum(map(len, pair.bodies)) == sum(sum(m.sizes) for got in pair.got for m in got)


async def test_what_has_arrived_is_not_kept() -> None:
    pair = Pair()
    for number in range(3 * ACKNOWLEDGE_FRAMES):
        pair.sessions[0].send(Numbered(number))
    await pair.connect(0.1)
    assert len(list(pair.sessions[0]._outgoing)) < ACKNOWLEDGE_FRAMES


async def test_another_connection_takes_over() -> None:
    pair = Pair()
    old, new = Line(), Line()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(pair.sessions[0].serve(Socket(Line(), old), 0))
        await asyncio.sleep(0)
        second = group.create_task(pair.sessions[0].serve(Socket(Line(), new), 0))
        await asyncio.sleep(0)
        old.cut()
        await first
        assert pair.sessions[0].connected
        new.cut()
        await second
    assert not pair.sessions[0].connected


@pytest.mark.parametrize("text", ["x", "-1", "5", "9" * 30])
async def test_counts_that_make_no_sense(text: str) -> None:
    pair, into = Pair(), Line()
    await into.queue.put(text)
    with pytest.raises(ProtocolError):
        await pair.sessions[0].serve(Socket(Line(), into), 0)


def test_counts_never_go_back() -> None:
    outgoing = Outgoing()
    for _ in range(3):
        outgoing.add([b"x"])
    outgoing.acknowledged(2)
    with pytest.raises(ProtocolError):
        outgoing.acknowledged(1)
    with pytest.raises(ProtocolError):
        outgoing.acknowledged(4)
