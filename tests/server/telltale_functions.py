"""Functions whose arguments, values and exceptions tell which process unpickles them."""

import os
from collections.abc import Iterator
from typing import Any

import modal_lite

app = modal_lite.App("telltales")


class Telltale:
    """Notes each process that unpickles it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return _unpickled, (self.path,)


def _unpickled(path: str) -> Telltale:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    return Telltale(path)


@app.function(max_containers=1)
def give_back(x: Any) -> Any:
    return x


@app.function(max_containers=1)
def fail_with(x: Any) -> None:
    raise KeyError(x)


@app.function(max_containers=1)
def yield_it(x: Any) -> Iterator[Any]:
    yield x
    raise KeyError(x)


@app.function(max_containers=1)
def call_with(x: Any) -> Any:
    return give_back.remote(x)


@app.cls(max_containers=1)
class Model:
    def __init__(self, x: Any) -> None:
        self.x = x

    @modal_lite.method()
    def get(self) -> Any:
        return self.x


@app.cls(max_containers=1)
class Broken:
    def __init__(self, x: Any) -> None:
        raise KeyError(x)

    @modal_lite.method()
    def get(self) -> None: ...
