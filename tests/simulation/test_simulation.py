"""The simulation finds nothing in the scheduler, and finds what is planted there."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.__main__ import main
from tests.simulation.mutations import MUTATIONS, Plant, losses_are_not_counted, rewrite
from tests.simulation.run import Found, Passed, shrink, simulate

SEEDS = 20
ENOUGH = 300
"""Seeds within which a planted bug is to be found; most need a handful."""
KILLED_TOO_OFTEN = "Violation: it has cost too many containers"


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    def change(owner: Any, name: str, old: str, new: str) -> None:
        monkeypatch.setattr(owner, name, rewrite(getattr(owner, name), old, new))

    return change


def first_found() -> Found:
    return next(found for seed in range(ENOUGH) if isinstance(found := simulate(seed), Found))


def test_nothing_is_wrong() -> None:
    for seed in range(SEEDS):
        result = simulate(seed)
        assert isinstance(result, Passed), str(result)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_planted_bugs_are_found(mutation: Callable[[Plant], None], plant: Plant) -> None:
    mutation(plant)
    assert any(isinstance(simulate(seed), Found) for seed in range(ENOUGH))


def test_a_failed_run_tells_the_story_of_its_input(plant: Plant) -> None:
    losses_are_not_counted(plant)
    found = first_found()
    assert found.problem == KILLED_TOO_OFTEN
    story = found.story.splitlines()
    assert any("is gone, it ran input" in line for line in story[-5:])
    assert sum("is gone, it ran input" in line for line in story) > 8
    assert str(found).startswith(f"seed {found.seed}: {KILLED_TOO_OFTEN}\n")


def test_the_shortest_plan_has_the_same_problem(plant: Plant) -> None:
    losses_are_not_counted(plant)
    found = first_found()
    shortest = shrink(found)
    assert shortest.problem == KILLED_TOO_OFTEN
    assert len(shortest.steps) < 6
    assert simulate(found.seed, shortest.steps) == shortest


def test_a_seed_is_played_alike_wherever_it_is_played() -> None:
    script = (
        "from tests.simulation.mutations import *; import tests.simulation.run as run\n"
        "def plant(owner, name, old, new): setattr(owner, name, rewrite(getattr(owner, name), old, new))\n"
        "losses_are_not_counted(plant)\n"
        "for seed in range(20): print(run.simulate(seed))"
    )

    def play(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert not done.stderr
        return done.stdout

    assert play("1") == play("2")


def test_the_command_plays_many_seeds_or_one_again(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["simulation", *arguments])
        return main()

    assert command("--seed", "3") == 0
    assert "seed 3: nothing is wrong" in capsys.readouterr().out
    losses_are_not_counted(plant)
    found = first_found()
    assert command("--seed", str(found.seed), "--steps", ",".join(map(str, shrink(found).steps))) == 1
    assert f"seed {found.seed}: {KILLED_TOO_OFTEN}" in capsys.readouterr().out
