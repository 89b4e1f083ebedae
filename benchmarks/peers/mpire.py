"""mpire.WorkerPool with its default chunking."""

from collections.abc import Iterable
from typing import Any

from mpire import WorkerPool

from benchmarks.peers.base import WORKERS, Function, Peer


class Mpire(Peer):
    about = "`mpire.WorkerPool(2, keep_alive=True)`: `map(f, xs)` (64 chunks a worker), `apply(f, (x,))`"
    distribution = "mpire"
    cold_script = """
from mpire import WorkerPool

def f(x):
    return x + 1

if __name__ == "__main__":
    with WorkerPool(n_jobs=2) as pool:
        print(pool.apply(f, (41,)), flush=True)
"""

    def __init__(self) -> None:
        self._pool = WorkerPool(n_jobs=WORKERS, keep_alive=True)

    def __exit__(self, *error: object) -> None:
        self._pool.terminate()

    def map(self, function: Function, items: Iterable[Any]) -> list[Any]:
        # In tuples, since mpire would take an item that is iterable apart.
        return list(self._pool.map(function, [(item,) for item in items]))

    def call(self, function: Function, item: Any) -> Any:
        return self._pool.apply(function, (item,))
