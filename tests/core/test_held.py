"""Values that travel in one list and still are what each was by itself."""

import threading
from typing import Any

import pytest

from modal_lite._core.held import HELD_BYTES, Held, hold
from modal_lite._core.serialization import dumps, loads


def _through(value: Any) -> Any:
    held, payload = hold(value)
    return loads(dumps([held]))[0] if payload is None else loads(payload)[0]


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 2.5, 1j, "text", b"bytes", (1, "a"), [1, None], {"a": 1}, {1: [2]}, [[]], {1, 2}, list(range(100))],
)
def test_values_arrive_as_they_are(value: object) -> None:
    arrived = _through(value)
    assert arrived == value
    assert type(arrived) is type(value)


@pytest.mark.parametrize("value", [[1], {"a": 1}, {"a": [1]}])
def test_later_changes_do_not_arrive(value: Any) -> None:
    held, _ = hold(value)
    before = loads(dumps(value))
    value.clear()
    assert loads(dumps([held]))[0] == before


@pytest.mark.parametrize("value", [[1], {"a": [1]}])
def test_one_object_held_twice_arrives_as_two(value: object) -> None:
    first, second = loads(dumps([hold(value)[0], hold(value)[0]]))
    assert first == second
    assert first is not second


@pytest.mark.parametrize(
    "value", [b"x" * (HELD_BYTES + 1), "x" * (HELD_BYTES + 1), bytearray(1 << 20), [b"x" * HELD_BYTES, []]]
)
def test_large_values_get_a_payload_of_their_own(value: object) -> None:
    held, payload = hold(value)
    assert (held, payload is not None) == (None, True)
    assert _through(value) == value


def test_plain_values_are_not_wrapped() -> None:
    assert hold((1, "a")) == ((1, "a"), None)
    assert isinstance(hold([[]])[0], Held)


def test_what_cannot_be_pickled_fails_when_it_is_held() -> None:
    with pytest.raises(TypeError, match="cannot pickle '_thread.lock' object"):
        hold(threading.Lock())
