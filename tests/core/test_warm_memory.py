"""Buffers serve again when nobody looks at them any more, and not before."""

import pytest

from modal_lite._core import warm_memory
from modal_lite._core.warm_memory import LARGEST, SMALLEST, WarmMemory

SIZE = SMALLEST + 100


def copy(memory: WarmMemory, byte: int, size: int = SIZE) -> memoryview:
    return memory.copy(memoryview(bytes([byte]) * size))


def test_a_copy_is_read_only_and_does_not_change() -> None:
    memory = WarmMemory()
    original = bytearray(SIZE)
    made = memory.copy(memoryview(original))
    original[0] = 1
    assert made.readonly
    assert made == bytes(SIZE)


def test_a_buffer_serves_again_once_no_view_is_left() -> None:
    memory = WarmMemory()
    first = copy(memory, 1)
    buffer, part = first.obj, first[10:20]
    second = copy(memory, 2)
    assert second.obj is not buffer
    del first
    third = copy(memory, 3)
    assert third.obj is not buffer
    assert bytes(part) == b"\1" * 10
    part.release()
    fourth = copy(memory, 4, SIZE - 50)
    assert fourth.obj is buffer
    assert fourth == b"\4" * (SIZE - 50)
    assert second[0] == 2 and third[0] == 3


def test_a_small_copy_does_not_take_a_large_buffer() -> None:
    memory = WarmMemory()
    buffer = copy(memory, 1, 3 * SIZE).obj
    assert copy(memory, 2).obj is not buffer


@pytest.mark.parametrize("size", [10, SMALLEST - 1, LARGEST + 1])
def test_sizes_that_are_not_kept(size: int) -> None:
    memory = WarmMemory()
    made = copy(memory, 1, size)
    assert isinstance(made.obj, bytes)
    assert made == b"\1" * size


def test_what_is_kept_is_bounded_and_makes_way_for_other_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_memory, "KEPT", 4 * SIZE)
    memory = WarmMemory()
    held = [copy(memory, i) for i in range(6)]
    assert [made[0] for made in held] == list(range(6))
    kept = {id(buffer) for buffer in memory._buffers}
    assert kept == {id(made.obj) for made in held[:4]}
    del held[1:]
    large = copy(memory, 9, 3 * SIZE)
    assert [buffer for buffer in memory._buffers if buffer is held[0].obj or buffer is large.obj] == list(
        memory._buffers
    )
    assert len(memory._buffers) == 2
