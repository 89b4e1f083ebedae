"""The placer of a cluster, where no Ray is needed for it."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from modal_lite._core.driver_messages import Remove
from modal_lite._core.messages import FromContainer
from modal_lite._core.placed_messages import LINK, Ended, ToHost
from modal_lite._placement.ray_placer import ClusterSettings, RayPlacer
from modal_lite._placement.remote_container import RemoteContainer
from modal_lite._transport.channel import Channel
from tests.worker.harness import container_spec


class Placed:
    """A placer whose process for Ray is not there, and its only container, whose host is connected."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exits: list[tuple[str, int | None, str]] = []
        self.exited = asyncio.Event()
        settings = ClusterSettings("auto", "modal-lite", "http://127.0.0.1:1", None, Path("/no/such/snapshots"))
        self.placer = RayPlacer(self._note_exit, lambda event: None, lambda container_id, text: None, settings)
        self.asked: list[Any] = []
        """Of the process that speaks with Ray."""
        monkeypatch.setattr(self.placer.driver, "send", self.asked.append)
        self.container: RemoteContainer = self.placer.start(container_spec("ta-1", "same"))
        self.container.open_data(FromContainer, lambda message, body: None, lambda error: None)
        ours, theirs = socket.socketpair()
        self.placer.connected("ta-1", LINK, ours)
        self.cut = asyncio.Event()
        self.host = Channel(theirs, ToHost, lambda message, body: None, lambda error: self.cut.set())

    def _note_exit(self, container_id: str, status: int | None, reason: str) -> None:
        self.exits.append((container_id, status, reason))
        self.exited.set()


async def test_a_container_that_the_plane_has_given_up_is_forgotten_and_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    placed = Placed(monkeypatch)
    placed.container.close()
    # The host ends the container, and itself, when it sees that.
    await asyncio.wait_for(placed.cut.wait(), 20)
    assert placed.placer.containers == {}
    assert placed.asked == [Remove("ta-1")]
    # There is nothing to wait for.
    await asyncio.wait_for(placed.placer.close(grace=1000.0), 20)
    assert placed.exits == []


async def test_a_container_that_has_ended_is_told_of_and_removed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    placed = Placed(monkeypatch)
    placed.host.send(Ended(-9, "", None))
    await asyncio.wait_for(placed.exited.wait(), 20)
    placed.container.close()
    await asyncio.wait_for(placed.cut.wait(), 20)
    await asyncio.wait_for(placed.placer.close(grace=1000.0), 20)
    assert placed.exits == [("ta-1", -9, "")]
    assert placed.asked == [Remove("ta-1")]
