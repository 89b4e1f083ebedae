"""Arguments that the function does not take, results it does not give."""

import modal_lite

app = modal_lite.App("typed")


@app.function()
def plain(x: int, *, flag: bool = False) -> str:
    return str(x)


def wrong() -> None:
    plain.remote("one")  # E: incompatible type "str"; expected "int"
    plain.remote()  # E: (Missing positional argument|Too few arguments)
    plain.remote(1, 2)  # E: Too many (positional )?arguments
    plain.remote(1, nonsense=True)  # E: Unexpected keyword argument "nonsense"
    plain.remote(1, flag="yes")  # E: incompatible type "str"; expected "bool"
    plain.local("one")  # E: incompatible type "str"; expected "int"
    plain.spawn("one")  # E: incompatible type "str"; expected "int"
    plain(1)  # E: not callable
    number: int = plain.remote(1)  # E: Incompatible types in assignment
    other: int = plain.spawn(1).get()  # E: Incompatible types in assignment
    plain.map(1)  # E: incompatible type "int"
    plain.no_such_method()  # E: has no attribute


async def wrong_awaited() -> None:
    await plain.remote.aio("one")  # E: incompatible type "str"; expected "int"
    await plain.spawn.aio("one")  # E: incompatible type "str"; expected "int"
    await plain.remote(1)  # E: Incompatible types in "await"
    number: int = await plain.remote.aio(1)  # E: Incompatible types in assignment
