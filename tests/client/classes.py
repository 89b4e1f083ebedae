"""The classes of `test_cls.py`; containers import this module."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import modal_lite

app = modal_lite.App("class-tests")


@app.cls()
class Plain:
    """Made by an ordinary `__init__`."""

    factor = 3

    def __init__(self, base: int = 1, *, extra: int = 0) -> None:
        self.base = base
        self.extra = extra

    def helper(self, x: int) -> int:
        return self.base + self.extra + x

    @modal_lite.method()
    def compute(self, x: int) -> int:
        return self.helper(x) * self.factor

    @modal_lite.method()
    def locally(self, x: int) -> int:
        return self.compute.local(x) + 1

    @modal_lite.method()
    def elsewhere(self, x: int) -> tuple[int, int]:
        return self.compute.remote(x), Plain(self.base + 1).compute.remote(x)

    @modal_lite.method()
    async def compute_async(self, x: int) -> int:
        await asyncio.sleep(0)
        return self.base + x

    @modal_lite.method()
    def count(self, n: int) -> Iterator[int]:
        for i in range(n):
            yield self.base + i

    @modal_lite.method()
    async def count_async(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield self.base + i

    @modal_lite.method(is_generator=True)
    def count_indirectly(self, n: int) -> Any:
        return iter(range(n))

    @modal_lite.method()
    def fail(self) -> None:
        raise ValueError(f"failed at {self.base}")


@app.cls(min_containers=1)
class Pool:
    key: str = modal_lite.parameter()
    number: int = modal_lite.parameter(default=5)
    share: float = modal_lite.parameter(default=0.5)
    data: bytes = modal_lite.parameter(default=b"d")
    fixed: bool = modal_lite.parameter(default=True, init=False)

    @modal_lite.enter()
    def start(self) -> None:
        self.calls = 0

    @modal_lite.method()
    def where(self) -> tuple[str, int, int]:
        self.calls += 1
        return self.key, os.getpid(), self.calls

    @modal_lite.method()
    def values(self) -> tuple[Any, ...]:
        return self.key, self.number, self.share, self.data, self.fixed


class Undecorated:
    size: int = modal_lite.parameter(default=1)

    @modal_lite.enter()
    def start(self) -> None:
        self.events = ["base"]

    @modal_lite.method()
    def inherited(self) -> tuple[list[str], int]:
        return self.events, self.size

    @modal_lite.method()
    def overridden(self) -> str:
        return "base"


@app.cls()
class Decorated(Undecorated):
    @modal_lite.enter()
    def start_again(self) -> None:
        self.events.append("derived")

    def overridden(self) -> str:
        return f"derived of {super().overridden()}"


@app.cls()
class Derived(Decorated):
    colour: str = modal_lite.parameter(default="red")

    @modal_lite.method()
    def overridden(self) -> str:
        return f"{self.colour} {super().overridden.local()}"


class Here:
    """Where `.local` runs the hooks."""

    entered: list[str] = []


@app.cls()
class Local:
    label = "label"

    @modal_lite.enter()
    async def later(self) -> None:
        await asyncio.sleep(0)
        Here.entered.append("async")

    @modal_lite.enter()
    def first(self) -> None:
        Here.entered.append("sync")

    def undecorated(self) -> str:
        return "undecorated"

    @modal_lite.method()
    def plain(self) -> int:
        return len(Here.entered)

    @modal_lite.method()
    async def awaited(self) -> int:
        return len(Here.entered)

    @modal_lite.method()
    async def streamed(self) -> AsyncIterator[int]:
        yield len(Here.entered)


@app.function()
def use(plain: Any, cls: Any, compute: Any) -> tuple[int, int, int]:
    """Calls what it was given the handles of."""
    return plain.compute.remote(1), cls(20).compute.remote(1), compute.remote(2)
