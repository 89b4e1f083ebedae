"""The values of a Queue, as bytes, and who waits for them.

Whoever waits is served in the order of arrival, and a value belongs to one who waits from the moment there is one. A
value that was given out comes back to its place if it did not arrive: the one who waited was cancelled meanwhile, or
says so afterwards (`taken`), or its container is gone.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from modal_lite._core.object_requests import MAX_ITEMS, MAX_TOGETHER

T = TypeVar("T")

PAGE = 1 << 20
"""Bytes of values from which on a page of a listing ends."""
_PARTITIONS = 1_000
"""Partitions up to which nobody looks for expired ones."""


class _Item(NamedTuple):
    number: int
    """Its place among all the values of the queue."""
    value: bytes


class _Waiter(Generic[T]):
    """Somebody who waits for values, or for room for some."""

    __slots__ = ("future", "wanted")

    def __init__(self, wanted: T) -> None:
        self.wanted = wanted
        self.future: asyncio.Future[list[_Item]] = asyncio.get_running_loop().create_future()

    async def served(self, timeout: float | None) -> bool:
        """True once it has been; False if the seconds have passed. Cancelling it changes nothing."""
        if not self.future.done() and (timeout is None or timeout > 0):
            await asyncio.wait([self.future], timeout=timeout)
        return self.future.done()


class _Partition:
    """One sequence of values."""

    def __init__(self) -> None:
        self.items: deque[_Item] = deque()
        self.expires = 0.0
        """When its values are dropped, by the clock of the queue."""
        self.getters: deque[_Waiter[int]] = deque()
        self.putters: deque[_Waiter[tuple[list[_Item], float]]] = deque()
        self.watchers: list[_Waiter[None]] = []

    def is_idle(self) -> bool:
        """Nothing is in it and nobody waits."""
        return not (self.items or self.getters or self.putters or self.watchers)

    def serve(self) -> None:
        """Gives room and values to those who wait, as far as they go."""
        while True:
            if self.putters and len(self.items) + len(self.putters[0].wanted[0]) <= MAX_ITEMS:
                putter = self.putters.popleft()
                items, self.expires = putter.wanted
                self.items.extend(items)
                putter.future.set_result(items)
                for watcher in self.watchers:
                    watcher.future.set_result([])
                self.watchers.clear()
            elif self.getters and self.items:
                getter = self.getters.popleft()
                getter.future.set_result(self._pop(getter.wanted))
            else:
                return

    def give_back(self, items: list[_Item], expires: float) -> None:
        """The values were not received: they are where they were, until the given time at least."""
        self.items = deque(sorted((*items, *self.items)))
        self.expires = max(self.expires, expires)
        self.serve()

    def _pop(self, count: int) -> list[_Item]:
        items: list[_Item] = []
        size = 0
        while self.items and len(items) < count:
            size += len(self.items[0].value)
            if items and size > MAX_TOGETHER:
                break
            items.append(self.items.popleft())
        return items


class QueueState:
    """One Queue: partitions by name. Belongs to the event loop it is used on.

    Args:
        clock: Tells the time in seconds, for the expiry of partitions.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.closed = False
        self._clock = clock
        self._partitions: dict[str, _Partition] = {}
        self._numbers = itertools.count(1)
        self._takes: dict[str, tuple[str, list[_Item], float]] = {}
        """What was given out and may come back: partition, values, when they expire."""
        self._purge_at = _PARTITIONS

    async def put(self, key: str, values: list[bytes], timeout: float | None, ttl: float) -> bool:
        """Appends the values once there is room for all of them; False if the time passes before that.

        Cancelled, it may have happened.
        """
        partition = self._partition(key)
        items = [_Item(next(self._numbers), value) for value in values]
        putter = _Waiter((items, self._clock() + ttl))
        partition.putters.append(putter)
        try:
            partition.serve()
            return await putter.served(timeout)
        finally:
            if putter in partition.putters:
                partition.putters.remove(putter)
                partition.serve()  # Smaller ones behind it may fit.
            self._drop_if_idle(key)

    async def get(self, key: str, count: int, timeout: float | None, take_id: str) -> list[bytes]:
        """Takes at most `count` values as soon as there is one; none if the time passes before that.

        They come back if this is cancelled, and if `taken` says so.
        """
        partition = self._partition(key)
        getter = _Waiter(count)
        partition.getters.append(getter)
        try:
            partition.serve()
            items = getter.future.result() if await getter.served(timeout) else []
        except BaseException:
            if getter.future.done():
                self._partition(key).give_back(getter.future.result(), partition.expires)
            raise
        finally:
            if getter in partition.getters:
                partition.getters.remove(getter)
            self._drop_if_idle(key)
        if items:
            self._takes[take_id] = key, items, partition.expires
        return [item.value for item in items]

    def taken(self, take_id: str, received: bool) -> None:
        """What came of values that were given out. Does nothing if none were."""
        take = self._takes.pop(take_id, None)
        if take is not None and not received:
            key, items, expires = take
            self._partition(key).give_back(items, expires)

    async def page(self, key: str, after: int, timeout: float) -> tuple[list[bytes], int]:
        """Some values behind a position, and the position of the last; waits for the first of them."""
        partition = self._partition(key)
        while not (values := _page(partition.items, after))[0] and timeout > 0 and not self.closed:
            watcher = _Waiter(None)
            partition.watchers.append(watcher)
            start = self._clock()
            try:
                if not await watcher.served(timeout):
                    break
            finally:
                if watcher in partition.watchers:
                    partition.watchers.remove(watcher)
                self._drop_if_idle(key)
            timeout -= self._clock() - start
            partition = self._partition(key)
        self._drop_if_idle(key)
        return values

    def count(self, key: str | None) -> int:
        """Values in the partition, in all of them for None."""
        if key is None:
            self._purge()
            return sum(len(partition.items) for partition in self._partitions.values())
        found = len(self._partition(key).items)
        self._drop_if_idle(key)
        return found

    def clear(self, key: str | None) -> None:
        """Removes the values of the partition, of all of them for None."""
        for name in list(self._partitions) if key is None else [key]:
            self._empty(self._partition(name))
            self._drop_if_idle(name)

    def close(self) -> None:
        """The queue is no more: who waits is served with nothing, and finds it closed."""
        self.closed = True
        for partition in self._partitions.values():
            waiters: list[_Waiter[Any]] = [*partition.getters, *partition.putters, *partition.watchers]
            for waiter in waiters:
                waiter.future.set_result([])
            partition.getters.clear()
            partition.putters.clear()
            partition.watchers.clear()
        self._partitions.clear()

    def _partition(self, key: str) -> _Partition:
        """The partition, without values that have expired."""
        partition = self._partitions.get(key)
        if partition is None:
            if len(self._partitions) >= self._purge_at:
                self._purge()
            partition = self._partitions[key] = _Partition()
        elif partition.expires <= self._clock():
            self._empty(partition)
        return partition

    def _empty(self, partition: _Partition) -> None:
        partition.items.clear()
        partition.serve()

    def _purge(self) -> None:
        now = self._clock()
        for key, partition in list(self._partitions.items()):
            if partition.expires <= now:
                self._empty(partition)
                self._drop_if_idle(key)
        self._purge_at = max(_PARTITIONS, 2 * len(self._partitions))

    def _drop_if_idle(self, key: str) -> None:
        partition = self._partitions.get(key)
        if partition is not None and partition.is_idle():
            del self._partitions[key]


def _page(items: deque[_Item], after: int) -> tuple[list[bytes], int]:
    values: list[bytes] = []
    size = 0
    for number, value in items:
        if number > after:
            values.append(value)
            after = number
            size += len(value)
            if size > PAGE:
                break
    return values, after
