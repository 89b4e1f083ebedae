"""Both channels over real sockets."""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from modal_lite._core.messages import FromContainer, Outputs, Ready, Returned
from modal_lite._core.payload import Payload
from modal_lite._transport.blocking import BlockingChannel, ConnectionClosed
from modal_lite._transport.channel import Channel
from modal_lite._transport.frames import ProtocolError
from modal_lite._transport.shared_memory import LARGEST, SharedMemory, shared_file

LARGE = 5_000_000


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)
    with ours, theirs:
        yield ours, theirs


class Received:
    """What a channel says, and a future for its end."""

    def __init__(self) -> None:
        self.messages: list[tuple[Any, bytes]] = []
        self.arrived = asyncio.Event()
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def message(self, message: Any, body: memoryview) -> None:
        self.messages.append((message, bytes(body)))
        self.arrived.set()

    async def wait(self, count: int) -> list[tuple[Any, bytes]]:
        async with asyncio.timeout(10):
            while len(self.messages) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.messages


def _outputs(parts: list[bytes]) -> tuple[Outputs, Payload]:
    sizes = tuple(map(len, parts))
    return Outputs(1, 0, 1, 0.0, sizes), Payload(sizes, list(parts))


PAYLOADS = [[b"small"], [b"x" * LARGE], [b"y" * 100, b"", b"z" * LARGE], [bytes([i % 256]) * 10 for i in range(2000)]]


def test_blocking_channels_speak_with_each_other(sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = (BlockingChannel(sock, FromContainer) for sock in sockets)

    def send() -> None:
        theirs.send(Ready(5))
        for parts in PAYLOADS:
            theirs.send(*_outputs(parts))

    sender = threading.Thread(target=send)
    sender.start()
    assert ours.recv()[0] == Ready(5)
    for parts in PAYLOADS:
        message, body = ours.recv()
        assert message.sizes == tuple(map(len, parts))
        assert bytes(body) == b"".join(parts)
    sender.join()
    assert not ours.buffered


def test_frames_of_several_threads_do_not_mix(sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = (BlockingChannel(sock, FromContainer) for sock in sockets)

    def send(number: int) -> None:
        for _ in range(20):
            theirs.send(*_outputs([bytes([number]) * 50_000, bytes([number]) * 50_000]))

    senders = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for sender in senders:
        sender.start()
    for _ in range(80):
        body = bytes(ours.recv()[1])
        assert body == body[:1] * 100_000
    for sender in senders:
        sender.join()


def test_blocking_channel_tells_the_end(sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = (BlockingChannel(sock, FromContainer) for sock in sockets)
    theirs.send(Ready(1))
    theirs.close()
    assert ours.recv()[0] == Ready(1)
    with pytest.raises(ConnectionClosed):
        ours.recv()
    with pytest.raises(ConnectionClosed):
        ours.send(*_outputs([b"x"]))


async def test_channel_sends_what_the_socket_does_not_take_at_once(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = sockets
    received = Received()
    channel = Channel(ours, FromContainer, received.message, received.ended.set_result)
    for parts in PAYLOADS:
        channel.send(*_outputs(parts))
    channel.send(Returned(1, 2))
    assert channel.unsent > 0
    peer = BlockingChannel(theirs, FromContainer)
    for parts in PAYLOADS:
        _, body = await asyncio.to_thread(peer.recv)
        assert bytes(body) == b"".join(parts)
    assert (await asyncio.to_thread(peer.recv))[0] == Returned(1, 2)
    assert channel.unsent == 0
    channel.close()
    channel.close()
    assert channel.closed


async def test_channel_receives_in_order(sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = sockets
    received = Received()
    channel = Channel(ours, FromContainer, received.message, received.ended.set_result)
    peer = BlockingChannel(theirs, FromContainer)

    def send() -> None:
        for parts in PAYLOADS:
            peer.send(*_outputs(parts))
        peer.close()

    await asyncio.to_thread(send)
    found = await received.wait(len(PAYLOADS))
    assert [body for _, body in found] == [b"".join(parts) for parts in PAYLOADS]
    assert await received.ended is None
    assert channel.closed
    channel.send(Ready(1))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no files in memory only")
async def test_channels_that_share_memory_keep_the_order(sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = sockets
    fd = shared_file()
    assert fd is not None
    memory, their_memory = SharedMemory(fd, first=True), SharedMemory(fd, first=False)
    os.close(fd)
    received = Received()
    channel = Channel(ours, FromContainer, received.message, received.ended.set_result, memory)
    peer = BlockingChannel(theirs, FromContainer, their_memory)
    sent = [bytes([i]) * size for i in range(20) for size in (10, LARGE, LARGEST + 1)]

    def echo() -> None:
        for _ in sent:
            message, body = peer.recv()
            peer.send(message, Payload(message.sizes, [body]))

    for body in sent:
        channel.send(*_outputs([body]))
    await asyncio.to_thread(echo)
    assert [body for _, body in await received.wait(len(sent))] == sent
    channel.close()
    memory.close()
    their_memory.close()


async def test_channel_ends_with_what_broke_it(sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = sockets
    received = Received()
    Channel(ours, FromContainer, received.message, received.ended.set_result)
    theirs.send(b"\xff" * 100)
    async with asyncio.timeout(10):
        assert isinstance(await received.ended, ProtocolError)
    assert received.messages == []


async def test_channel_may_be_closed_by_the_message_it_passes_on(sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = sockets
    seen: list[Any] = []

    def close(message: Any, body: memoryview) -> None:
        seen.append(message)
        channel.close()

    channel = Channel(ours, FromContainer, close, lambda error: seen.append(error))
    peer = BlockingChannel(theirs, FromContainer)
    peer.send(Ready(1))
    peer.send(Ready(2))
    async with asyncio.timeout(10):
        while not seen:
            await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    assert seen == [Ready(1)]
