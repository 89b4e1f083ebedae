"""One request to a web function, as a call of the control plane."""

from collections import deque
from typing import Protocol

from modal_lite._core.ids import new_id
from modal_lite._core.messages import Failure, RequestBytes
from modal_lite._core.payload import Payload
from modal_lite._core.requests import CallKind, Output
from modal_lite._core.web import WINDOW, Piece, unpack_piece
from modal_lite._server.calls import CallState
from modal_lite._server.containers import ContainerLink

_CREDIT = WINDOW // 4
"""Bytes of a response after which the container is told that they have been taken."""


class Client(Protocol):
    """Who made the request and gets the response."""

    def respond(self, call: "WebCall", piece: Piece, data: bytes) -> None:
        """The next bytes of the response, and whether they are the last."""

    def fail(self, call: "WebCall", failure: Failure) -> None:
        """There will be no response."""

    def taken(self, call: "WebCall") -> None:
        """The container has room for more of the request."""


class WebCall(CallState):
    """A request from its acceptance to the end of its input, which may be later than the end of its response.

    Args:
        function_id: Whose input it is.
        method: Of a class: the method that answers.
        client: Who made the request.
        remaining: Bytes of the body that are still to come; None: whatever comes.
        idempotent: Another container may get it if the first is lost.
    """

    __slots__ = (
        "_client",
        "_given",
        "_lease_id",
        "_link",
        "_taken",
        "_uncredited",
        "_unsent",
        "_welcome",
        "began",
        "once",
        "remaining",
    )

    def __init__(self, function_id: str, method: str, client: Client, remaining: int | None, idempotent: bool) -> None:
        super().__init__(new_id("fc"), function_id, CallKind.WEB, method)
        self.remaining = remaining
        self.began = False
        """A container has it."""
        self.once = not idempotent
        """It must not run twice."""
        self._client: Client | None = client
        self._link: ContainerLink | None = None
        self._lease_id = 0
        self._welcome = False
        """The container wants to have the rest of the body."""
        self._unsent: deque[bytes] = deque()
        self._given = self._taken = 0
        """Bytes sent to the container after the first ones, and those of them that it has taken."""
        self._uncredited = 0

    # --- the client's side -------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """Takes bytes of the body. Returns those behind its end."""
        count = len(data) if self.remaining is None else min(len(data), self.remaining)
        if self.remaining is not None:
            self.remaining -= count
        if count:
            self._unsent.append(data[:count])
            self._pass_on()
        return data[count:]

    @property
    def is_full(self) -> bool:
        """True while the container has no room for more of the body."""
        return bool(self._unsent)

    def leave(self) -> None:
        """The client is not interested any more."""
        self._client = None
        self._unsent.clear()

    def written(self) -> None:
        """The client has taken what it was given."""
        self._uncredited = 0
        self.consumed = self.received
        if self.credit is not None:
            self.credit(self.received)

    # --- the control plane's side ------------------------------------------------------------------------------------

    def leased(self, link: ContainerLink, lease_id: int) -> None:
        """A container has it from now on."""
        self.began = True
        self._link, self._lease_id = link, lease_id

    def took(self, count: int) -> None:
        """The container has taken so many bytes of the body in all."""
        self._taken = count
        if self._client is not None and self._link is not None:
            self._welcome = True
            self._pass_on()
            if not self._unsent:
                self._client.taken(self)

    def deliver(self, output: Output) -> None:
        """See `CallState.deliver`."""
        client = self._client
        if client is None:
            self.written()
            return
        if output.failure is not None:
            client.fail(self, output.failure)
            return
        piece, data = unpack_piece(output.payload)
        self._uncredited += len(data)
        client.respond(self, piece, data)

    @property
    def wants_credit(self) -> bool:
        """True once the container is to be told that what it sent has been taken."""
        return self._uncredited >= _CREDIT

    def _pass_on(self) -> None:
        link = self._link
        while link is not None and self._welcome and self._unsent and self._given - self._taken < WINDOW:
            data = self._unsent.popleft()
            self._given += len(data)
            link.control.send(RequestBytes(self._lease_id), Payload((len(data),), [data]))
