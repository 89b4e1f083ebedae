"""Connections that containers on other machines, and their hosts, open to the server."""

import asyncio
import os
import socket
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from modal_lite._core.placed_messages import CHANNEL_HEADER, CONTAINER_HEADER
from modal_lite._server.api import ClusterView, NodeView, PendingView
from modal_lite._transport.upgrade import UPGRADE
from modal_lite.exception import NotFoundError

if TYPE_CHECKING:
    from modal_lite._placement.ray_placer import RayPlacer


class Arrivals:
    """Hands them to the placer that awaits them, and tells of the machines that they come from.

    Attributes:
        placer: That; None if containers run here.
    """

    def __init__(self) -> None:
        self.placer: RayPlacer | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serves `CONTAINER_PATH`. The key of the connection, which is of no use for anything else, admits it."""
        container_id = request.headers.get(CONTAINER_HEADER, "")
        channel = request.headers.get(CHANNEL_HEADER, "")
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if request.headers.get("Upgrade") != UPGRADE:
            raise web.HTTPUpgradeRequired(text=f"this is for containers, which ask for the upgrade to {UPGRADE}")
        if self.placer is None or not self.placer.admits(container_id, channel, key):
            raise web.HTTPForbidden(text="no such container is awaited")
        response = web.StreamResponse(status=101, headers={"Connection": "Upgrade", "Upgrade": UPGRADE})
        response.force_close()
        await response.prepare(request)
        transport = request.transport
        if transport is not None:  # else it has gone already
            assert isinstance(transport, asyncio.Transport)
            self.placer.connected(container_id, channel, _taken_over(transport))
        return response

    def view(self) -> ClusterView:
        """The cluster as it is at the moment. Raises NotFoundError if there is none."""
        placer = self.placer
        if placer is None:
            raise NotFoundError(
                "This server runs containers on its own machine. Start it with MODAL_LITE_PLACER=ray to use a cluster."
            )
        placed = [each for each in placer.containers.values() if each.placed_at is not None]
        on_nodes = Counter(container.node_id for container in placed)
        now = asyncio.get_running_loop().time()
        return ClusterView(
            placer.settings.address,
            placer.settings.url,
            placer.driver.connected,
            placer.driver.trouble,
            [NodeView(**msgspec.structs.asdict(node), containers=on_nodes[node.node_id]) for node in placer.nodes],
            len(placed),
            [
                PendingView(each.container_id, each.spec.tag, round(now - each.since, 1), each.reason)
                for each in placer.containers.values()
                if each.placed_at is None
            ],
        )


def _taken_over(transport: asyncio.Transport) -> socket.socket:
    """The connection, of which the transport and whoever uses it know nothing any more.

    The other side sends nothing before it has the answer, which is small enough to be on its way.
    """
    transport.pause_reading()
    sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    sock.setblocking(False)
    transport.abort()
    return sock
