"""Both sides of the memory, in one process and in two."""

import os
from collections.abc import Iterator

import pytest

from modal_lite._transport.shared_memory import LARGEST, ROOM, SharedMemory, shared_file

MIB = 1 << 20
pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no files in memory only")


@pytest.fixture
def sides() -> Iterator[tuple[SharedMemory, SharedMemory]]:
    fd = shared_file()
    assert fd is not None
    first, second = SharedMemory(fd, first=True), SharedMemory(fd, first=False)
    os.close(fd)
    yield first, second
    first.close()
    second.close()


def test_bodies_go_both_ways_at_once(sides: tuple[SharedMemory, SharedMemory]) -> None:
    first, second = sides
    there, back = first.put([b"ab", b"", memoryview(b"cd")], 4), second.put([b"wxyz"], 4)
    assert there is not None and back is not None
    assert second.take(there, 4) == b"abcd"
    assert first.take(back, 4) == b"wxyz"


def test_what_was_taken_is_the_receivers_own(sides: tuple[SharedMemory, SharedMemory]) -> None:
    first, second = sides
    position = first.put([b"1" * MIB], MIB)
    assert position is not None
    taken = second.take(position, MIB)
    assert first.put([b"2" * MIB], MIB) == position
    assert taken == b"1" * MIB


def test_blocks_are_used_again_when_they_are_received(sides: tuple[SharedMemory, SharedMemory]) -> None:
    first, second = sides
    size = ROOM // 4
    assert [first.put([bytes(size)], size) for _ in range(4)] == [0, size, 2 * size, 3 * size]
    assert first.put([b"1"], 1) is None
    second.take(0, size)
    assert first.put([b"1"], 1) == 0


def test_a_body_that_is_too_large_does_not_go_this_way(sides: tuple[SharedMemory, SharedMemory]) -> None:
    assert sides[0].put([bytes(LARGEST + 1)], LARGEST + 1) is None


@pytest.mark.parametrize(("position", "length"), [(ROOM - 1, 2), (0, LARGEST + 1), (1 << 63, 1)])
def test_what_cannot_be_is_refused(sides: tuple[SharedMemory, SharedMemory], position: int, length: int) -> None:
    with pytest.raises(ValueError, match=f"no body of {length} bytes lies at {position}"):
        sides[1].take(position, length)


def test_a_side_that_is_closed_takes_no_more(sides: tuple[SharedMemory, SharedMemory]) -> None:
    sides[0].close()
    sides[0].close()
    assert sides[0].put([b"1"], 1) is None


def test_what_a_killed_process_sent_is_still_there() -> None:
    fd = shared_file()
    assert fd is not None
    pid = os.fork()
    if pid == 0:
        SharedMemory(fd, first=False).put([b"last words"], 10)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    memory = SharedMemory(fd, first=True)
    os.close(fd)
    assert memory.take(0, 10) == b"last words"
    memory.close()
