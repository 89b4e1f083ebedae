"""What a server counts of its functions, for those who watch it."""

from bisect import bisect_left
from collections import Counter

BOUNDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Seconds: the upper ends of a histogram's buckets, below the last one, which is open."""


class Histogram:
    """How long things took."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """So many of them took this long each."""
        self._counts[bisect_left(BOUNDS, seconds)] += count
        self.seconds += seconds * count

    def buckets(self) -> list[tuple[str, float]]:
        """How many took at most as long as each bound, as Prometheus has it."""
        total, found = 0, []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class FunctionFigures:
    """What became of a function's inputs and calls since the server was started; of all its versions and variants."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        """By how they ended."""
        self.running = Histogram()
        """Of the attempts that ended by themselves."""
        self.calls = Histogram()
        """From the acceptance of calls to their end."""


class Figures:
    """The functions' figures, by app id and name."""

    def __init__(self) -> None:
        self._functions: dict[tuple[str, str], FunctionFigures] = {}

    def of(self, app_id: str, tag: str) -> FunctionFigures:
        """The function's, which begin with the first question for them."""
        key = app_id, tag
        found = self._functions.get(key)
        if found is None:
            found = self._functions[key] = FunctionFigures()
        return found

    def forget(self, app_id: str) -> None:
        """Drops those of an app."""
        for key in [key for key in self._functions if key[0] == app_id]:
            del self._functions[key]
