"""Calls that are stored: which of their inputs are left, what is too large, what has expired."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modal_lite._core.messages import Encoding
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import CallKind, ExchangeChunk, GetOutput, Output
from modal_lite._core.stored import StoredCall, StoredChunk
from modal_lite._server import durable
from modal_lite._server.calls import CallState
from modal_lite._server.durable import DurableCall, DurableCalls, remaining
from modal_lite._store.sqlite import SqliteStore
from modal_lite.exception import (
    ExecutionError,
    InvalidError,
    NotFoundError,
    OutputExpiredError,
    RequestSizeError,
)


def data(size: int) -> Payload:
    return Payload((size,), [b"x" * size])


class Kept:
    """Durable calls over a real store."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteStore(path)
        self.known: dict[str, CallState] = {}
        self.calls = DurableCalls(self.store, self.known, lambda call_id: [], lambda call_id: self.known.pop(call_id))

    def open(self, call_id: str = "fc-1", closed: bool = True) -> DurableCall:
        stored = StoredCall(call_id, "ap-1", "fu-1.1", CallKind.SPAWNED, "", None, time.time(), closed, int(closed))
        call = self.calls.open(stored)
        self.known[call_id] = call
        return call


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    made = Kept(tmp_path / "state.db")
    yield made
    await made.store.close()


@pytest.mark.parametrize(
    ("done", "left"),
    [
        ([], [(10, 20)]),
        ([(10, 20)], []),
        ([(0, 12), (15, 16), (18, 30)], [(12, 15), (16, 18)]),
        ([(0, 10), (20, 30)], [(10, 20)]),
    ],
)
def test_remaining(done: list[tuple[int, int]], left: list[tuple[int, int]]) -> None:
    assert remaining(StoredChunk(10, 10, Encoding.SINGLE, EMPTY), done) == left


async def test_an_output_is_shown_after_its_commit(kept: Kept) -> None:
    call = kept.open()
    async with asyncio.TaskGroup() as group:
        getting = group.create_task(kept.calls.output(GetOutput("fc-1", 0, None)))
        await asyncio.sleep(0)
        call.deliver(Output(0, 1, None, data(3)))
        call.finish()
    assert getting.result().outputs == [Output(0, 1, None, data(3))]
    await kept.store.committed()
    assert not kept.known


async def test_polling(kept: Kept) -> None:
    kept.open()
    with pytest.raises(TimeoutError):
        await kept.calls.output(GetOutput("fc-1", 0, 0.0))
    with pytest.raises(TimeoutError):
        await kept.calls.output(GetOutput("fc-1", 0, 0.01))


async def test_why_there_is_no_output(kept: Kept) -> None:
    call = kept.open()
    call.deliver(Output(0, 1, None, data(3)))
    call.finish()
    await kept.store.committed()
    with pytest.raises(InvalidError, match="no input number 5"):
        await kept.calls.output(GetOutput("fc-1", 5, None))
    with pytest.raises(NotFoundError, match="no function call fc-2"):
        await kept.calls.output(GetOutput("fc-2", 0, None))
    kept.store.expire(time.time() + 1, 0.0)
    await kept.store.committed()
    with pytest.raises(OutputExpiredError, match="7 days"):
        await kept.calls.output(GetOutput("fc-1", 0, None))


async def test_what_is_too_large(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "MAX_STORED", 10)
    call = kept.open()
    with pytest.raises(RequestSizeError, match="11 bytes"):
        kept.calls.add_chunk(call, ExchangeChunk("fc-1", 1, 1, Encoding.CALL, False, False, None), data(11))
    call.deliver(Output(0, 1, None, data(11)))
    call.finish()
    (output,) = (await kept.calls.output(GetOutput("fc-1", 0, None))).outputs
    assert output.failure is not None and "at most 10" in output.failure.message


async def test_inputs_that_are_sent_again_are_taken_once(kept: Kept) -> None:
    call = kept.open(closed=False)
    request = ExchangeChunk("fc-1", 0, 5, Encoding.SINGLE, False, False, None)
    assert kept.calls.add_chunk(call, request, data(1))
    assert not kept.calls.add_chunk(call, request, data(1))
    assert call.num_inputs == 5


async def test_what_ends_with_the_server_is_not_stored(kept: Kept) -> None:
    call = kept.open()
    kept.calls.seal()
    call.deliver(Output(0, 1, None, data(3)))
    call.finish()
    kept.calls.drop("fc-1")
    await kept.store.committed()
    (unfinished,) = await kept.store.load_unfinished()
    assert unfinished.done == [] and kept.calls.reopen(unfinished).num_inputs == 0


async def test_results_that_the_store_does_not_take(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is told, and it is tried again until it takes them: in their order, the end of the call last."""
    monkeypatch.setattr(durable, "FIRST_DELAY", 0.05)
    call, other = kept.open(), kept.open("fc-2")
    await kept.store.committed()
    limit_pages(kept, 1)
    getting = asyncio.create_task(kept.calls.output(GetOutput("fc-1", 0, None)))
    await asyncio.sleep(0)
    call.deliver(Output(0, 1, None, data(50_000)))
    call.finish()
    with pytest.raises(ExecutionError, match=r"could not write it to its store: .*full.* keeps trying"):
        await getting
    other.deliver(Output(0, 1, None, data(3)))
    other.finish()
    assert (await kept.store.find_call("fc-1")).finished is None  # type: ignore[union-attr]
    limit_pages(kept, 1 << 30)
    async with asyncio.timeout(10):
        while kept.known:
            await asyncio.sleep(0.01)
    for call_id, size in (("fc-1", 50_000), ("fc-2", 3)):
        (output,) = (await kept.calls.output(GetOutput(call_id, 0, None))).outputs
        assert output.payload.nbytes == size
        assert (await kept.store.find_call(call_id)).finished is not None  # type: ignore[union-attr]


async def test_what_is_not_written_when_the_server_ends_is_done_again(kept: Kept) -> None:
    call = kept.open()
    await kept.store.committed()
    limit_pages(kept, 1)
    call.deliver(Output(0, 1, None, data(50_000)))
    call.finish()
    with pytest.raises(ExecutionError):
        await kept.calls.output(GetOutput("fc-1", 0, None))
    kept.calls.seal()
    limit_pages(kept, 1 << 30)
    await kept.store.committed()
    (unfinished,) = await kept.store.load_unfinished()
    assert unfinished.done == []


def limit_pages(kept: Kept, pages: int) -> None:
    """Makes the file full, or not: SQLite takes no limit that is below what there is."""
    kept.store._writer._database.execute(f"PRAGMA max_page_count = {pages}")
