"""The values of one generator input on their way to the consumer."""

import threading
from collections import deque
from collections.abc import Callable
from time import perf_counter

from modal_lite._core.messages import Yielded
from modal_lite._core.payload import Payload
from modal_lite._core.serialization import dumps
from modal_lite._transport.blocking import BlockingChannel, ConnectionClosed

SEND_INTERVAL = 0.0005
"""Seconds between two sends while the generator is fast; a value that comes later than that is sent at once."""
MAX_AHEAD = 1024
"""Values that may be made before the consumer has taken the first of them."""
MAX_BYTES_AHEAD = 8 << 20
"""Bytes of sent values that the consumer has not taken, from which on no more are made."""


class GeneratorStream:
    """Batches values, and holds the generator back when the consumer is slow.

    A value never waits for the next one to be made: what is not sent at once is sent by a thread, started when first
    needed.

    Attributes:
        lease_id: The generator's lease.
        count: Values put so far.
        interrupted: True once the generator is to end early.
        on_room: Called, from the control thread, when `has_room` may have changed.
    """

    def __init__(self, lease_id: int, channel: BlockingChannel) -> None:
        self.lease_id = lease_id
        self.count = 0
        self.interrupted = False
        self.on_room: Callable[[], None] | None = None
        self._channel = channel
        self._changed = threading.Condition(threading.Lock())
        self._unsent: list[object] = []
        self._untaken: deque[tuple[int, int]] = deque()
        self._untaken_bytes = 0
        self._consumed = 0
        self._last_sent = 0.0
        self._closed = False
        self._sender: threading.Thread | None = None

    def put(self, value: object, payload: Payload | None) -> None:
        """Takes the next value, as `held.hold` returned it. Raises ConnectionClosed when the plane is gone."""
        with self._changed:
            if payload is not None:
                self._send_unsent()
                self.count += 1
                self._send(1, payload)
                return
            self.count += 1
            self._unsent.append(value)
            if perf_counter() - self._last_sent >= SEND_INTERVAL:
                self._send_unsent()
            elif self._sender is None:
                self._sender = threading.Thread(target=self._send_late, name="modal_lite-generator", daemon=True)
                self._sender.start()
            elif len(self._unsent) == 1:
                self._changed.notify_all()

    @property
    def has_room(self) -> bool:
        """True if the generator may make another value, or has to learn that it is interrupted."""
        ahead = self.count - self._consumed
        return ahead < MAX_AHEAD and (self._untaken_bytes < MAX_BYTES_AHEAD or ahead <= 0) or self.interrupted

    def wait_for_room(self) -> bool:
        """Blocks until another value may be made. False if the generator is to end instead."""
        if not self.has_room:
            with self._changed:
                self._changed.wait_for(lambda: self.has_room)
        return not self.interrupted

    def credit(self, consumed: int) -> None:
        """The consumer has taken `consumed` values in all."""
        with self._changed:
            self._consumed = max(self._consumed, consumed)
            while self._untaken and self._untaken[0][0] <= self._consumed:
                self._untaken_bytes -= self._untaken.popleft()[1]
            self._changed.notify_all()
        self._tell()

    def interrupt(self) -> None:
        """The generator is to end when it next asks for room."""
        with self._changed:
            self.interrupted = True
            self._changed.notify_all()
        self._tell()

    def close(self) -> None:
        """Sends what is left and ends the thread. Raises ConnectionClosed when the plane is gone."""
        try:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
                self._send_unsent()
        finally:
            if self._sender is not None:
                self._sender.join()

    def _tell(self) -> None:
        if self.on_room is not None:
            self.on_room()

    def _send_late(self) -> None:
        with self._changed:
            while not self._closed:
                if not self._unsent:
                    self._changed.wait()
                    continue
                early = self._last_sent + SEND_INTERVAL - perf_counter()
                if early > 0:
                    self._changed.wait(early)
                    continue
                try:
                    self._send_unsent()
                except ConnectionClosed:
                    return  # The generator's own thread finds out with its next value.

    def _send_unsent(self) -> None:
        if self._unsent:
            values, self._unsent = self._unsent, []
            self._send(len(values), dumps(values, snapshot=False))

    def _send(self, count: int, payload: Payload) -> None:
        self._channel.send(Yielded(self.lease_id, count, payload.sizes), payload)
        self._untaken.append((self.count, payload.nbytes))
        self._untaken_bytes += payload.nbytes
        self._last_sent = perf_counter()
