"""What a container's input has called ends with it, however the container ends."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from modal_lite.exception import InputCancelledError
from tests.server.conftest import lines, plane
from tests.server.functions import nest, note_and_wait, note_each, note_each_yield, same
from tests.waiting import wait_until

CALLED = {"remote": note_and_wait, "map": note_each, "spawn_map": note_each, "remote_gen": note_each_yield}


@pytest.mark.parametrize("end", ["cancel", "terminate", "kill"])
@pytest.mark.parametrize("how", sorted(CALLED))
def test_a_parents_calls_end_with_it(run: Any, tmp_path: Path, how: str, end: str) -> None:
    path, called = str(tmp_path / "started"), CALLED[how]
    before = set(plane().calls)
    call = nest.spawn(how, path)
    wait_until(lambda: lines(path), "the start of what it calls")
    if end == "kill":
        called_first = set(plane().calls) - before - {call.object_id}
        os.kill(int(lines(path + ".pid")[0]), signal.SIGKILL)
        wait_until(lambda: not called_first & set(plane().calls), "the end of what the dead container had called")
    call.cancel(terminate_containers=end == "terminate")
    with pytest.raises(InputCancelledError):
        call.get(timeout=10)
    wait_until(lambda: called.get_current_stats().num_running_inputs == 0, "the end of what ran")
    started = len(lines(path))
    assert same.remote(1) == 1
    wait_until(lambda: set(plane().calls) - before == {call.object_id}, "the end of what it called")
    assert len(lines(path)) == started, "something is started that nobody waits for"
