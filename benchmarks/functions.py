"""The functions that every peer runs. They do next to nothing, so that what is measured is the way there and back."""

import time
from typing import TypeVar

T = TypeVar("T")


def identity(value: T) -> T:
    return value


def five_ms(value: T) -> T:
    """What it takes does not depend on how much it gets."""
    time.sleep(0.005)
    return value


def snooze(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
