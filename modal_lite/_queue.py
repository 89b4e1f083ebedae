"""Queues: values that callers and containers hand to each other."""

import queue
from collections.abc import AsyncGenerator, Iterable
from typing import TYPE_CHECKING, Any

from synchronicity.async_wrap import asynccontextmanager

from modal_lite._core.blocks import Blocks
from modal_lite._core.ids import new_id
from modal_lite._core.object_requests import (
    MAX_ITEM,
    MAX_ITEMS,
    MAX_TOGETHER,
    MAX_TTL,
    Count,
    ObjectKind,
    QueueClear,
    QueueCount,
    QueueGet,
    QueueList,
    QueuePage,
    QueuePut,
    QueueTaken,
)
from modal_lite._core.wrapping import untranslated
from modal_lite._shared_object import SharedObject, check_size, no_constructor, pack, unpack
from modal_lite.exception import InvalidError

MAX_PARTITION = 64
"""Bytes of the name of a partition."""


class _Queue:
    """A queue that a program and its containers share: `q.put(value)` here, `q.get()` there; first in, first out.

    Made by `Queue.ephemeral()` or `Queue.from_name()`; passed to functions as an argument, or used as a global.

    Values are anything that can be pickled, up to 1 MiB. A partition, of which there can be many, is a queue of its
    own; it holds up to 5,000 values, and is emptied 24 hours after the last was put. Those who wait are served in the
    order in which they came.

    No value arrives twice. A `get` that is cancelled, or runs into its timeout, takes nothing; values that a container
    has taken end with it. A `put` that is cancelled may have happened.
    """

    if TYPE_CHECKING:  # no part of the public type
        _object: SharedObject

    def __init__(self) -> None:
        raise no_constructor("Queue")

    @staticmethod
    @asynccontextmanager
    async def ephemeral(client: Any | None = None) -> AsyncGenerator["_Queue", None]:
        """An empty Queue for as long as the `with` block lasts: `with Queue.ephemeral() as q:`, with or without an app.

        Args:
            client: The server it is on, a `Client`; None for the control plane of this process.
        """
        created = _Queue._of(SharedObject(ObjectKind.QUEUE, client=client))
        try:
            await created._object.resolve()
            yield created
        finally:
            created._object.delete()

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: Any | None = None,
    ) -> "_Queue":
        """The Queue of this name. Nothing is looked up before the first use.

        It lives as long as the program whose app runs, or the server that it is on.

        Args:
            name: 1 to 64 letters, digits, '.', '-' and '_'.
            environment_name: Names are distinct within one. Default: `MODAL_ENVIRONMENT`, else "main".
            create_if_missing: Make an empty one if there is none.
            client: The server to look on, a `Client`; None for the control plane of this process.

        Raises:
            InvalidError: It cannot be a name.
        """
        return _Queue._of(SharedObject(ObjectKind.QUEUE, name, environment_name, create_if_missing, client))

    @staticmethod
    async def lookup(
        name: str,
        client: Any | None = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> "_Queue":
        """As `from_name`, at once.

        Raises:
            NotFoundError: There is none of this name.
        """
        found = _Queue.from_name(
            name, environment_name=environment_name, create_if_missing=create_if_missing, client=client
        )
        await found._object.resolve()
        return found

    @property
    def object_id(self) -> str:
        """Its id, `qu-…`. Raises InvalidError if it was not used yet."""
        return self._object.known_id()

    @property
    def name(self) -> str | None:
        """The name that it was found by."""
        return self._object.name

    def __repr__(self) -> str:
        return repr(self._object)

    # --- putting -----------------------------------------------------------------------------------------------------

    @untranslated(arguments=True)
    async def put(
        self,
        v: Any,
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: float = MAX_TTL,
    ) -> None:
        """Appends a value.

        Args:
            v: The value.
            block: Wait for room if the partition is full.
            timeout: Seconds to wait at most; None: as long as it takes.
            partition: Which one, 1 to 64 bytes of UTF-8. Default: one without a name.
            partition_ttl: Seconds after which the partition is emptied, unless something is put into it, at most 24
                hours.

        Raises:
            queue.Full: The standard library's: there was no room.
            SerializationError: The value cannot be pickled.
            RequestSizeError: The value is larger than 1 MiB.
        """
        await self.put_many([v], block, timeout, partition=partition, partition_ttl=partition_ttl)

    @untranslated(arguments=True)
    async def put_many(
        self,
        vs: Iterable[Any],
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: float = MAX_TTL,
    ) -> None:
        """Appends several values together: all of them, or none.

        Args:
            vs: The values, at most 5,000.
            block: As for `put`; so it is with the others.
            timeout: Seconds to wait for room for all.
            partition: Which one.
            partition_ttl: Seconds that it is kept.

        Raises:
            queue.Full: There was no room for all.
            InvalidError: There are too many.
            SerializationError: A value cannot be pickled.
            RequestSizeError: A value is larger than 1 MiB, or all together are larger than 100 MiB.
        """
        key = _partition(partition)
        if not 0 < partition_ttl <= MAX_TTL:
            raise InvalidError(f"partition_ttl={partition_ttl!r}: must be a number of seconds up to {MAX_TTL:.0f}.")
        values = [pack(value, "A value for a Queue", MAX_ITEM) for value in vs]
        if len(values) > MAX_ITEMS:
            raise InvalidError(
                f"{len(values):,} values do not fit into a Queue, which holds {MAX_ITEMS:,} in a partition; put fewer "
                "at a time."
            )
        check_size(sum(map(len, values)), "What is put at a time", MAX_TOGETHER)
        if values:
            reply: Count = await self._object.ask(QueuePut, key, values, _seconds(block, timeout), float(partition_ttl))
            if not reply.count:
                raise queue.Full

    # --- getting -----------------------------------------------------------------------------------------------------

    @untranslated(result=True)
    async def get(
        self, block: bool = True, timeout: float | None = None, *, partition: str | None = None
    ) -> Any | None:
        """Takes the first value.

        Args:
            block: Wait for one if there is none.
            timeout: Seconds to wait at most; None: as long as it takes.
            partition: Which one.

        Returns:
            The value; without `block`, None if there is none.

        Raises:
            queue.Empty: The standard library's: there was none within the time.
            DeserializationError: The value cannot be unpickled here. It is taken.
        """
        values = await self.get_many(1, block, timeout, partition=partition)
        return values[0] if values else None

    @untranslated(result=True)
    async def get_many(
        self, n_values: int, block: bool = True, timeout: float | None = None, *, partition: str | None = None
    ) -> list[Any]:
        """Takes the first values: as many as there are, at most `n_values`, at least one.

        Args:
            n_values: How many at most; of large ones it may be fewer.
            block: Wait for the first if there is none.
            timeout: Seconds to wait for it at most; None: as long as it takes.
            partition: Which one.

        Returns:
            The values; without `block`, an empty list if there are none.

        Raises:
            queue.Empty: There was none within the time.
            DeserializationError: One of them cannot be unpickled here. All are taken.
        """
        key = _partition(partition)
        if n_values < 1:
            raise InvalidError(f"n_values={n_values!r}: must be an int of at least 1.")
        values = await self._take(key, n_values, _seconds(block, timeout))
        if block and not values:
            raise queue.Empty
        return values

    @untranslated(result=True)
    def iterate(self, *, partition: str | None = None, item_poll_timeout: float = 0.0) -> AsyncGenerator[Any, None]:
        """The values, from the first one on, without taking them.

        Args:
            partition: Which one.
            item_poll_timeout: Seconds to wait for another value at the end.
        """
        key = _partition(partition)
        return Blocks(lambda: self._blocks(key, max(0.0, item_poll_timeout)), "Queue.iterate()")

    async def len(self, *, partition: str | None = None, total: bool = False) -> int:
        """The number of values.

        Args:
            partition: In which one.
            total: In all of them.

        Raises:
            InvalidError: Both are given.
        """
        reply: Count = await self._object.ask(QueueCount, _which(partition, total, "total"))
        return reply.count

    async def clear(self, *, partition: str | None = None, all: bool = False) -> None:
        """Drops the values.

        Args:
            partition: Of which one.
            all: Of all of them.

        Raises:
            InvalidError: Both are given.
        """
        await self._object.ask(QueueClear, _which(partition, all, "all"))

    # --- inside ------------------------------------------------------------------------------------------------------

    @classmethod
    def _of(cls, shared: SharedObject) -> "_Queue":
        created = cls.__new__(cls)
        created._object = shared
        return created

    async def _take(self, key: str, count: int, timeout: float | None) -> list[Any]:
        object_id, take_id = await self._object.resolve(), new_id("tk")
        taken: list[bytes | None] | None = None
        received = False
        try:
            request = QueueGet(object_id, key, count, timeout, take_id)
            taken = (await self._object.client.take(request)).values
            values = [unpack(value, "A value of the Queue") for value in taken if value is not None]
            received = True
            return values
        except Exception:
            received = True
            raise
        finally:
            # Whatever ends this (Ctrl-C, a cancellation): what nobody has received is not lost.
            if taken or not received:
                self._object.client.tell(QueueTaken(object_id, take_id, received), soon=not received)

    async def _blocks(self, key: str, timeout: float) -> AsyncGenerator[list[Any], None]:
        last = 0
        while True:
            page: QueuePage = await self._object.ask(QueueList, key, last, timeout)
            if not page.values:
                return
            last = page.last
            yield [unpack(value, "A value of the Queue") for value in page.values]


def _partition(name: str | None) -> str:
    if name is None:
        return ""
    if not 1 <= len(name.encode()) <= MAX_PARTITION:
        raise InvalidError(f"partition={name!r:.100}: must be a string of 1 to {MAX_PARTITION} bytes.")
    return name


def _which(partition: str | None, every: bool, option: str) -> str | None:
    if every and partition is not None:
        raise InvalidError(f"partition= and {option}=True contradict each other; give one of them.")
    return None if every else _partition(partition)


def _seconds(block: bool, timeout: float | None) -> float | None:
    if not block:
        return 0.0
    return None if timeout is None else max(0.0, timeout)
