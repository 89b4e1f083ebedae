"""Copying arrays, without a second process."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy

from benchmarks.peers.base import Function, Peer


class Memcpy(Peer):
    about = "each array copied into a buffer, and from there into a new array, by one process alone"
    distribution = "numpy"
    bare = True
    only = ("arrays_8mib",)

    def map(self, function: Function, items: Iterable[Any]) -> list[Any]:
        return list(self.stream(function, items))

    def stream(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        buffer = None
        for item in items:
            if buffer is None:
                buffer = numpy.empty_like(item)
            numpy.copyto(buffer, item)
            yield buffer.copy()
