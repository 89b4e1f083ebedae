"""Blocks do not overlap, lie as low as they can, and are freed in their order."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from modal_lite._transport.ring import Ring

SIZE = 100


@given(st.lists(st.one_of(st.integers(1, SIZE + 1), st.integers(-3, -1)), max_size=60))
def test_blocks_never_overlap(steps: list[int]) -> None:
    ring, blocks = Ring(SIZE), deque[range]()
    for step in steps:
        if step < 0:
            ring.free(-step)
            for _ in range(min(-step, len(blocks))):
                blocks.popleft()
            continue
        start = ring.take(step)
        if start is None:
            assert blocks or step > SIZE
            continue
        block = range(start, start + step)
        assert start >= 0 and block.stop <= SIZE
        assert all(block.stop <= other.start or other.stop <= block.start for other in blocks)
        blocks.append(block)


def test_two_blocks_under_way_use_the_memory_of_two() -> None:
    ring = Ring(SIZE)
    starts = [ring.take(10)]
    for _ in range(20):
        starts.append(ring.take(10))
        ring.free(1)
    assert set(starts) == {0, 10}


def test_a_full_ring_has_room_once_the_oldest_is_freed() -> None:
    ring = Ring(SIZE)
    assert ring.take(SIZE + 1) is None
    assert [ring.take(40), ring.take(40), ring.take(40)] == [0, 40, None]
    ring.free(1)
    assert [ring.take(41), ring.take(40), ring.take(1)] == [None, 0, None]
    ring.free(1)
    assert [ring.take(60), ring.take(1)] == [40, None]


def test_freeing_more_than_there_is_frees_all() -> None:
    ring = Ring(SIZE)
    ring.take(SIZE)
    ring.free(5)
    assert ring.take(SIZE) == 0
