"""Spawned calls carry the type of the result; gather gives a list of it."""

import modal_lite
from modal_lite.call_graph import InputInfo

app = modal_lite.App("typed")


@app.function()
def plain(x: int) -> str:
    return str(x)


@app.function()
async def asynchronous(x: int) -> float:
    return float(x)


def blocking() -> None:
    call = plain.spawn(1)
    reveal_type(call)  # R: modal_lite.functions.FunctionCall[str]
    reveal_type(call.get())  # R: str
    reveal_type(call.get(timeout=0))  # R: str
    reveal_type(call.get(timeout=1.5, index=0))  # R: str
    reveal_type(asynchronous.spawn(1).get())  # R: float
    reveal_type(call.object_id)  # R: str
    reveal_type(call.num_inputs())  # R: int
    graph: list[InputInfo] = call.get_call_graph()
    graph[0].children.clear()
    call.cancel()
    call.cancel(terminate_containers=True)
    reveal_type(modal_lite.gather(plain.spawn(1), plain.spawn(2)))  # R: list[str]
    reveal_type(modal_lite.functions.gather(plain.spawn(1)))  # R: list[str]
    many = plain.spawn_map([1, 2])
    reveal_type(many.get(index=1))  # R: str
    for result in many.iter(start=0, end=1):
        reveal_type(result)  # R: str


async def awaited() -> None:
    call = await plain.spawn.aio(1)
    reveal_type(call)  # R: modal_lite.functions.FunctionCall[str]
    reveal_type(await call.get.aio(timeout=5))  # R: str
    reveal_type(await modal_lite.gather.aio(call, call))  # R: list[str]
    async for result in call.iter.aio():
        reveal_type(result)  # R: str
