"""What a queue holds and who waits for it: order, room, expiry, and nothing lost when somebody leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from modal_lite._core.object_requests import MAX_ITEMS, MAX_TTL
from modal_lite._server import queues
from modal_lite._server.queues import QueueState


class Clock:
    """Time that tests turn."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> QueueState:
    return QueueState(clock)


async def put(
    queue: QueueState, *values: bytes, key: str = "", timeout: float | None = 0, ttl: float = MAX_TTL
) -> bool:
    return await queue.put(key, list(values), timeout, ttl)


async def get(queue: QueueState, count: int = 1, key: str = "", timeout: float | None = 0) -> list[bytes]:
    values = await queue.get(key, count, timeout, "take")
    queue.taken("take", received=True)
    return values


@asynccontextmanager
async def waiting(coroutine: Any) -> AsyncIterator["asyncio.Task[Any]"]:
    """The coroutine as a task that has come as far as it can."""
    task = asyncio.get_running_loop().create_task(coroutine)
    await settle()
    assert not task.done()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_first_in_first_out(queue: QueueState) -> None:
    assert await get(queue) == []
    assert await put(queue, b"1", b"2")
    assert await put(queue, b"3")
    assert await get(queue, 2) == [b"1", b"2"]
    assert await get(queue, 2) == [b"3"]


async def test_those_who_wait_are_served_in_their_order(queue: QueueState) -> None:
    async with waiting(get(queue, 2, timeout=None)) as first, waiting(get(queue, timeout=None)) as second:
        await put(queue, b"1", b"2", b"3")
        # Who comes later finds nothing, though nobody has picked up his share yet.
        assert await get(queue) == []
        assert (await first, await second) == ([b"1", b"2"], [b"3"])


async def test_a_get_that_is_cancelled_takes_nothing(queue: QueueState) -> None:
    async with waiting(get(queue, timeout=None)):
        pass
    await put(queue, b"1")
    assert await get(queue) == [b"1"]


async def test_a_get_that_is_cancelled_once_it_is_served_gives_back(queue: QueueState) -> None:
    async with waiting(get(queue, 2, timeout=None)) as first, waiting(get(queue, timeout=None)) as second:
        await put(queue, b"1", b"2", b"3")
        for task in (first, second):
            task.cancel()
        for task in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await task
    assert await get(queue, 5) == [b"1", b"2", b"3"]


async def test_what_a_cancelled_get_gives_back_goes_to_who_waits(queue: QueueState) -> None:
    async with waiting(get(queue, timeout=None)) as first, waiting(get(queue, timeout=None)) as second:
        await put(queue, b"1")
        first.cancel()
        assert await second == [b"1"]


async def test_values_that_did_not_arrive_are_where_they_were(queue: QueueState) -> None:
    await put(queue, b"1", b"2", b"3", b"4")
    assert await queue.get("", 2, 0, "a") == [b"1", b"2"]
    assert await queue.get("", 1, 0, "b") == [b"3"]
    queue.taken("a", received=False)
    queue.taken("b", received=False)
    queue.taken("b", received=False)
    queue.taken("unknown", received=False)
    assert await get(queue, 9) == [b"1", b"2", b"3", b"4"]


async def test_values_that_arrived_are_gone(queue: QueueState) -> None:
    await put(queue, b"1")
    assert await queue.get("", 1, 0, "a") == [b"1"]
    queue.taken("a", received=True)
    queue.taken("a", received=False)
    assert await get(queue) == []


async def test_values_that_come_back_expire_when_they_would_have(queue: QueueState, clock: Clock) -> None:
    await put(queue, b"1", ttl=10)
    await queue.get("", 1, 0, "a")
    queue.taken("a", received=False)
    clock.now = 9
    assert queue.count("") == 1
    clock.now = 10
    assert queue.count("") == 0


async def test_a_full_partition_makes_who_puts_wait_for_room_for_all(queue: QueueState) -> None:
    assert await put(queue, *[b"x"] * (MAX_ITEMS - 1))
    assert not await put(queue, b"1", b"2")
    assert await put(queue, b"1", key="other")
    async with (
        waiting(put(queue, b"1", b"2", timeout=None)) as first,
        waiting(put(queue, b"3", timeout=None)) as second,
    ):
        # The second would fit, but it is not its turn.
        await get(queue)
        assert await first
        assert not second.done()
        await get(queue)
        assert await second
    assert (await get(queue, MAX_ITEMS))[-3:] == [b"1", b"2", b"3"]


