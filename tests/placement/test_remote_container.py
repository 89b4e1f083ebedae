"""The plane's end of a container on another machine."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from modal_lite._core.driver_messages import Demand
from modal_lite._core.messages import FromContainer, FromContainerControl
from modal_lite._core.placed_messages import LINK, Arrived, Ended, ToHost, Wrote
from modal_lite._placement.remote_container import RemoteContainer
from modal_lite._server.logs import OutputFeed
from modal_lite._transport.channel import Channel
from tests.worker.harness import container_spec

LINES = [f"line {number:6} {'x' * 100}" for number in range(20_000)]


class Owner:
    """Notes what a container reports to it."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.over = asyncio.Event()

    def arrived(self, container: RemoteContainer, arrived: Arrived) -> None:
        self.told.append(arrived)

    def wants_source(self, container: RemoteContainer) -> None:
        self.told.append("wants source")

    def ended(self, container: RemoteContainer, status: int | None, reason: str) -> None:
        self.told.append((status, reason))
        self.over.set()

    def given_up(self, container: RemoteContainer) -> None:
        self.told.append("given up")


class Placed:
    """A container whose host is connected, and the host's end of that."""

    def __init__(self) -> None:
        self.owner = Owner()
        self.container = RemoteContainer(container_spec("ta-1", "same"), Demand(0.0, 0, 0, {}, True), self.owner)
        self.container.open_data(FromContainer, lambda message, body: None, lambda error: None)
        self.container.open_control(FromContainerControl, lambda message, body: None, lambda error: None)
        ours, theirs = socket.socketpair()
        self.container.connected(LINK, ours)
        self.host = Channel(theirs, ToHost, lambda message, body: None, lambda error: None)


@pytest.fixture
async def placed() -> AsyncIterator[Placed]:
    placed = Placed()
    yield placed
    placed.host.close()
    placed.container.close()


async def test_nothing_of_its_output_is_lost_when_it_ends(placed: Placed) -> None:
    lines: list[str] = []
    output = OutputFeed(lambda some, transient: lines.extend(some))
    placed.container.open_output(lambda error, data: output.feed(data))
    data = "\n".join(LINES).encode()
    for start in range(0, len(data), 32 << 10):
        placed.host.send(Wrote(False, data[start : start + (32 << 10)]))
    placed.host.send(Ended(1, "", None))
    await asyncio.wait_for(placed.owner.over.wait(), 20)
    # At once, as the plane does.
    output.close()
    placed.container.close()
    assert lines == LINES
    assert placed.owner.told == [(1, "")]


async def test_its_owner_knows_when_the_plane_gives_it_up(placed: Placed) -> None:
    placed.container.close()
    placed.container.close()
    assert placed.owner.told == ["given up"]


async def test_its_connections_are_all_the_descriptors_that_it_takes(placed: Placed) -> None:
    before = psutil.Process().num_fds()
    another = RemoteContainer(container_spec("ta-2", "same"), Demand(0.0, 0, 0, {}, True), placed.owner)
    another.open_output(lambda error, data: None)
    try:
        assert psutil.Process().num_fds() <= before
    finally:
        another.close()
