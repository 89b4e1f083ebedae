"""Containers on the machines of a Ray cluster. Ray decides where each runs; all else goes between it and the server."""

import asyncio
import logging
import signal as signals
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from modal_lite._core.driver_messages import Connected, Known, Node, Nodes, NotStarted, Place, Remove, Started
from modal_lite._core.messages import PROTOCOL_VERSION, ContainerSpec
from modal_lite._core.placed_messages import BEAT, Arrived
from modal_lite._core.source_folder import digest_in, pack_folder
from modal_lite._placement.driver_process import DriverProcess
from modal_lite._placement.fitting import demand_of, why_waiting
from modal_lite._placement.forking import OnExit
from modal_lite._placement.remote_container import RemoteContainer
from modal_lite._scheduler import events
from modal_lite.exception import Error

logger = logging.getLogger("modal_lite.ray")

HELD_UP = 10.0
"""Seconds after which a container that has no place is reported, with the reason."""
ARRIVAL = 60.0
"""Seconds in which a container that has a place must have reached the server."""


class ClusterSettings(msgspec.Struct, frozen=True):
    """How a server uses a cluster."""

    address: str
    """Of Ray: `auto`, `host:port`."""
    namespace: str
    """That of this server's actors; no other server may have the same."""
    url: str
    """Where machines of the cluster find the server."""
    python: str | None
    """The interpreter for containers, on their machines; None for the one that runs Ray there."""
    snapshots: Path
    """The server's folder of source snapshots."""


