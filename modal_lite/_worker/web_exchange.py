"""One request and its response, in a container: bytes from the client, bytes to it."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from modal_lite._core.messages import RequestTaken, Yielded
from modal_lite._core.payload import Payload
from modal_lite._core.web import WINDOW, Piece, WebRequest, pack_piece


class Exchange:
    """Belongs to the container's loop, but for what the control thread calls.

    Args:
        lease_id: The request's lease.
        request: What is known of it.
        first: Its first bytes: the head, and as much of the body as was there.
        send: Takes messages for the data channel.
        tell: Takes messages for the control channel.

    Attributes:
        on_data: Takes what the client sends further, once `begin` was called.
        on_room: Called when `is_full` has become False.
    """

    def __init__(
        self,
        lease_id: int,
        request: WebRequest,
        first: bytes,
        send: Callable[[Any, Payload], None],
        tell: Callable[[Any], None],
    ) -> None:
        self.request = request
        self.first = first
        self.on_data: Callable[[bytes], None] | None = None
        self.on_room: Callable[[], None] | None = None
        self._lease_id = lease_id
        self._send = send
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._count = self._consumed = 0
        """Pieces of the response sent, and taken."""
        self._untaken: deque[int] = deque()
        self._untaken_bytes = 0
        self._taken = 0

    def begin(self) -> None:
        """More of the request is welcome."""
        if self.request.open:
            self._tell(RequestTaken(self._lease_id, 0))

    def write(self, data: bytes, piece: Piece = Piece.MORE) -> None:
        """Sends bytes of the response. Raises ConnectionClosed when the plane is gone."""
        payload = pack_piece(piece, data)
        self._send(Yielded(self._lease_id, 1, payload.sizes), payload)
        self._count += 1
        self._untaken.append(len(data))
        self._untaken_bytes += len(data)

    @property
    def is_full(self) -> bool:
        """True while the client lags behind."""
        return self._untaken_bytes >= WINDOW

    def taken(self, count: int) -> None:
        """So many bytes that `on_data` was given have been used."""
        self._taken += count
        self._tell(RequestTaken(self._lease_id, self._taken))

    # --- the control thread ------------------------------------------------------------------------------------------

    def credit(self, consumed: int) -> None:
        """The client has taken `consumed` pieces in all."""
        self._call(self._credited, consumed)

    def feed(self, data: bytes) -> None:
        """The client has sent more."""
        self._call(self._fed, data)

    def _call(self, function: Callable[..., None], argument: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:
            pass  # The loop is closed: the container is leaving.

    def _credited(self, consumed: int) -> None:
        was_full = self.is_full
        while self._consumed < consumed and self._untaken:
            self._consumed += 1
            self._untaken_bytes -= self._untaken.popleft()
        if was_full and not self.is_full and self.on_room is not None:
            self.on_room()

    def _fed(self, data: bytes) -> None:
        if self.on_data is not None:
            self.on_data(data)


class Serving(Protocol):
    """What answers the requests of a web function."""

    async def serve(self, exchange: Exchange) -> Payload:
        """Answers a request. Returns what `pack_piece` made of the end of the response.

        Cancelling it ends what was begun for the request.
        """
