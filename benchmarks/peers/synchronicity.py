"""A bare synchronicity call without any work behind it: what no call of modal_lite can be faster than."""

from typing import Any

from synchronicity import Synchronizer

from benchmarks.peers.base import Function, Peer


class Nothing:
    async def happens(self, item: Any) -> Any:
        return item


class Synchronicity(Peer):
    about = "a wrapped coroutine that returns its argument: no worker, no pickling"
    distribution = "synchronicity"

    def __init__(self) -> None:
        self._nothing = Synchronizer().wrap(Nothing)()

    def call(self, function: Function, item: Any) -> Any:
        return self._nothing.happens(item)

    async def acall(self, function: Function, item: Any) -> Any:
        return await self._nothing.happens.aio(item)
