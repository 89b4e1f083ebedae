"""A decorated class keeps its type, and its methods have the types of their signatures.

The constructor that `parameter()` makes is known to type checkers that apply `dataclass_transform` to methods of objects,
as pyright does and mypy does not.
"""

from collections.abc import AsyncGenerator

import modal_lite

app = modal_lite.App("typed-classes")


@app.cls(max_containers=2, retries=1)
class Model:
    def __init__(self, name: str, size: int = 1) -> None:
        self.name = name

    @modal_lite.enter()
    def start(self) -> None:
        self.loaded = True

    @modal_lite.method()
    def predict(self, x: int) -> str:
        return self.helper(x)

    @modal_lite.method()
    async def predict_async(self, x: int) -> float:
        return float(x)

    @modal_lite.method()
    async def count(self, n: int) -> AsyncGenerator[int, None]:
        yield n

    def helper(self, x: int) -> str:
        return self.predict.local(x)

    @modal_lite.exit()
    async def stop(self) -> None: ...


@app.cls()
@modal_lite.concurrent(max_inputs=2)
class Concurrent(Model): ...


@app.cls()
class Batched:
    @modal_lite.method()
    @modal_lite.batched(max_batch_size=2, wait_ms=1)
    def predict(self, xs: list[int]) -> list[str]:
        return [str(x) for x in xs]


def shared() -> None:
    reveal_type(Concurrent("x").predict.remote(1))  # R: str
    reveal_type(Batched().predict.remote(1))  # R: str


def blocking() -> None:
    model = Model("x", size=2)
    reveal_type(model.predict.remote(1))  # R: str
    reveal_type(model.predict_async.remote(x=1))  # R: float
    reveal_type(model.helper(1))  # R: str
    reveal_type(model.name)  # R: str


async def awaited() -> None:
    model = Model("x")
    reveal_type(await model.predict.remote.aio(1))  # R: str
    reveal_type(await model.predict_async.local(1))  # R: float
    async for value in model.count.local(3):
        reveal_type(value)  # R: int
