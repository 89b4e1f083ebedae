"""A bare synchronicity call without any work behind it."""

from typing import Any

from synchronicity import Synchronizer

from benchmarks.peers.base import WORKERS, Function, Peer


class Nothing:
    async def happens(self, item: Any) -> Any:
        return item


class Synchronicity(Peer):
    about = "a wrapped coroutine that returns its argument: no worker, no pickling"
    distribution = "synchronicity"
    bare = True
    cold_script = """
from synchronicity import Synchronizer

class Adder:
    async def add(self, x):
        return x + 1

if __name__ == "__main__":
    print(Synchronizer().wrap(Adder)().add(41), flush=True)
"""

    def __init__(self, workers: int = WORKERS) -> None:
        super().__init__(workers)
        self._nothing = Synchronizer().wrap(Nothing)()

    def call(self, function: Function, item: Any) -> Any:
        return self._nothing.happens(item)

    async def acall(self, function: Function, item: Any) -> Any:
        return await self._nothing.happens.aio(item)
