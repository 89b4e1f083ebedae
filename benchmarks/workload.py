"""What a workload is: what is measured, for whom, and what modal_lite is to reach in it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers.base import Peer

BEST = "best"
"""In a goal: whichever competitor is the hardest to beat. Bare means do not compete."""


@dataclass
class Measured:
    """One measurement."""

    value: float
    """In the workload's unit."""
    n: int
    """Inputs, calls or values behind it."""
    more: dict[str, float] = field(default_factory=dict)
    """Other numbers of the same measurement, by what they count."""


@dataclass(frozen=True)
class Goal:
    """modal_lite's figure is at least, or at most, so many times another figure of the same round; or just a number."""

    sign: str
    """`≥` or `≤`."""
    bound: float
    than: str | None = None
    """A peer, BEST, or another workload of modal_lite's; None: the bound is the figure."""
    of: str | None = None
    """One of the other numbers, by its label, instead of the workload's value."""

    def __str__(self) -> str:
        bound = f"{self.bound:g}×\N{NO-BREAK SPACE}{self.than}" if self.than else f"{self.bound:g}"
        return f"{self.sign}\N{NO-BREAK SPACE}{bound}" + (f" ({self.of})" if self.of else "")

    def reached(self, figure: float) -> bool:
        """Is this figure, or this multiple, good enough?"""
        return figure >= self.bound if self.sign == "≥" else figure <= self.bound


@dataclass(frozen=True)
class Workload:
    """A row of the comparison. `measure` gets the peer, open, and the number of inputs."""

    title: str
    unit: str
    more_is_better: bool
    size: int
    needs: str
    """The method of Peer without which a peer is left out."""
    measure: Callable[[Any, int], Measured]
    goals: tuple[Goal, ...] = ()
    opens: bool = False
    """`measure` gets the peer's class, and opens it itself."""

    def suits(self, peer: type[Peer]) -> bool:
        """Can the peer do this?"""
        return getattr(peer, self.needs) is not None


def check(right: bool, what: str) -> None:
    """Raises AssertionError for a wrong answer, also under `python -O`."""
    if not right:
        raise AssertionError(f"wrong answer: {what}")
