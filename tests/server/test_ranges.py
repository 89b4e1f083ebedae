"""Chunks that are sent again, with ranges: what cannot be is refused, and changes nothing."""

from typing import Any

import pytest

from modal_lite import _client
from modal_lite._core.crossing import on_loop, wait_blocking
from modal_lite._core.ids import new_id
from modal_lite._core.messages import Encoding
from modal_lite._core.payload import Payload
from modal_lite._core.requests import CallKind, ExchangeChunk, OpenMap
from modal_lite._core.serialization import dumps
from modal_lite._scheduler import invariants
from modal_lite._scheduler.records import IllegalTransition
from tests.server.conftest import plane
from tests.server.functions import same


def ask(request: Any, payload: Payload | None = None) -> Any:
    """Has the control plane answer a request."""
    connection: Any = _client.current_client()._connection
    arguments = (request,) if payload is None else (request, payload)
    return wait_blocking(on_loop(connection.request, *arguments))


def chunk(call_id: str, start: int, count: int, ranges: list[tuple[int, int]]) -> Any:
    """Sends inputs again."""
    payload = dumps(([(i,) for i in range(count)], {}))
    return ask(ExchangeChunk(call_id, start, count, Encoding.STAR, False, False, None, ranges), payload)


@pytest.mark.parametrize(
    "ranges",
    [
        [(9, 11)],
        [(10, 21)],
        [(12, 12)],
        [(14, 12)],
        [(10, 14), (12, 16)],
        [(14, 16), (10, 12)],
        [(-5, 11)],
        [(0, 1 << 62)],
    ],
)
def test_ranges_that_are_not_the_next_inputs(run: Any, ranges: list[tuple[int, int]]) -> None:
    same.remote(1)
    call_id = new_id("fc")
    ask(OpenMap(call_id, same.object_id, CallKind.MAPPED, None))
    with pytest.raises(IllegalTransition):
        chunk(call_id, 10, 10, ranges)
    chunk(call_id, 10, 10, [(10, 12), (15, 20)])
    with pytest.raises(IllegalTransition):
        chunk(call_id, 0, 5, [(0, 5)])
    ask(ExchangeChunk(call_id, 0, 0, Encoding.CALL, True, False, None, [(0, 0)]))
    got = 0
    while True:
        batch = ask(ExchangeChunk(call_id, 0, 0, Encoding.CALL, False, True, None))
        got += sum(output.count for output in batch.outputs)
        if batch.finished:
            break
    assert got == 7
    wait_blocking(on_loop(validate))


async def validate() -> None:
    """The scheduler is as it should be."""
    invariants.validate(plane().scheduler)
