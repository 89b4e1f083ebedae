"""The plane's ends of what connects it with a container on another machine."""

import asyncio
import hmac
import secrets
import socket
from collections.abc import Callable
from typing import Any, Protocol

from modal_lite._core.driver_messages import Demand
from modal_lite._core.interfaces import OnClose, OnMessage
from modal_lite._core.messages import ContainerSpec
from modal_lite._core.payload import Payload
from modal_lite._core.placed_messages import (
    CLIENT,
    CONTROL,
    DATA,
    LINK,
    SILENCE,
    Arrived,
    Assigned,
    Beat,
    Ended,
    FromHost,
    Refused,
    Signal,
    Source,
    WantSource,
    Wrote,
)
from modal_lite._transport.channel import Channel
from modal_lite._transport.dialing import prepare
from modal_lite._transport.late_channel import LateChannel

EXIT_WAIT = 2.0
"""Seconds; its results and how it ended come over different connections, the latter behind all that it has printed."""


class Owner(Protocol):
    """What a container reports to: its placer."""

    def arrived(self, container: "RemoteContainer", arrived: Arrived) -> None:
        """Its host has introduced itself."""

    def wants_source(self, container: "RemoteContainer") -> None:
        """Its host has not got the source."""

    def ended(self, container: "RemoteContainer", status: int | None, reason: str) -> None:
        """It has ended, or must be taken to have."""

    def given_up(self, container: "RemoteContainer") -> None:
        """The plane has taken it for ended, by what became of its other connections."""


class RemoteContainer:
    """See `PlacedContainer`. Its host and its channels come by and by, each with a key of its own.

    Args:
        spec: What it runs.
        demand: What it needs of its machine.
        owner: Told what becomes of it.

    Attributes:
        token: The host's key.
        since: When it was asked for, by the loop's clock.
        node_id: Where it was placed, as Ray calls it; empty before.
        reason: Why it waits; empty if that is not known.
        hostname: Of its host, once that has arrived.
    """

    def __init__(self, spec: ContainerSpec, demand: Demand, owner: Owner) -> None:
        self.spec = spec
        self.demand = demand
        self.container_id = spec.container_id
        self.pid: int | None = None
        self.vanished = False
        self.exit_wait = EXIT_WAIT
        self.token = secrets.token_urlsafe(24)
        self.since = asyncio.get_running_loop().time()
        self.node_id = self.hostname = self.reason = ""
        self.placed_at: float | None = None
        self.over = False
        self._owner = owner
        self._keys = {LINK: self.token}
        self._running: tuple[int, int] | None = None
        self._channels: dict[str, LateChannel] = {}
        self._link: Channel | None = None
        self._silent = 0
        self._on_written: Callable[[bool, bytes], None] = lambda error, data: None

    @property
    def linked(self) -> bool:
        """True once its host has connected."""
        return self._link is not None

    # --- the plane's side --------------------------------------------------------------------------------------------

    def open_data(self, types: Any, on_message: OnMessage, on_close: OnClose) -> LateChannel:
        """See `PlacedContainer`."""
        return self._open(DATA, types, on_message, on_close)

    def open_control(self, types: Any, on_message: OnMessage, on_close: OnClose) -> LateChannel:
        """See `PlacedContainer`."""
        return self._open(CONTROL, types, on_message, on_close)

    def open_client(self, types: Any, on_message: OnMessage, on_close: OnClose) -> LateChannel:
        """See `PlacedContainer`."""
        return self._open(CLIENT, types, on_message, on_close)

    def open_output(self, on_written: Callable[[bool, bytes], None]) -> None:
        """See `PlacedContainer`: it comes in messages."""
        self._on_written = on_written

    def running(self) -> tuple[int, int] | None:
        """Lease and index of the input that ran when the host said so last."""
        return self._running

    def close(self) -> None:
        """Closes all that leads to the container."""
        if not self.over:
            self.over = True
            self._owner.given_up(self)
        self._keys.clear()
        if self._link is not None:
            self._link.close()
        for channel in self._channels.values():
            channel.close()

    # --- connections -------------------------------------------------------------------------------------------------

    def admits(self, channel: str, key: str) -> bool:
        """True if that is the key for such a connection, which it is not again."""
        expected = self._keys.get(channel)
        if expected is None or not hmac.compare_digest(key.encode("utf-8", "surrogateescape"), expected.encode()):
            return False
        del self._keys[channel]
        return True

    def connected(self, channel: str, sock: socket.socket) -> None:
        """Such a connection is there, and belongs to this object."""
        if self.over:
            sock.close()
            return
        if sock.family != socket.AF_UNIX:
            prepare(sock)
        if channel == LINK:
            self._link = Channel(sock, FromHost, self._received, self._link_lost)
        else:
            self._channels[channel].attach(sock)

    def assign(self, digest: str | None, folder: str) -> None:
        """Tells the host what to run."""
        assert self._link is not None
        keys = {name: secrets.token_urlsafe(24) for name in (DATA, CONTROL, CLIENT)}
        self._keys.update(keys)
        self._link.send(Assigned(self.spec, digest, folder, keys))

    def refuse(self, reason: str) -> None:
        """Tells the host that it cannot be used."""
        if self._link is not None:
            self._link.send(Refused(reason))

    def give_source(self, data: bytes) -> None:
        """Sends the host the snapshot."""
        if self._link is not None:
            self._link.send(Source((len(data),)), Payload((len(data),), [data]))

    def signal(self, number: int) -> None:
        """Has the host send the container a signal."""
        if self._link is not None:
            self._link.send(Signal(number))

    def beat(self) -> None:
        """Gives a sign of life, and gives the host up if it has given none for too long."""
        if self._link is None or self.over:
            return
        self._link.send(Beat())
        self._silent += 1
        if self._silent > SILENCE:
            self._lost("nothing came from its machine any more")

    def _open(self, name: str, types: Any, on_message: OnMessage, on_close: OnClose) -> LateChannel:
        channel = self._channels[name] = LateChannel(types, on_message, on_close)
        return channel

    def _received(self, message: Any, body: memoryview) -> None:
        self._silent = 0
        match message:
            case Wrote():
                self._on_written(message.error, message.data)
            case Beat():
                self._running = message.running
            case Arrived():
                self.hostname = message.hostname
                self._owner.arrived(self, message)
            case WantSource():
                self._owner.wants_source(self)
            case Ended():
                self._running = message.running
                self._end(message.status, message.reason)

    def _link_lost(self, error: Exception | None) -> None:
        self._lost(f"its machine's connection {f'broke ({error})' if error is not None else 'ended'}")

    def _lost(self, reason: str) -> None:
        if not self.over:
            self.vanished = True
            self._end(None, reason)

    def _end(self, status: int | None, reason: str) -> None:
        if not self.over:
            self.over = True
            if self._link is not None:
                self._link.close()
            self._owner.ended(self, status, reason)
