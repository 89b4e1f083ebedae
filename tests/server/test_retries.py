"""Retries, as callers see them."""

from pathlib import Path
from typing import Any

import pytest

from modal_lite.call_graph import InputStatus
from tests.server.conftest import lines
from tests.server.functions import fail_in_turn, retry_each


def test_exceptions_and_timeouts_use_retries_up_and_lost_containers_do_not(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "attempts")
    call = fail_in_turn.spawn(path)
    assert call.get(timeout=20) == "at last"
    (root,) = call.get_call_graph()
    assert lines(path) == [root.input_id] * 4, "an input keeps its id"
    assert root.status is InputStatus.SUCCESS
    assert [attempt.status for attempt in root.attempts] == [
        InputStatus.FAILURE,
        InputStatus.FAILURE,
        InputStatus.TIMEOUT,
    ]
    containers = [attempt.task_id for attempt in root.attempts]
    assert containers[0] == containers[1] != containers[2] == root.task_id


def test_each_input_of_a_map_has_its_own(run: Any, tmp_path: Path) -> None:
    results = list(retry_each.map(range(6), kwargs={"folder": str(tmp_path)}, return_exceptions=True))
    assert results[:5] == [0, 1, 2, 3, 4]
    # Its caller sees the last error.
    assert repr(results[5]) == "UserCodeException(ValueError('attempt 5 of 5'))"
    assert {int(path.name): len(lines(path)) for path in tmp_path.iterdir()} == {0: 1, 1: 2, 2: 3, 3: 4, 4: 5, 5: 5}


def test_attempts_of_spawned_inputs(run: Any, tmp_path: Path) -> None:
    call = retry_each.spawn_map([0, 2, 9], kwargs={"folder": str(tmp_path)})
    assert call.get(index=1, timeout=20) == 2
    with pytest.raises(ValueError, match="attempt 5 of 9"):
        call.get(index=2, timeout=20)
    graph = call.get_call_graph()
    assert [(node.status, len(node.attempts)) for node in graph] == [
        (InputStatus.SUCCESS, 0),
        (InputStatus.SUCCESS, 2),
        (InputStatus.FAILURE, 4),
    ]
