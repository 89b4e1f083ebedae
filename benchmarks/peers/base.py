"""What a peer is: a warm pool of worker processes, and the ways it has to run a function in them."""

import importlib.metadata
import platform
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, ClassVar

WORKERS = 2

Function = Callable[[Any], Any]


class Peer:
    """Open while it is a context manager. What a peer cannot do it leaves None, and is left out of those workloads."""

    about: ClassVar[str]
    """What exactly is measured, for the report."""
    distribution: ClassVar[str | None] = None
    """Where the version comes from; None for the standard library."""
    cold_script: ClassVar[str | None] = None
    """A whole program that starts everything, prints what f(41) is, and ends; f adds one."""
    start_script: ClassVar[str | None] = None
    """A whole program that prints what each of TIMES starts of a process takes; f does BODY and adds one."""
    bare: ClassVar[bool] = False
    """No competitor, but what the bare means take of which the others consist: a socket, a copy, a sleep."""
    only: ClassVar[tuple[str, ...] | None] = None
    """Workloads for which it is there; None: all that it has the methods for."""
    shares: ClassVar[dict[str, float]] = {}
    """Workloads of which this peer gets a part of the inputs only, or none, because it would take minutes."""

    map: Callable[[Function, Iterable[Any]], list[Any]] | None = None
    """All results, in the order of the inputs."""
    stream: Callable[[Function, Iterable[Any]], Iterator[Any]] | None = None
    """The same, one by one."""
    amap: Callable[[Function, Iterable[Any]], AsyncIterator[Any]] | None = None
    """The same, on an event loop."""
    call: Callable[[Function, Any], Any] | None = None
    """One call, waited for."""
    acall: Callable[[Function, Any], Awaitable[Any]] | None = None
    """One call, awaited."""
    batched: Callable[[Function, Iterable[Any]], list[Any]] | None = None
    """All results of a function that takes inputs together, in the order of the inputs."""
    generate: Callable[[int], Iterator[int]] | None = None
    """The values of a generator that counts up to n in a worker."""

    @classmethod
    def version(cls) -> str:
        """The version of what is measured."""
        return importlib.metadata.version(cls.distribution) if cls.distribution else platform.python_version()

    def __init__(self, workers: int = WORKERS) -> None:
        self.workers = workers

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the pool."""
