"""multiprocessing.Pool."""

import multiprocessing
from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks.peers.base import WORKERS, Function, Peer


class MultiprocessingPool(Peer):
    about = "`multiprocessing.Pool(2)`: `imap(f, xs)` with chunksize 1, `apply(f, (x,))`"
    shares = {"noop_map_200k": 0.25, "generator_1m": 0.1}
    cold_script = """
import multiprocessing

def f(x):
    return x + 1

if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        print(pool.apply(f, (41,)), flush=True)
"""

    def __init__(self, workers: int = WORKERS) -> None:
        super().__init__(workers)
        self._pool = multiprocessing.Pool(workers)

    def __exit__(self, *error: object) -> None:
        self._pool.terminate()

    def map(self, function: Function, items: Iterable[Any]) -> list[Any]:
        return list(self._pool.imap(function, items))

    def stream(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return self._pool.imap(function, items)

    def call(self, function: Function, item: Any) -> Any:
        return self._pool.apply(function, (item,))
