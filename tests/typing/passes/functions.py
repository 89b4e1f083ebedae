"""A function's methods have the types of its signature."""

from collections.abc import AsyncGenerator, Generator

import modal_lite

app = modal_lite.App("typed")


@app.function()
def plain(x: int, *, flag: bool = False) -> str:
    return str(x)


@app.function(retries=2, timeout=10, env={"A": "b"}, secrets=[modal_lite.Secret.from_dict({"C": "d"})])
async def asynchronous(x: int) -> float:
    return float(x)


@app.function(retries=modal_lite.Retries(max_retries=1))
def count(n: int) -> Generator[int, None, None]:
    yield n


@app.function()
async def count_async(n: int) -> AsyncGenerator[int, None]:
    yield n


def blocking() -> None:
    reveal_type(plain.remote(1))  # R: str
    reveal_type(plain.remote(x=1, flag=True))  # R: str
    reveal_type(plain.local(1))  # R: str
    reveal_type(asynchronous.remote(1))  # R: float
    reveal_type(plain.get_raw_f()(1))  # R: str
    reveal_type(plain.tag)  # R: str
    reveal_type(plain.object_id)  # R: str
    reveal_type(plain.is_generator)  # R: bool
    for _ in count.remote_gen(3):
        pass
    for value in count.local(3):
        reveal_type(value)  # R: int


async def awaited() -> None:
    reveal_type(await plain.remote.aio(1))  # R: str
    reveal_type(await plain.remote.aio(1, flag=True))  # R: str
    reveal_type(await asynchronous.remote.aio(1))  # R: float
    reveal_type(await asynchronous.local(1))  # R: float
    async for _ in count_async.remote_gen.aio(3):
        pass
    async for value in count_async.local(3):
        reveal_type(value)  # R: int


def with_the_app() -> None:
    with app.run():
        plain.remote(1)


async def with_the_app_awaited() -> None:
    async with app.run():
        await plain.remote.aio(1)