async def test_who_puts_and_leaves_lets_those_behind_in(queue: QueueState) -> None:
    await put(queue, *[b"x"] * (MAX_ITEMS - 1))
    async with (
        waiting(put(queue, b"1", b"2", timeout=None)) as first,
        waiting(put(queue, b"3", timeout=None)) as second,
    ):
        first.cancel()
        assert await second
    assert queue.count("") == MAX_ITEMS


async def test_nothing_is_put_once_the_time_is_over(queue: QueueState) -> None:
    await put(queue, *[b"x"] * MAX_ITEMS)
    assert not await put(queue, b"late", timeout=0.01)
    assert await get(queue, MAX_ITEMS) == [b"x"] * MAX_ITEMS
    assert await get(queue, timeout=0.01) == []


async def test_large_values_are_not_given_out_all_together(queue: QueueState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "MAX_TOGETHER", 10)
    await put(queue, b"x" * 4, b"y" * 6, b"z", b"w" * 11)
    assert [len(await get(queue, 9)) for _ in range(3)] == [2, 1, 1]


async def test_partitions_expire_each_by_itself(queue: QueueState, clock: Clock) -> None:
    await put(queue, b"1", key="a", ttl=5)
    await put(queue, b"2", key="b", ttl=50)
    clock.now = 4
    await put(queue, b"3", key="a", ttl=5)
    clock.now = 8
    assert (queue.count("a"), queue.count(None)) == (2, 3)
    clock.now = 9
    assert (queue.count("a"), queue.count(None)) == (0, 1)
    await put(queue, b"4", key="a")
    assert await get(queue, 9, key="a") == [b"4"]


async def test_expiry_makes_room(queue: QueueState, clock: Clock) -> None:
    await put(queue, *[b"x"] * MAX_ITEMS, ttl=5)
    async with waiting(put(queue, b"1", timeout=None)) as waiter:
        clock.now = 5
        assert queue.count("") == 1
        assert await waiter


async def test_many_partitions_do_not_stay_for_ever(queue: QueueState, clock: Clock) -> None:
    for n in range(3000):
        clock.now += 1
        await put(queue, b"x", key=str(n), ttl=10)
    assert len(queue._partitions) < 1500
    assert queue.count(None) <= 10


async def test_idle_partitions_are_not_kept(queue: QueueState) -> None:
    await put(queue, b"1", key="a")
    await get(queue, key="a")
    queue.count("b")
    queue.clear("c")
    await queue.page("d", 0, 0)
    async with waiting(get(queue, key="e", timeout=None)):
        pass
    async with waiting(queue.page("f", 0, 60)):
        pass
    assert queue._partitions == {}


async def test_clearing_lets_in_who_waits(queue: QueueState) -> None:
    await put(queue, *[b"x"] * MAX_ITEMS)
    await put(queue, b"other", key="a")
    async with waiting(put(queue, b"1", timeout=None)) as waiter:
        queue.clear("")
        assert await waiter
    assert (queue.count(""), queue.count("a")) == (1, 1)
    queue.clear(None)
    assert queue.count(None) == 0


async def test_pages_go_through_the_values_and_leave_them(queue: QueueState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "PAGE", 3)
    await put(queue, b"aa", b"bb", b"cc", b"dd", b"ee")
    seen, after = [], 0
    while (page := await queue.page("", after, 0))[0]:
        values, after = page
        seen.append(values)
    assert seen == [[b"aa", b"bb"], [b"cc", b"dd"], [b"ee"]]
    assert queue.count("") == 5


async def test_a_page_waits_for_its_first_value(queue: QueueState) -> None:
    async with waiting(queue.page("", 0, 60)) as waiter:
        await put(queue, b"1")
        values, _ = await waiter
    assert values == [b"1"]
    assert await queue.page("other", 0, 0.01) == ([], 0)


async def test_the_end_of_a_queue_ends_every_wait(queue: QueueState) -> None:
    await put(queue, *[b"x"] * MAX_ITEMS)
    async with (
        waiting(put(queue, b"1", timeout=None)) as putter,
        waiting(get(queue, key="a", timeout=None)) as getter,
        waiting(queue.page("b", 0, 60)) as watcher,
    ):
        queue.close()
        await putter
        assert await getter == []
        assert await watcher == ([], 0)
    assert queue.closed
