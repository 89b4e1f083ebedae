import dataclasses
import pickle
from typing import Any

import pytest

from modal_lite.exception import InvalidError
from modal_lite.retries import Retries


def test_delays_grow_up_to_the_largest() -> None:
    policy = Retries(max_retries=10, initial_delay=1.5, backoff_coefficient=2.0, max_delay=10)
    assert [policy.delay(attempt) for attempt in range(1, 6)] == [1.5, 3.0, 6.0, 10, 10]
    assert policy.delay(10_000) == 10
    assert Retries(max_retries=1, initial_delay=0).delay(5) == 0
    with pytest.raises(InvalidError, match="counted from 1"):
        policy.delay(0)


def test_defaults() -> None:
    policy = Retries(max_retries=0)
    assert (policy.max_retries, policy.backoff_coefficient, policy.initial_delay, policy.max_delay) == (0, 2, 1, 60)
    with pytest.raises(TypeError):
        Retries()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retries": -1}, "Retries(max_retries=-1): must be an int from 0 to 10."),
        ({"max_retries": 11}, "Retries(max_retries=11): must be an int from 0 to 10."),
        ({"max_retries": 1.0}, "Retries(max_retries=1.0): must be an int from 0 to 10."),
        ({"max_retries": True}, "Retries(max_retries=True): must be an int from 0 to 10."),
        ({"max_retries": "1"}, "Retries(max_retries='1'): must be an int from 0 to 10."),
        ({"backoff_coefficient": 0.9}, "Retries(backoff_coefficient=0.9): must be a number from 1 to 10."),
        ({"backoff_coefficient": 10.1}, "Retries(backoff_coefficient=10.1): must be a number from 1 to 10."),
        ({"initial_delay": -0.1}, "Retries(initial_delay=-0.1): must be a number from 0 to 60."),
        ({"initial_delay": 61}, "Retries(initial_delay=61): must be a number from 0 to 60."),
        ({"max_delay": 0.5}, "Retries(max_delay=0.5): must be a number from 1 to 60."),
        ({"max_delay": float("nan")}, "Retries(max_delay=nan): must be a number from 1 to 60."),
        ({"max_delay": None}, "Retries(max_delay=None): must be a number from 1 to 60."),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Retries(**{"max_retries": 1, **options})
    assert str(caught.value) == message


def test_a_policy_is_immutable_and_pickles() -> None:
    policy = Retries(max_retries=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.max_retries = 4  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(policy)) == policy


def test_parse() -> None:
    policy = Retries(max_retries=2)
    assert Retries.parse(None) is None
    assert Retries.parse(policy) is policy
    fixed = Retries.parse(3)
    assert fixed is not None
    assert [fixed.delay(attempt) for attempt in (1, 2, 3)] == [1, 1, 1]
    assert fixed.max_retries == 3


@pytest.mark.parametrize("value", [-1, 11, 1.5, "3", True, [1]])
def test_parse_refuses_anything_else(value: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        Retries.parse(value)
    assert str(caught.value) == f"retries={value!r}: must be an int from 0 to 10 or a modal_lite.Retries."
