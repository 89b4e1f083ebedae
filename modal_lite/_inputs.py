"""The inputs of a map: pulled from the caller's iterators in the caller's thread, pickled a chunk at a time."""

import itertools
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Protocol

import msgspec

from modal_lite._core.crossing import of_user
from modal_lite._core.messages import Encoding, Failure, FailureKind
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.serialization import dumps
from modal_lite._core.tracebacks import hide_library_frames
from modal_lite.exception import SerializationError

PULL_SECONDS = 0.005
"""A chunk is sent with what it has once its iterator has taken this long."""
CHUNK_BYTES = 1 << 20
"""About how large a chunk may become, by the size of the inputs before it."""


class SupportsAiter(Protocol):
    """An async iterable, under a name that the stubs of blocking forms do not turn into `Iterable`."""

    def __aiter__(self) -> AsyncIterator[Any]: ...


class Chunk(msgspec.Struct, frozen=True):
    """Inputs [start, start + count), pickled together, or one input that cannot be pickled and why."""

    start: int
    count: int
    payload: Payload = EMPTY
    failure: Failure | None = None


class InputSource:
    """The caller's iterators, zipped to the shortest, as chunks of pickled arguments.

    Args:
        iterators: what the caller gave, iterable or async iterable.
        star: each element is a sequence of positional arguments.
        kwargs: keyword arguments of every input.
        name: the function's, for errors.

    Raises:
        TypeError: there is no iterator, or one of them is not iterable.
    """

    def __init__(self, iterators: tuple[Any, ...], star: bool, kwargs: dict[str, Any], name: str) -> None:
        if not iterators:
            raise TypeError(
                f"{name} needs at least one iterable of inputs; to call a function without arguments n times, "
                "use .starmap(() for _ in range(n))"
            )
        for iterator in iterators:
            if not isinstance(iterator, Iterable | AsyncIterable) and not hasattr(iterator, "__getitem__"):
                raise TypeError(f"{name} takes iterables of inputs, not {type(iterator).__name__!r}: {iterator!r:.100}")
        self.exhausted = False
        self.encoding = Encoding.STAR if star or len(iterators) > 1 else Encoding.SINGLE
        self.mean_bytes = 0.0
        """Bytes per pickled input, a moving average."""
        self._given = iterators
        self._star = star
        self._kwargs = dict(kwargs)
        self._name = name
        self._pulled = 0
        self._items: Iterator[Any] | None = None
        self._async: list[AsyncIterator[Any]] | None = None

    async def next_chunks(self, limit: int) -> list[Chunk]:
        """Pulls up to `limit` inputs and pickles them: one chunk, or several if some inputs do not pickle.

        Returns early, with what there is, when the iterators are slow. Raises what they raise.
        """
        if self.mean_bytes:
            limit = max(1, min(limit, int(CHUNK_BYTES / self.mean_bytes)))
        if self._items is None and self._async is None:
            self._start()
        items = self._pull(limit) if self._async is None else await self._pull_async(limit)
        if not items:
            return []
        start = self._pulled
        self._pulled += len(items)
        if self._star:
            items = [item if type(item) is tuple else self._as_arguments(item) for item in items]
        return self._pickle(start, items)

    async def close(self) -> None:
        """Lets go of the iterators; async ones are closed."""
        self.exhausted = True
        self._items = None
        iterators, self._async = self._async or [], None
        for iterator in iterators:
            aclose = getattr(iterator, "aclose", None)
            if aclose is not None:
                await of_user(_closed(aclose))

    def _start(self) -> None:
        if any(isinstance(given, AsyncIterable) and not isinstance(given, Iterable) for given in self._given):
            self._async = [_as_async(given) for given in self._given]
        elif len(self._given) == 1:
            self._items = iter(self._given[0])
        else:
            self._items = iter(zip(*self._given, strict=False))
        self._given = ()

    def _pull(self, limit: int) -> list[Any]:
        # In slices of growing length, so that looking at the clock costs nothing for fast iterators and a slow one is
        # not waited for: its first inputs should run while it makes the next ones.
        assert self._items is not None
        items: list[Any] = []
        size, started = 1, time.perf_counter()
        while len(items) < limit:
            size = min(size, limit - len(items))
            before = len(items)
            items.extend(itertools.islice(self._items, size))
            if len(items) < before + size:
                self.exhausted = True
                break
            if time.perf_counter() - started > PULL_SECONDS:
                break
            size *= 2
        return items

    async def _pull_async(self, limit: int) -> list[Any]:
        assert self._async is not None
        items, exhausted = await of_user(_pull_some(self._async, limit))
        self.exhausted = exhausted
        return items

    def _as_arguments(self, item: Any) -> tuple[Any, ...]:
        try:
            return tuple(item)
        except TypeError:
            raise TypeError(
                f"{self._name} takes an iterable of sequences of arguments, such as [(1, 2), (3, 4)]; "
                f"one of its elements is of type {type(item).__name__!r}"
            ) from None

    def _pickle(self, start: int, items: list[Any]) -> list[Chunk]:
        try:
            payload = dumps((items, self._kwargs))
        except Exception as error:
            if len(items) == 1:
                return [
                    Chunk(start, 1, failure=Failure(FailureKind.SERIALIZATION, str(cannot_pickle(error, self._name))))
                ]
            middle = len(items) // 2
            return self._pickle(start, items[:middle]) + self._pickle(start + middle, items[middle:])
        sample = payload.nbytes / len(items)
        self.mean_bytes = sample if not self.mean_bytes else self.mean_bytes + 0.3 * (sample - self.mean_bytes)
        return [Chunk(start, len(items), payload)]


def dump_arguments(args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Payload:
    """The arguments of one call, pickled. Raises SerializationError naming what cannot be."""
    try:
        return dumps((args, kwargs))
    except Exception as error:
        named = [(f"argument {i + 1}", value) for i, value in enumerate(args)] + [(k, v) for k, v in kwargs.items()]
        for label, value in named:
            try:
                dumps(value)
            except Exception:
                raise cannot_pickle(error, name, label) from error
        raise cannot_pickle(error, name) from error


def cannot_pickle(error: Exception, name: str, label: str = "an input") -> SerializationError:
    """The error for arguments that do not pickle."""
    problem = SerializationError(
        f"{label} of {name} cannot be pickled to be sent to a container: {type(error).__name__}: {error}. "
        "Pass plain data, and make locks, connections, files and the like inside the function."
    )
    hide_library_frames(error)
    problem.__cause__ = error
    return problem


async def _pull_some(iterators: list[AsyncIterator[Any]], limit: int) -> tuple[list[Any], bool]:
    items: list[Any] = []
    started = time.perf_counter()
    while len(items) < limit:
        row = []
        for iterator in iterators:
            try:
                row.append(await anext(iterator))
            except StopAsyncIteration:
                return items, True
        items.append(row[0] if len(iterators) == 1 else tuple(row))
        if time.perf_counter() - started > PULL_SECONDS:
            break
    return items, False


def _as_async(given: Any) -> AsyncIterator[Any]:
    if isinstance(given, AsyncIterable):
        return aiter(given)
    return _stepped(iter(given))


async def _stepped(iterator: Iterator[Any]) -> AsyncIterator[Any]:
    for item in iterator:
        yield item


async def _closed(aclose: Any) -> None:
    await aclose()
