"""One run from a seed, and the shortest plan that ends like a failed one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulation.books import Violation
from tests.simulation.faults import Step, plan, take
from tests.simulation.world import SimulatedWorld

LENGTH = 20
"""Steps of a run, besides those that set it up."""
SHRINKING_RUNS = 300


@dataclass(frozen=True)
class Found:
    """A run in which something was wrong."""

    seed: int
    steps: tuple[int, ...]
    """The numbers of its steps."""
    problem: str
    story: str
    """Of the input, call or container concerned; all there is if that is not known."""

    @property
    def kind(self) -> str:
        """The problem without numbers and names, to tell whether another run has the same."""
        return re.sub(r"\d+|[\[({].*", "", self.problem)

    def __str__(self) -> str:
        again = f"--seed {self.seed} --steps {','.join(map(str, self.steps))}"
        return f"seed {self.seed}: {self.problem}\n\n{self.story}\n\nOnce more: nox -s simulation -- {again}"


@dataclass(frozen=True)
class Passed:
    """A run in which all was well."""

    events: int


def simulate(seed: int, steps: Sequence[int] | None = None) -> Found | Passed:
    """Does what the plan of the seed says, or only those of its steps."""
    whole = plan(seed, LENGTH)
    chosen = [step for step in whole if steps is None or step.number in steps]
    world = SimulatedWorld(seed, slots=1 + seed % 4, devices=seed % 3)
    try:
        _play(world, chosen)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        return Found(seed, tuple(step.number for step in chosen), problem, _story(world, error))
    return Passed(world.events)


def shrink(found: Found) -> Found:
    """The same problem in as few steps as some trying gives."""
    best, piece, runs = found, max(1, len(found.steps) // 2), 0
    while runs < SHRINKING_RUNS:
        shorter = None
        for start in range(0, len(best.steps), piece):
            attempt = simulate(found.seed, best.steps[:start] + best.steps[start + piece :])
            runs += 1
            if isinstance(attempt, Found) and attempt.kind == found.kind:
                shorter = attempt
                break
        if shorter is not None:
            best = shorter
        elif piece == 1:
            break
        piece = max(1, min(piece, len(best.steps)) if shorter is not None else piece // 2)
    return best


def _play(world: SimulatedWorld, steps: list[Step]) -> None:
    for step in steps:
        take(world, step)
    world.calm_down()
    world.leave()


def _story(world: SimulatedWorld, error: Exception) -> str:
    if isinstance(error, Violation) and error.call_id:
        return world.tape.about(error.call_id, error.index)
    # Problems that the scheduler itself finds name the records concerned.
    if (call := re.search(r"\bfc-\d+", str(error))) is not None:
        return world.tape.about(call[0])
    if (container := re.search(r"\bta-\d+", str(error))) is not None:
        return world.tape.about_container(container[0])
    return world.tape.all()
