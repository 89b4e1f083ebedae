"""The inputs of a map: pulled from the caller's iterators in the caller's thread, pickled a chunk at a time."""

import itertools
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Protocol

import msgspec

from modal_lite._core.crossing import of_user
from modal_lite._core.held import PLAIN, hold
from modal_lite._core.messages import Encoding, Failure, FailureKind
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.serialization import dumps
from modal_lite._core.tracebacks import hide_library_frames
from modal_lite.exception import SerializationError

PULL_SECONDS = 0.005
"""A chunk is sent with what it has once its iterator has taken this long."""
CHUNK_BYTES = 1 << 20
"""About how many bytes of inputs are pulled at a time."""
MAX_SLICE = 64
"""Inputs that are pulled between two looks at the clock, and at the size of the last of them."""


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
        self._plain = False
        self._kwargs = dict(kwargs)
        self._name = name
        self._pulled = 0
        self._items: Iterator[Any] | None = None
        self._async: list[AsyncIterator[Any]] | None = None

    async def next_chunks(self, limit: int) -> list[Chunk]:
        """Pulls up to `limit` inputs and pickles them: one chunk, or several if some are large or do not pickle.

        Returns early, with what there is, when the iterators are slow. Raises what they raise.
        """
        if self.mean_bytes:
            limit = max(1, min(limit, int(CHUNK_BYTES / self.mean_bytes)))
        if self._items is None and self._async is None:
            self._start()
        chunks = _Chunks(self._pulled, self._kwargs, self._name)
        if self._async is not None:
            self.exhausted = await of_user(self._pull_async, self._async, limit, chunks)
        elif self._plain:
            self._pull_plain(limit, chunks)
        else:
            self._pull(limit, chunks)
        made = chunks.finish()
        self._pulled = chunks.next
        for chunk in made:
            if chunk.failure is None:
                sample = chunk.payload.nbytes / chunk.count
                self.mean_bytes += (0.3 if self.mean_bytes else 1.0) * (sample - self.mean_bytes)
        return made

    async def close(self) -> None:
        """Lets go of the iterators; async ones are closed."""
        self.exhausted = True
        self._items = None
        iterators, self._async = self._async or [], None
        for iterator in iterators:
            aclose = getattr(iterator, "aclose", None)
            if aclose is not None:
                await of_user(_closed, aclose)

    def _start(self) -> None:
        if any(isinstance(given, AsyncIterable) and not isinstance(given, Iterable) for given in self._given):
            self._async = [_as_async(given) for given in self._given]
        elif len(self._given) == 1:
            self._items = iter(self._given[0])
            self._plain = not self._star
        else:
            self._items = iter(zip(*self._given, strict=False))
        self._given = ()

    def _pull_plain(self, limit: int, chunks: "_Chunks") -> None:
        """Pulls in slices of growing length, so that looking at the clock costs nothing for fast iterators.

        A slow one is not waited for: its first inputs should run while it makes the next ones. Slices are for inputs
        that cannot change; from the first other one on they are pulled, and pickled, one by one.
        """
        assert self._items is not None
        items: list[Any] = []
        size, started = 1, time.perf_counter()
        while len(items) < limit and self._plain:
            size = min(size, limit - len(items))
            pulled = list(itertools.islice(self._items, size))
            self._plain = PLAIN.issuperset(map(type, pulled))
            items += pulled
            if len(pulled) < size:
                self.exhausted = True
                break
            if time.perf_counter() - started > PULL_SECONDS:
                break
            if sys.getsizeof(pulled[-1]) * len(items) > CHUNK_BYTES:
                break
            size = min(2 * size, MAX_SLICE)
        if self._plain:
            chunks.extend_plain(items)
        else:
            for item in items:
                chunks.add(item)

    def _pull(self, limit: int, chunks: "_Chunks") -> None:
        assert self._items is not None
        started = time.perf_counter()
        for _ in range(limit):
            try:
                item = next(self._items)
            except StopIteration:
                self.exhausted = True
                return
            chunks.add(self._as_arguments(item) if self._star else item)
            if chunks.large_bytes > CHUNK_BYTES or time.perf_counter() - started > PULL_SECONDS:
                return

    async def _pull_async(self, iterators: list[AsyncIterator[Any]], limit: int, chunks: "_Chunks") -> bool:
        """Pulls until the limit or the clock says stop; True at the end of the shortest iterator."""
        started = time.perf_counter()
        for _ in range(limit):
            row = []
            for iterator in iterators:
                try:
                    row.append(await anext(iterator))
                except StopAsyncIteration:
                    return True
            item = row[0] if len(row) == 1 else tuple(row)
            chunks.add(self._as_arguments(item) if self._star else item)
            if chunks.large_bytes > CHUNK_BYTES or time.perf_counter() - started > PULL_SECONDS:
                break
        return False

    def _as_arguments(self, item: Any) -> tuple[Any, ...]:
        if type(item) is tuple:
            return item
        try:
            return tuple(item)
        except TypeError:
            raise TypeError(
                f"{self._name} takes an iterable of sequences of arguments, such as [(1, 2), (3, 4)]; "
                f"one of its elements is of type {type(item).__name__!r}"
            ) from None


class _Chunks:
    """Makes chunks of inputs as they are pulled: each as it was then, sharing nothing with the others."""

    def __init__(self, start: int, kwargs: dict[str, Any], name: str) -> None:
        self.next = start
        """Index of the next input."""
        self.large_bytes = 0
        """Bytes of the inputs that are too large to travel with others."""
        self._kwargs = kwargs
        self._name = name
        self._held: list[Any] = []
        self._made: list[Chunk] = []

    def add(self, item: Any) -> None:
        """Adds an input of any kind."""
        try:
            held, large = hold(item)
            if large is None:
                self._held.append(held)
            else:
                self._flush()
                payload = dumps(([item], self._kwargs))
                self.large_bytes += payload.nbytes
                self._made.append(Chunk(self.next, 1, payload))
        except Exception as error:
            self._flush()
            self._made.append(self._failed(self.next, error))
        self.next += 1

    def extend_plain(self, items: list[Any]) -> None:
        """Adds inputs that cannot change and refer to nothing."""
        self._held += items
        self.next += len(items)

    def finish(self) -> list[Chunk]:
        """All the chunks, in order."""
        self._flush()
        return self._made

    def _flush(self) -> None:
        held, self._held = self._held, []
        if not held:
            return
        start = self.next - len(held)
        try:
            self._made.append(Chunk(start, len(held), dumps((held, self._kwargs))))
        except Exception as error:  # the keyword arguments
            self._made += [self._failed(start + i, error) for i in range(len(held))]

    def _failed(self, index: int, error: Exception) -> Chunk:
        return Chunk(index, 1, failure=Failure(FailureKind.SERIALIZATION, str(cannot_pickle(error, self._name))))


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


def _as_async(given: Any) -> AsyncIterator[Any]:
    if isinstance(given, AsyncIterable):
        return aiter(given)
    return _stepped(iter(given))


async def _stepped(iterator: Iterator[Any]) -> AsyncIterator[Any]:
    for item in iterator:
        yield item


async def _closed(aclose: Any) -> None:
    await aclose()
