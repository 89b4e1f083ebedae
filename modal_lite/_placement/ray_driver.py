"""The process that speaks with Ray for a server: `python -m modal_lite._placement.ray_driver FD`.

The server starts it, and starts it again when it ends, whatever Ray has done to it. It keeps nothing of its own: actors
are detached, and have the names of their containers, so that the next one finds them. It ends when the server does.
"""

import contextlib
import logging
import os
import queue
import re
import signal
import socket
import sys
import threading
import time
from concurrent.futures import Future
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayActorError

from modal_lite._core.driver_messages import (
    Connected,
    Known,
    Node,
    Nodes,
    NotStarted,
    Place,
    Remove,
    Started,
    ToDriver,
    Trouble,
)
from modal_lite._placement.ray_actor import ContainerActor
from modal_lite._transport.blocking import BlockingChannel, ConnectionClosed

LOOK = 1.0
"""Seconds between two looks at the cluster's machines."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_DIED = "The actor is dead because"
_BEGUN = "creation task"
"""Where an actor died of what its own constructor raised."""


class _Answered(NamedTuple):
    """An actor has said that its host is connected, or has failed."""

    container_id: str
    future: "Future[Any]"


class Driver:
    """Carries out what the server wants of Ray.

    Args:
        channel: The connection to the server.
        address: Of Ray.
        namespace: That of the server's actors.
        python: The interpreter for containers, on their machines; None for Ray's.
    """

    def __init__(self, channel: BlockingChannel, address: str, namespace: str, python: str | None) -> None:
        self._channel = channel
        self._address = address
        self._namespace = namespace
        self._python = python
        self._todo: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._actors: dict[str, Any] = {}
        self._known = Known("", [])
        self._class: Any = None

    def run(self) -> None:
        """Serves until the server is gone. Raises whatever Ray does."""
        known, _ = self._channel.recv()
        assert isinstance(known, Known)
        self._known = known
        threading.Thread(target=self._listen, daemon=True).start()
        ray.init(address=self._address, namespace=self._namespace, log_to_driver=False, logging_level=logging.ERROR)
        self._class = ray.remote(ContainerActor)
        self._clear()
        self._channel.send(Connected())
        due = 0.0
        while True:
            if (wait := due - time.monotonic()) <= 0:
                # However much there is to be done.
                self._look()
                due = time.monotonic() + LOOK
                continue
            with contextlib.suppress(queue.Empty):
                self._do(self._todo.get(timeout=wait))

    def _listen(self) -> None:
        try:
            while True:
                self._todo.put(self._channel.recv()[0])
        except ConnectionClosed:
            # What the server wanted before it ended is done first.
            self._todo.put(None)

    def _do(self, what: Any) -> None:
        match what:
            case Place():
                self._place(what)
            case Remove():
                self._remove(what.container_id)
            case _Answered():
                self._answered(what)
            case None:
                # Those that still wait for a place would wait for ever.
                for container_id in list(self._actors):
                    self._remove(container_id)
                raise ConnectionClosed("the server has ended")

    def _place(self, place: Place) -> None:
        container_id, demand = place.container_id, place.demand
        try:
            actor = self._find(container_id)
            if actor is None:
                actor = self._class.options(
                    name=container_id,
                    namespace=self._namespace,
                    lifetime="detached",
                    max_restarts=0,
                    max_task_retries=0,
                    num_cpus=demand.cpus,
                    num_gpus=demand.gpus,
                    memory=(demand.memory << 20) or None,
                    label_selector=demand.labels or None,
                    scheduling_strategy="SPREAD" if demand.spread else "DEFAULT",
                ).remote(container_id, place.token, self._known.url, self._python)
            self._actors[container_id] = actor
            future = actor.connected.remote().future()
        except ValueError as error:
            self._channel.send(NotStarted(container_id, str(error), lost=False))
            return
        future.add_done_callback(lambda done: self._todo.put(_Answered(container_id, done)))

    def _answered(self, answered: _Answered) -> None:
        container_id = answered.container_id
        if container_id not in self._actors:
            return  # It is not wanted any more.
        try:
            node_id = answered.future.result()
        except Exception as error:
            self._remove(container_id)
            self._channel.send(NotStarted(container_id, _explain(error), _is_lost(error)))
        else:
            self._channel.send(Started(container_id, node_id))

    def _remove(self, container_id: str) -> None:
        actor = self._actors.pop(container_id, None) or self._find(container_id)
        if actor is not None:
            ray.kill(actor, no_restart=True)

    def _find(self, container_id: str) -> Any:
        try:
            return ray.get_actor(container_id, namespace=self._namespace)
        except ValueError:
            return None

    def _clear(self) -> None:
        """Ends the actors of containers that nobody wants any more."""
        for name in ray.util.list_named_actors():
            if name not in self._known.container_ids:
                self._remove(name)

    def _look(self) -> None:
        nodes = [
            Node(
                node["NodeID"],
                node["NodeManagerAddress"],
                node["Resources"].get("CPU", 0.0),
                node["Resources"].get("GPU", 0.0),
                int(node["Resources"].get("memory", 0)) >> 20,
                node.get("Labels") or {},
            )
            for node in ray.nodes()
            if node["Alive"]
        ]
        self._channel.send(Nodes(nodes))


def _is_lost(error: Exception) -> bool:
    """True if the actor has ended through no doing of its own: with its machine, say."""
    return isinstance(error, RayActorError) and _BEGUN not in str(error)


def _explain(error: Exception) -> str:
    """What an actor has failed with, without the pages that Ray makes of it."""
    cause = getattr(error, "cause", None)
    if cause is not None:
        text = str(cause)
    else:
        lines = [line for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()] or [type(error).__name__]
        # The last line is the error that it began with, or else one of them says how the actor has died.
        begun = _BEGUN in lines[0]
        text = lines[-1] if begun else next((line for line in lines if line.startswith(_DIED)), lines[0])
    if "No module named" in text:
        text += " (each machine needs modal-lite, and what the functions import, for the Python that runs there)"
    return text


def _describe(error: BaseException) -> str:
    """Why Ray cannot be used."""
    text = f"{type(error).__name__}: {error}"
    before, traceback, _ = text.partition("Traceback (most recent call last)")
    if traceback:
        # Of another process: its last line says what it was.
        text = f"{before} {text.strip().splitlines()[-1]}"
    text = " ".join(text.split())
    if isinstance(error, ConnectionError) and "RAY_AUTH_MODE" not in os.environ:
        text += " (if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN)"
    return text


def main(fd: int, address: str, namespace: str, python: str | None) -> int:
    """Runs the driver on the socket that it inherited. Returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = BlockingChannel(socket.socket(fileno=fd), ToDriver)
    try:
        Driver(channel, address, namespace, python).run()
    except ConnectionClosed:
        return 0
    except BaseException as error:
        channel.send(Trouble(_describe(error)))
        return 1
    return 0


if __name__ == "__main__":
    status = main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] or None)
    # Ray's own end takes seconds where its head is gone.
    os._exit(status)
