"""concurrent.futures.ProcessPoolExecutor."""

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any, ClassVar

from benchmarks.peers.base import WORKERS, Function, Peer


class Mapped(Peer):
    """Any executor of the standard library's kind, for its map."""

    chunksize: ClassVar[int] = 1

    def __init__(self, workers: int = WORKERS) -> None:
        super().__init__(workers)
        self._pool = self._start()

    def _start(self) -> Executor:
        return ProcessPoolExecutor(self.workers)

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def map(self, function: Function, items: Iterable[Any]) -> list[Any]:
        return list(self.stream(function, items))

    def stream(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return self._pool.map(function, items, chunksize=self.chunksize)


class ProcessPool(Mapped):
    about = "`ProcessPoolExecutor(2)`: `map(f, xs)` with chunksize 1, `submit(f, x).result()`"
    shares = {"noop_map_200k": 0.1, "generator_1m": 0}
    cold_script = """
from concurrent.futures import ProcessPoolExecutor

def f(x):
    return x + 1

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        print(pool.submit(f, 41).result(), flush=True)
"""

    def call(self, function: Function, item: Any) -> Any:
        return self._pool.submit(function, item).result()

    async def acall(self, function: Function, item: Any) -> Any:
        return await asyncio.wrap_future(self._pool.submit(function, item))


class ProcessPool64(Mapped):
    """Without single calls: the size of chunks changes nothing for them."""

    about = "`ProcessPoolExecutor(2).map(f, xs, chunksize=64)`"
    chunksize = 64