class RayPlacer:
    """Implements `Placer`. All methods are called on one event loop.

    Args:
        on_exit: As that of `LocalPlacer`.
        report: Takes what the scheduler has to know of the cluster.
        settings: The cluster.
    """

    def __init__(
        self,
        on_exit: OnExit,
        report: Callable[[events.Event], None],
        tell: Callable[[str, str], None],
        settings: ClusterSettings,
    ) -> None:
        self.containers: dict[str, RemoteContainer] = {}
        self.nodes: list[Node] = []
        self._on_exit = on_exit
        self._report = report
        self._tell = tell
        self.settings = settings
        self._loop = asyncio.get_running_loop()
        words = [settings.address, settings.namespace, settings.python or ""]
        self.driver = DriverProcess(words, self._known, self._received, self._driver_lost)
        self._tasks: set[asyncio.Task[None]] = set()
        self._packed: tuple[str, asyncio.Task[bytes]] | None = None
        self._emptied = asyncio.Event()
        self._capacity = (0, 0)
        self._closed = False

    # --- the plane's side --------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begins to look for Ray, and does not wait for it."""
        self._own(self.driver.keep())
        self._own(self._look_after())

    def start(self, spec: ContainerSpec) -> RemoteContainer:
        """Asks for a container; returns at once.

        Raises:
            RuntimeError: The placer is closed.
        """
        if self._closed:
            raise RuntimeError("the placer is closed")
        # There is nothing on the other machine to fork it from.
        spec = msgspec.structs.replace(spec, snapshot=False)
        container = RemoteContainer(spec, demand_of(spec), self)
        self.containers[spec.container_id] = container
        self._place(container)
        self._loop.call_soon(self._report, events.ContainerAwaitsPlace(spec.container_id))
        return container

    def withdraw(self, container_id: str) -> bool:
        """Gives a container up whose host has not arrived; False if it may be running, or has ended."""
        container = self.containers.get(container_id)
        if container is None or container.linked:
            return False
        self._give_up(container, "it was ended before it had started")
        return True

    def kill(self, container_id: str, signal: int = signals.SIGKILL) -> None:
        """Sends a signal to the container. Nothing happens if it has ended."""
        container = self.containers.get(container_id)
        if container is not None and not self.withdraw(container_id):
            container.signal(signal)

    def forget(self, function_id: str) -> None:
        """Nothing is kept for a function."""

    async def close(self, grace: float) -> None:
        """Ends every container, and the process that speaks with Ray.

        Args:
            grace: Seconds that containers may take to end by themselves (they get SIGTERM) before they are killed.
        """
        self._closed = True
        try:
            for container_id in list(self.containers):
                self.kill(container_id, signals.SIGTERM)
            async with asyncio.timeout(grace):
                while self.containers:
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError:
            pass
        finally:
            # Hosts end their containers when their connections do.
            for container in list(self.containers.values()):
                self._give_up(container, "it was ended with its server")
            for task in list(self._tasks):
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    # --- connections from other machines -----------------------------------------------------------------------------

    def admits(self, container_id: str, channel: str, key: str) -> bool:
        """True if a connection for this is awaited, with this key; not again then."""
        container = self.containers.get(container_id)
        return container is not None and container.admits(channel, key)

    def connected(self, container_id: str, channel: str, sock: socket.socket) -> None:
        """A connection that was admitted is there."""
        container = self.containers.get(container_id)
        if container is None:
            sock.close()
        else:
            container.connected(channel, sock)

    def arrived(self, container: RemoteContainer, arrived: Arrived) -> None:
        """See `Owner`."""
        ours = f"{sys.version_info.major}.{sys.version_info.minor}"
        if (arrived.python, arrived.protocol) != (ours, PROTOCOL_VERSION):
            reason = (
                f"{arrived.hostname} has Python {arrived.python} and version {arrived.protocol} of the protocol, the "
                f"server {ours} and {PROTOCOL_VERSION}: install the same Python and modal-lite on both"
            )
            container.refuse(reason)
            self._give_up(container, reason)
            return
        self._has_place(container)
        digest = digest_in(container.spec, self.settings.snapshots)
        container.assign(digest, str(self.settings.snapshots / (digest or "")))

    def wants_source(self, container: RemoteContainer) -> None:
        """See `Owner`."""
        self._own(self._send_source(container))

    def ended(self, container: RemoteContainer, status: int | None, reason: str) -> None:
        """See `Owner`."""
        if self._drop(container):
            self._on_exit(container.container_id, status, reason)

    def given_up(self, container: RemoteContainer) -> None:
        """See `Owner`."""
        self._drop(container)

    async def _send_source(self, container: RemoteContainer) -> None:
        digest = digest_in(container.spec, self.settings.snapshots)
        assert digest is not None
        try:
            if self._packed is None or self._packed[0] != digest:
                # One for all that start together.
                packing = asyncio.to_thread(pack_folder, self.settings.snapshots / digest)
                self._packed = digest, self._loop.create_task(packing)
            container.give_source(await asyncio.shield(self._packed[1]))
        except (OSError, Error) as error:
            self._packed = None
            container.refuse(str(error))

    # --- Ray ---------------------------------------------------------------------------------------------------------

    def _known(self) -> Known:
        return Known(self.settings.url, list(self.containers))

    def _place(self, container: RemoteContainer) -> None:
        if self.driver.connected and not container.linked:
            self.driver.send(Place(container.container_id, container.demand, container.token))

    def _received(self, message: Any) -> None:
        match message:
            case Connected():
                logger.info("connected to Ray at %s", self.settings.address)
                # Those that it is placing already are found by their names.
                for container in self.containers.values():
                    self._place(container)
            case Nodes():
                self._count(message.nodes)
            case Started() | NotStarted():
                named = self.containers.get(message.container_id)
                if named is not None:
                    self._answered(named, message)

    def _answered(self, container: RemoteContainer, answer: Started | NotStarted) -> None:
        if isinstance(answer, Started):
            container.node_id = answer.node_id
            self._has_place(container)
        elif not container.linked:
            container.vanished = answer.lost
            self._give_up(container, f"it could not be started: {answer.reason}")

    def _driver_lost(self) -> None:
        self.nodes = []

    def _count(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        capacity = int(sum(node.cpus for node in nodes)), int(sum(node.gpus for node in nodes))
        if nodes and capacity != self._capacity:
            self._capacity = capacity
            self._report(events.CoresFound(capacity[0]))
            self._report(events.DevicesFound(capacity[1]))

    def _has_place(self, container: RemoteContainer) -> None:
        container.reason = ""
        if container.placed_at is None:
            container.placed_at = self._loop.time()
            self._report(events.ContainerPlaced(container.container_id))

    def _drop(self, container: RemoteContainer) -> bool:
        """Knows it no longer, and lets Ray end what it has started; False if that was done before."""
        if self.containers.pop(container.container_id, None) is None:
            return False
        self._emptied.set()
        self.driver.send(Remove(container.container_id))
        return True

    def _give_up(self, container: RemoteContainer, reason: str) -> None:
        """Takes the container for ended, and lets Ray end what it has started."""
        if not self._drop(container):
            return
        container.over = True
        self._loop.call_soon(self._on_exit, container.container_id, None, reason)

    async def _look_after(self) -> None:
        """Heartbeats, and a look at those that wait."""
        while True:
            await asyncio.sleep(BEAT)
            for container in list(self.containers.values()):
                container.beat()
                if not container.linked:
                    self._look_at(container)

    def _look_at(self, container: RemoteContainer) -> None:
        now = self._loop.time()
        if container.placed_at is not None:
            if now - container.placed_at > ARRIVAL:
                reason = f"it did not reach the server at {self.settings.url} within {ARRIVAL:g} seconds of its start"
                self._give_up(container, reason)
        elif now - container.since > HELD_UP:
            connected = self.driver.connected
            reason = why_waiting(container.demand, self.nodes) if connected else f"no Ray: {self.driver.trouble}"
            if reason != container.reason:
                container.reason = reason
                logger.warning("container %s of %s waits: %s", container.container_id, container.spec.tag, reason)
                self._tell(container.container_id, f"a container waits for its place: {reason}.")

    def _own(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a task of the placer failed", exc_info=error)
