"""How often, and after which delay, a failed input is tried again."""

from dataclasses import dataclass

from modal_lite.exception import InvalidError

MAX_RETRIES = 10
MAX_COEFFICIENT = 10.0
MAX_DELAY = 60.0
"""Seconds."""


@dataclass(frozen=True, kw_only=True)
class Retries:
    """A policy of retries with exponentially growing delays, for `@app.function(retries=…)`.

    Args:
        max_retries: Retries after the first attempt, 0 to 10. No default.
        backoff_coefficient: Each delay is the previous one times this, 1.0 to 10.0.
        initial_delay: Seconds before the first retry, 0 to 60.
        max_delay: Seconds that no delay exceeds, 1 to 60.

    Raises:
        InvalidError: A value is of the wrong type or out of range.
    """

    max_retries: int
    backoff_coefficient: float = 2.0
    initial_delay: float = 1.0
    max_delay: float = 60.0

    def __post_init__(self) -> None:
        if not _is_count(self.max_retries):
            raise InvalidError(f"Retries(max_retries={self.max_retries!r}): must be an int from 0 to {MAX_RETRIES}.")
        _check_range("backoff_coefficient", self.backoff_coefficient, 1.0, MAX_COEFFICIENT)
        _check_range("initial_delay", self.initial_delay, 0.0, MAX_DELAY)
        _check_range("max_delay", self.max_delay, 1.0, MAX_DELAY)

    def delay(self, attempt: int) -> float:
        """Seconds to wait before retry number `attempt`, counted from 1.

        Raises:
            InvalidError: `attempt` is less than 1.
        """
        if attempt < 1:
            raise InvalidError(f"Retries.delay(attempt={attempt!r}): retries are counted from 1.")
        # The power is bounded because it overflows a float long before anything else would stop it.
        growth = self.backoff_coefficient ** min(attempt - 1, 300)
        return min(self.initial_delay * growth, self.max_delay)

    @staticmethod
    def parse(value: "int | Retries | None") -> "Retries | None":
        """The policy that `retries=value` asks for; an int means a fixed delay of one second.

        Raises:
            InvalidError: `value` is of another type, negative or over 10.
        """
        if value is None or isinstance(value, Retries):
            return value
        if not _is_count(value):
            raise InvalidError(f"retries={value!r}: must be an int from 0 to {MAX_RETRIES} or a modal_lite.Retries.")
        return Retries(max_retries=value, backoff_coefficient=1.0, initial_delay=1.0)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_RETRIES


def _check_range(name: str, value: object, low: float, high: float) -> None:
    in_range = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not in_range:
        raise InvalidError(f"Retries({name}={value!r}): must be a number from {low:g} to {high:g}.")
