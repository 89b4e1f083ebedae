"""The calls that the inputs of a simulated container make: its client channel and the control plane's end of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count as numbers
from typing import TYPE_CHECKING

from modal_lite._scheduler import events as on

if TYPE_CHECKING:
    from tests.scheduler.world import World


class Client:
    """Requests and answers take their time; what is under way when the container is gone is withdrawn.

    A map is not: it goes on without the container that asked for it, until somebody forgets it.

    Args:
        every: tell of each change of the number of calls that are waited for, not only from and to none.
    """

    def __init__(self, world: World, container_id: str, every: bool) -> None:
        self._world = world
        self._container_id = container_id
        self._every = every
        self._numbers = numbers(1)
        self._waits = 0
        self._calls: dict[int, str] = {}
        """Request -> the call under way for it."""
        self._closed = False

    # --- the container -----------------------------------------------------------------------------------------------

    def call(self, function_id: str, count: int, parent: tuple[str, int], then: Callable[[], None]) -> int:
        """Calls a function; `then` is done when the answer is there. Returns the request's number."""
        number = next(self._numbers)
        self._post("from", lambda: self._asked(number, function_id, count, parent, then))
        return number

    def withdraw(self, number: int) -> None:
        """The request's call is not wanted, or not needed, any more."""
        self._post("from", lambda: self._withdrawn(number))

    # --- the control plane -------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The connection has ended."""
        self._closed = True
        for call_id in self._calls.values():
            self._world.forget(call_id)
        self._calls.clear()

    def _asked(
        self, number: int, function_id: str, count: int, parent: tuple[str, int], then: Callable[[], None]
    ) -> None:
        world = self._world
        container = world.containers[self._container_id]
        if (function := world.scheduler.functions.get(function_id)) is None or function.removed:
            # The caller is told, and cares as little as for any other outcome.
            self._post("to", lambda: container.act(then))
            return
        self._count(1)
        self._calls[number] = world.call(
            function_id, count, parent=parent, then=lambda: self._post("to", lambda: container.act(then))
        )

    def _withdrawn(self, number: int) -> None:
        call_id = self._calls.pop(number, None)
        if call_id is not None:
            self._world.forget(call_id)
            self._count(-1)

    def _count(self, change: int) -> None:
        before, self._waits = self._waits, self._waits + change
        if self._every or (before == 0) != (self._waits == 0):
            self._world.tell(on.ContainerWaiting(self._container_id, self._waits))

    def _post(self, direction: str, act: Callable[[], None]) -> None:
        self._world.post(f"client {direction} {self._container_id}", lambda: None if self._closed else act())
