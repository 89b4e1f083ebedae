"""How many containers real functions have: options, changes while they run, statistics."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from modal_lite.exception import InvalidError
from modal_lite.types import FunctionStats
from tests.client.scaling_functions import (
    Model,
    app,
    hold,
    hold_briefly,
    hold_buffered,
    timed,
    used_once,
    warm_another,
)
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def running() -> Iterator[None]:
    with app.run():
        yield


def held(folder: Path, count: int) -> None:
    """Returns once so many inputs run."""
    wait_until(lambda: len(list(folder.glob("runs-*"))) == count, f"{count} inputs under way")


def reaches(function: Any, total: int) -> None:
    """Returns once the function has so many containers."""
    wait_until(lambda: function.get_current_stats().num_total_runners == total, f"{total} containers of {function.tag}")


def test_statistics_are_exact(tmp_path: Path) -> None:
    assert hold.get_current_stats() == FunctionStats(0, 0, 0, 0)
    calls = [hold.spawn(str(tmp_path)) for _ in range(5)]
    held(tmp_path, 2)
    assert hold.get_current_stats() == FunctionStats(3, 2, 2, 2)
    calls[4].cancel()
    assert hold.get_current_stats() == FunctionStats(2, 2, 2, 2)
    (tmp_path / "go").touch()
    assert len({call.get(timeout=20) for call in calls[:4]}) == 2
    wait_until(lambda: hold.get_current_stats() == FunctionStats(0, 2, 0, 0), "rest")


def test_idle_containers_end_after_the_window_also_by_its_former_name(tmp_path: Path) -> None:
    calls = [hold_briefly.spawn(str(tmp_path)) for _ in range(3)]
    held(tmp_path, 2)
    assert hold_briefly.get_current_stats().num_total_runners == 2
    (tmp_path / "go").touch()
    for call in calls:
        call.get(timeout=20)
    reaches(hold_briefly, 0)
    assert hold_briefly.remote(str(tmp_path))


def test_a_buffer_is_kept_beside_the_busy_ones_up_to_the_maximum(tmp_path: Path) -> None:
    calls = []
    for busy, total in ((1, 2), (2, 3), (3, 3)):
        calls.append(hold_buffered.spawn(str(tmp_path)))
        held(tmp_path, busy)
        reaches(hold_buffered, total)
        assert hold_buffered.get_current_stats() == FunctionStats(0, total, busy, busy)
    (tmp_path / "go").touch()
    for call in calls:
        call.get(timeout=20)
    reaches(hold_buffered, 0)


def test_numbers_change_while_inputs_run(tmp_path: Path) -> None:
    calls = [hold.spawn(str(tmp_path)) for _ in range(6)]
    held(tmp_path, 2)
    hold.update_autoscaler(max_containers=4)
    held(tmp_path, 4)
    hold.update_autoscaler(max_containers=1)
    assert hold.get_current_stats() == FunctionStats(2, 4, 4, 4), "containers that work go on"
    with pytest.raises(InvalidError, match=r"min_containers=2 of hold is over its max_containers=1; raise that first"):
        hold.keep_warm(2)
    (tmp_path / "go").touch()
    for call in calls:
        call.get(timeout=20)
    reaches(hold, 1)
    hold.update_autoscaler(min_containers=3, max_containers=3)
    reaches(hold, 3)
    hold.update_autoscaler(min_containers=0, scaledown_window=0.1)
    reaches(hold, 0)


def test_a_container_changes_the_numbers_of_another_function() -> None:
    warm_another.remote(2)
    reaches(hold_briefly, 2)
    warm_another.remote(0)
    reaches(hold_briefly, 0)


def test_each_instance_of_a_class_scales_by_itself(tmp_path: Path) -> None:
    plain, tuned = Model(), Model(key="tuned")
    tuned.keep_warm(2)  # type: ignore[attr-defined]
    plain.update_autoscaler(min_containers=1, buffer_containers=1)  # type: ignore[attr-defined]
    reaches(tuned.hold, 2)
    reaches(plain.hold, 1)
    call = plain.hold.spawn(str(tmp_path))
    reaches(plain.name, 2)
    assert plain.hold.get_current_stats() == plain.name.get_current_stats()
    (tmp_path / "go").touch()
    call.get(timeout=20)
    reaches(plain.name, 1)
    tuned.name.update_autoscaler(min_containers=0)
    reaches(tuned.hold, 0)
    assert tuned.name.remote() == "tuned"


def test_a_new_container_for_each_input() -> None:
    assert len(set(used_once.map(range(5)))) == 5
    reaches(used_once, 0)


def test_18_inputs_at_6_at_a_time_take_about_3_rounds() -> None:
    runs = list(timed.map([0.4] * 18))
    begun = sorted(start for _, start, _ in runs)
    at_once = max(sum(start <= moment < end for _, start, end in runs) for moment in begun)
    assert at_once == 6
    assert len(Counter(process for process, _, _ in runs)) == 6
    rounds, end_of_round = 0, float("-inf")
    for _, start, end in sorted(runs, key=lambda run: run[2]):
        if start >= end_of_round:
            rounds, end_of_round = rounds + 1, end
    assert 3 <= rounds <= 4
    for process in {process for process, _, _ in runs}:
        mine = sorted((start, end) for p, start, end in runs if p == process)
        assert all(end <= start for (_, end), (start, _) in pairwise(mine)), "one input at a time"
