"""The results of map have the function's type, in both ways to iterate."""

from collections.abc import AsyncIterator

import modal_lite

app = modal_lite.App("typed")


@app.function()
def plain(x: int, y: int = 0) -> str:
    return str(x + y)


async def numbers() -> AsyncIterator[int]:
    yield 1


def blocking() -> None:
    for result in plain.map([1, 2], range(3), kwargs={}, order_outputs=False):
        reveal_type(result)  # R: str
    for result in plain.map(numbers()):
        reveal_type(result)  # R: str
    for result in plain.starmap([(1, 2), (3, 4)], {}, True, False):
        reveal_type(result)  # R: str
    for result in plain.map([1], return_exceptions=True, wrap_returned_exceptions=False):
        reveal_type(result)  # R: str
    plain.for_each([1, 2], ignore_exceptions=True)


async def awaited() -> None:
    async for result in plain.map.aio([1, 2]):
        reveal_type(result)  # R: str
    async for result in plain.map.aio(numbers()):
        reveal_type(result)  # R: str
    async for result in plain.starmap.aio([(1, 2)]):
        reveal_type(result)  # R: str
    await plain.for_each.aio([1, 2])
