"""Attempts of inputs that fail, hang or kill their containers, in real ones."""

from pathlib import Path
from typing import Any

import pytest

from modal_lite.exception import FunctionTimeoutError
from tests.client.functions import attempt


def test_each_input_of_a_map_has_its_own_attempts(run: Any, tmp_path: Path) -> None:
    fates = ["v", "rv", "rrv", "v", "rrr", "rv"]
    inputs = [(str(tmp_path), f"input-{i}", fate) for i, fate in enumerate(fates)]
    results = list(attempt.starmap(inputs, return_exceptions=True, wrap_returned_exceptions=False))
    assert [str(result) for result in results] == ["v", "v", "v", "v", "attempt 3", "v"]
    assert [(tmp_path / f"input-{i}").stat().st_size for i in range(6)] == [1, 2, 3, 1, 3, 2]


def test_the_caller_gets_the_last_error(run: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^attempt 3$"):
        attempt.remote(str(tmp_path), "input", "rrr")
    with pytest.raises(FunctionTimeoutError, match="^attempt did not end within its timeout of 1 seconds.$"):
        attempt.remote(str(tmp_path), "another", "rrh")


def test_time_limits_use_retries_up_and_lost_containers_do_not(run: Any, tmp_path: Path) -> None:
    assert attempt.remote(str(tmp_path), "hangs", "hrv") == "v"
    assert attempt.remote(str(tmp_path), "dies", "ddddrrv") == "v"
