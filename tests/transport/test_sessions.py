"""Conversations over connections that are cut again and again."""

import asyncio
import random
import socket
from typing import Any

import msgspec
import pytest

from modal_lite._core.payload import Payload
from modal_lite._transport import session
from modal_lite._transport.frames import ProtocolError, encode
from modal_lite._transport.session import ACKNOWLEDGE_FRAMES, Outgoing, Received, Session


class Numbered(msgspec.Struct, frozen=True, array_like=True, tag=1):
    number: int
    sizes: tuple[int, ...] = ()


async def transports() -> list[asyncio.Transport]:
    """Both ends of a connection."""
    loop, ends = asyncio.get_running_loop(), []
    for sock in socket.socketpair():
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
        transport.pause_reading()
        ends.append(transport)
    return ends


class Pair:
    """Two sides, and connections between them."""

    def __init__(self) -> None:
        self.got: list[list[Numbered]] = [[], []]
        self.bodies: list[bytes] = []
        self.errors: list[OSError] = []
        self.sessions = [Session(Numbered, self._take(0)), Session(Numbered, self._take(1))]

    def _take(self, side: int) -> Any:
        def take(message: Numbered, body: memoryview) -> None:
            self.got[side].append(message)
            self.bodies.append(bytes(body))

        return take

    async def connect(self, lasts: float) -> None:
        """A connection that is cut after some seconds."""
        ends = await transports()
        counts = [session.received for session in self.sessions]
        async with asyncio.TaskGroup() as group:
            serving = [group.create_task(self._serve(side, ends[side], counts[1 - side])) for side in (0, 1)]
            await asyncio.sleep(lasts)
            for end in ends:
                end.abort()  # what is on its way is lost
            await asyncio.wait(serving)

    async def _serve(self, side: int, transport: asyncio.Transport, count: int) -> None:
        try:
            await self.sessions[side].serve(transport, count)
        except OSError as error:
            self.errors.append(error)


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
    pair, old, new = Pair(), await transports(), await transports()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(pair.sessions[0].serve(old[0], 0))
        await asyncio.sleep(0)
        second = group.create_task(pair.sessions[0].serve(new[0], 0))
        await first
        assert pair.sessions[0].connected
        new[1].abort()
        await second
    old[1].abort()
    assert not pair.sessions[0].connected


async def test_what_came_with_the_answer_is_read() -> None:
    pair, ends = Pair(), await transports()
    frame = b"".join(encode(Numbered(7)))
    ends[1].write(frame[3:])
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(pair.sessions[0].serve(ends[0], 0, frame[:3]))
        while pair.got[0] != [Numbered(7)]:  # the timeout of tests ends it
            await asyncio.sleep(0.001)
        ends[1].abort()
        await serving


async def test_a_goodbye_ends_the_conversation() -> None:
    pair, ends = Pair(), await transports()
    async with asyncio.TaskGroup() as group:
        group.create_task(pair.sessions[0].serve(ends[0], 0))
        group.create_task(pair.sessions[1].serve(ends[1], 0))
        await asyncio.sleep(0)
        pair.sessions[0].send(Numbered(1))
        pair.sessions[0].leave()
    assert pair.sessions[1].over and not pair.sessions[0].over
    assert pair.got[1] == [Numbered(1)]


async def test_a_cut_network_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEARTBEAT", 0.01)
    ends = await transports()
    with pytest.raises(TimeoutError, match="nothing came"):
        await Pair().sessions[0].serve(ends[0], 0)
    ends[1].abort()


async def test_heartbeats_keep_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEARTBEAT", 0.01)
    pair = Pair()
    await pair.connect(0.2)
    assert pair.errors == []


@pytest.mark.parametrize("count", [-1, 5])
async def test_counts_that_make_no_sense(count: int) -> None:
    ends = await transports()
    ends[1].write(b"".join(encode(Received(count))))
    with pytest.raises(ProtocolError):
        await Pair().sessions[0].serve(ends[0], 0)
    ends[1].abort()


async def test_a_cancelled_conversation_closes_its_connection() -> None:
    pair, ends = Pair(), await transports()
    serving = asyncio.create_task(pair.sessions[0].serve(ends[0], 0))
    await asyncio.sleep(0)
    serving.cancel()
    await asyncio.wait([serving])
    assert ends[0].is_closing() and not pair.sessions[0].connected
    ends[1].abort()


def test_counts_never_go_back() -> None:
    outgoing = Outgoing()
    for _ in range(3):
        outgoing.add([b"x"])
    outgoing.acknowledged(2)
    with pytest.raises(ProtocolError):
        outgoing.acknowledged(1)
    with pytest.raises(ProtocolError):
        outgoing.acknowledged(4)
