"""modal_lite itself, as a user's script has it: nothing tuned but the number of containers."""

import importlib.metadata
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import modal_lite as modal
from benchmarks import functions
from benchmarks.peers.base import WORKERS, Function, Peer
from benchmarks.peers.starting import modal_script

app = modal.App("benchmarks")


@app.function(max_containers=WORKERS)
def identity(value: Any) -> Any:
    return value


@app.function(max_containers=WORKERS)
def snooze(seconds: float) -> float:
    return functions.snooze(seconds)


@app.function(max_containers=WORKERS)
def count(n: int) -> Iterator[int]:
    yield from range(n)


@app.function(max_containers=WORKERS)
@modal.batched(max_batch_size=64, wait_ms=50)
def together(values: list[int]) -> list[int]:
    return functions.five_ms(values)


@app.function(max_containers=WORKERS)
def one_at_a_time(value: int) -> int:
    return functions.five_ms(value)


FUNCTIONS = {functions.identity: identity, functions.snooze: snooze}


class ModalLite(Peer):
    about = "`f.map(xs)`, `f.remote(x)`, `max_containers=2`"
    distribution = "modal-lite"
    cold_script = """
import modal_lite as modal

app = modal.App("cold")

@app.function(max_containers=2)
def f(x):
    return x + 1

if __name__ == "__main__":
    with app.run():
        print(f.remote(41), flush=True)
"""

    start_script = modal_script()

    def __init__(self, workers: int = WORKERS) -> None:
        super().__init__(workers)
        self._functions = FUNCTIONS
        if workers != WORKERS:
            self._functions = {key: f.with_options(max_containers=workers) for key, f in FUNCTIONS.items()}

    def __enter__(self) -> Peer:
        self._run = app.run()
        self._run.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._run.__exit__(None, None, None)

    @classmethod
    def version(cls) -> str:
        try:
            return super().version()
        except importlib.metadata.PackageNotFoundError:
            return "this tree"

    def map(self, function: Function, items: Iterable[Any]) -> list[Any]:
        return list(self._functions[function].map(items))

    def stream(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self._functions[function].map(items))

    def amap(self, function: Function, items: Iterable[Any]) -> AsyncIterator[Any]:
        return aiter(self._functions[function].map.aio(items))

    def call(self, function: Function, item: Any) -> Any:
        return self._functions[function].remote(item)

    async def acall(self, function: Function, item: Any) -> Any:
        return await self._functions[function].remote.aio(item)

    def batched(self, function: Function, items: Iterable[Any]) -> list[Any]:
        return list(together.map(items))

    def generate(self, n: int) -> Iterator[int]:
        return iter(count.remote_gen(n))
