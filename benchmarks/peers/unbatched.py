"""modal_lite without `@batched`, beside modal_lite with it."""

from collections.abc import Iterable
from typing import Any

from benchmarks.peers import modal_lite
from benchmarks.peers.base import Function


class Unbatched(modal_lite.ModalLite):
    about = "the same function without `@batched`, called for each input"
    bare = True
    only = ("batched_5ms",)
    shares = {"batched_5ms": 1 / 32}

    def batched(self, function: Function, items: Iterable[Any]) -> list[Any]:
        return list(modal_lite.one_at_a_time.map(items))
