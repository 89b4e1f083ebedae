"""The control plane never unpickles: payloads that tell where they are unpickled travel in every message that has any.

The requests are the client's own, without its unpickling of the answers, for the client is in this process, too.
"""

import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from modal_lite._client import current_client
from modal_lite._core.ids import new_id
from modal_lite._core.messages import Encoding
from modal_lite._core.requests import CallKind
from modal_lite._core.serialization import dumps
from modal_lite._drive import run_blocking
from tests.server.conftest import lines
from tests.server.telltale_functions import Broken, Model, Telltale, app, call_with, fail_with, give_back, yield_it


@pytest.fixture(scope="module", autouse=True)
def running() -> Iterator[None]:
    with app.run():
        yield


async def _run(function_id: str, x: Telltale) -> None:
    await current_client().run(new_id("fc"), function_id, dumps(((x,), {})))


async def _spawn(function_id: str, x: Telltale) -> None:
    client, call_id = current_client(), new_id("fc")
    await client.start(call_id, function_id, CallKind.SPAWNED, dumps(((x,), {})))
    await client.get_output(call_id, 0, None)
    await client.call_graph(call_id)


async def _map(function_id: str, x: Telltale) -> None:
    client, call_id = current_client(), new_id("fc")
    await client.open_map(call_id, function_id, CallKind.MAPPED)
    finished, start = False, 0
    while not finished:
        count = 5 if start < 20 else 0
        payload = dumps(([x] * count, {"x": x} if not count else {}))
        batch = await client.exchange(
            call_id, start, count, Encoding.SINGLE, payload, closed=start == 15, wait=start >= 15
        )
        start, finished = start + count, batch.finished
    client.forget_call(call_id)


async def _stream(function_id: str, x: Telltale) -> None:
    client, call_id = current_client(), new_id("fc")
    await client.start(call_id, function_id, CallKind.GENERATOR, dumps(((x,), {})))
    while not (await client.next_values(call_id, 0)).finished:
        pass


WAYS: dict[str, tuple[Callable[[str, Telltale], Coroutine[Any, Any, None]], Any]] = {
    "a value": (_run, give_back),
    "an exception": (_run, fail_with),
    "a kept value": (_spawn, give_back),
    "a kept exception": (_spawn, fail_with),
    "a map": (_map, give_back),
    "a map that fails": (_map, fail_with),
    "a generator": (_stream, yield_it),
    "a nested call": (_run, call_with),
}


@pytest.mark.parametrize("way", sorted(WAYS))
def test_calls(tmp_path: Path, way: str) -> None:
    call, function = WAYS[way]
    path = str(tmp_path / "unpickled in")
    run_blocking(call, function.object_id, Telltale(path))
    assert lines(path), "not even the container has unpickled it"
    assert str(os.getpid()) not in lines(path)


@pytest.mark.parametrize("cls", [Model, Broken])
def test_parameters_of_a_class(tmp_path: Path, cls: Any) -> None:
    path = str(tmp_path / "unpickled in")
    call = cls(Telltale(path)).get.spawn()
    run_blocking(current_client().get_output, call.object_id, 0, None)
    assert lines(path), "not even the container has unpickled it"
    assert str(os.getpid()) not in lines(path)


def test_a_function_that_travels_pickled(tmp_path: Path) -> None:
    from modal_lite import App

    path = str(tmp_path / "unpickled in")
    telltale = Telltale(path)
    serialized = App("serialized")
    function = serialized.function(serialized=True, name="closure")(lambda: telltale)
    with serialized.run():
        call = function.spawn()
        run_blocking(current_client().get_output, call.object_id, 0, None)
    assert lines(path), "not even the container has unpickled it"
    assert str(os.getpid()) not in lines(path)
