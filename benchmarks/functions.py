"""The functions that every peer runs. They do next to nothing, so that what is measured is the way there and back."""

import time
from typing import TypeVar

T = TypeVar("T")


def identity(value: T) -> T:
    return value


def snooze(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
