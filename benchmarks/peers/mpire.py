"""mpire.WorkerPool with its default chunking."""

from collections.abc import Iterable, Iterator, Sized
from typing import Any, ClassVar

from mpire import WorkerPool

from benchmarks.peers.base import WORKERS, Function, Peer


class Mapped(Peer):
    distribution = "mpire"
    chunk_size: ClassVar[int | None] = None

    def __init__(self, workers: int = WORKERS) -> None:
        super().__init__(workers)
        self._pool = WorkerPool(n_jobs=workers, keep_alive=True)

    def __exit__(self, *error: object) -> None:
        self._pool.terminate()

    # Items go in tuples, since mpire would take one that is iterable apart.

    def map(self, function: Function, items: Iterable[Any]) -> list[Any]:
        return list(self._pool.map(function, [(item,) for item in items], chunk_size=self.chunk_size))

    def stream(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        size = len(items) if isinstance(items, Sized) else None
        return self._pool.imap(function, ((item,) for item in items), iterable_len=size, chunk_size=self.chunk_size)


class Mpire(Mapped):
    about = "`mpire.WorkerPool(2, keep_alive=True)`: `map(f, xs)` (64 chunks a worker), `apply(f, (x,))`"
    shares = {"generator_1m": 0.1}
    cold_script = """
from mpire import WorkerPool

def f(x):
    return x + 1

if __name__ == "__main__":
    with WorkerPool(n_jobs=2) as pool:
        print(pool.apply(f, (41,)), flush=True)
"""

    def call(self, function: Function, item: Any) -> Any:
        return self._pool.apply(function, (item,))


class Mpire1(Mapped):
    """Without single calls: the size of chunks changes nothing for them."""

    about = "`mpire.WorkerPool(2, keep_alive=True).map(f, xs, chunk_size=1)`"
    shares = {"noop_map_200k": 0.1, "generator_1m": 0}
    chunk_size = 1
