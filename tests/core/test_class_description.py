"""The arguments of a class as bytes, by which containers are told apart."""

from typing import Any

from modal_lite._core.class_description import pack_parameters, unpack_parameters


def test_equal_arguments_are_equal_bytes_however_they_are_made() -> None:
    same = "".join(["lar", "ge"])
    other = "".join(["lar", "ge"])
    assert same is not other
    assert pack_parameters(([same, same],), {"b": same, "a": 1}) == pack_parameters(
        ([same, other],), {"a": 1, "b": other}
    )


def test_they_come_back() -> None:
    assert unpack_parameters(pack_parameters((1, [2]), {"b": 3, "a": "4"})) == ((1, [2]), {"a": "4", "b": 3})


def test_something_that_contains_itself() -> None:
    ring: list[Any] = []
    ring.append(ring)
    ((found,), _) = unpack_parameters(pack_parameters((ring,), {}))
    assert found[0] is found
