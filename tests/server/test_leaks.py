"""What many containers and calls leave behind: nothing."""

from pathlib import Path
from typing import Any

import pytest

from modal_lite.exception import ContainerLostError
from tests.server.conftest import held, plane
from tests.server.functions import close_everything, note_and_wait, pid, same
from tests.waiting import wait_until


def test_many_containers_leak_nothing(run: Any) -> None:
    single = same.with_options(max_containers=2)
    single.remote(1)
    same.remote(1)
    before = held()
    for _ in range(30):
        container_id = next(iter(plane().links.values())).container_id
        plane()._placer.kill(container_id)
        wait_until(lambda id=container_id: id not in plane().links, "the end of the container")
        single.remote(1)
    assert plane().sessions.keys() == plane().links.keys() == plane().scheduler.containers.keys()
    # One container more than before may be alive.
    wait_until(lambda: held()[0] <= before[0] + 8 and held()[1:] <= before[1:], f"{before} again")


def test_calls_leave_nothing_in_the_plane(run: Any) -> None:
    kept = same.spawn(1)
    kept.get()
    before = len(plane().calls), len(plane().scheduler.calls)
    assert list(same.map(range(1000))) == list(range(1000))
    for x in same.map(range(100_000)):
        if x == 10:
            break
    for _ in range(50):
        same.remote(1)
    with pytest.raises(TypeError):
        same.remote()
    with pytest.raises(ContainerLostError):
        close_everything.remote()
    wait_until(lambda: (len(plane().calls), len(plane().scheduler.calls)) == before, "the calls to be forgotten")
    assert pid.remote()


def test_waiting_with_a_timeout_leaves_nothing_behind(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "pids")
    call = note_and_wait.spawn(path)
    state = plane().calls[call.object_id]
    for _ in range(200):
        with pytest.raises(TimeoutError):
            call.get(timeout=0)
    with pytest.raises(TimeoutError):
        call.get(timeout=0.01)
    assert state.waiters == {}
    (tmp_path / "pids.go").touch()
    call.get(timeout=20)
