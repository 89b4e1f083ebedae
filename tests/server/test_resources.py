"""`memory=`, `cpu=`, `gpu=`: what containers get, and what callers are told when there is not enough."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modal_lite._placement import gpus
from modal_lite._server import memory_deaths
from modal_lite.exception import ContainerLostError, InvalidError
from tests.server import resource_functions as there
from tests.server.resource_functions import LIMIT, app
from tests.waiting import wait_until

WORDS = f"The container has a memory limit of {LIMIT} MiB: memory=(…, {LIMIT}) of its function."
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    """The app of `resource_functions.py`, running where there are two GPUs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
        for name in [name for name in os.environ if name.endswith("_THREADS")]:
            patch.delenv(name)
        with app.run() as running:
            yield running


# --- memory ----------------------------------------------------------------------------------------------------------


@linux_only
def test_over_the_limit_is_a_memory_error_that_names_it(run: Any) -> None:
    assert there.allocate.remote(LIMIT // 2) == LIMIT // 2 << 20
    with pytest.raises(MemoryError) as caught:
        there.allocate.remote(LIMIT)
    assert str(caught.value) == WORDS
    assert there.allocate.remote(1) == 1 << 20, "the container goes on"


@linux_only
def test_a_librarys_own_memory_error_keeps_its_words(run: Any) -> None:
    with pytest.raises(MemoryError, match="Unable to allocate") as caught:
        there.allocate_array.remote(LIMIT)
    assert caught.value.__notes__ == [WORDS]


@linux_only
def test_what_is_shared_or_only_reserved_does_not_count(run: Any) -> None:
    assert there.share.remote(2 * LIMIT) == 2 * LIMIT << 20


@linux_only
def test_threads_that_do_not_fit(run: Any) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        there.too_many_threads.remote()
    assert WORDS in [str(caught.value), *getattr(caught.value, "__notes__", [])]


@linux_only
def test_a_limit_without_room_to_start(run: Any) -> None:
    with pytest.raises(InvalidError, match=r"A memory limit of 8 MiB is too low: .* Give at least \d+\."):
        there.allocate.with_options(memory=(1, 8)).remote(1)


@linux_only
def test_a_request_alone_takes_the_limit_away(run: Any) -> None:
    assert there.allocate.with_options(memory=64).remote(LIMIT) == LIMIT << 20


@linux_only
def test_a_container_that_died_for_want_of_memory(run: Any) -> None:
    with pytest.raises(ContainerLostError, match=rf"killed by SIGABRT \(perhaps .* its limit is {LIMIT} MiB\) while"):
        there.abort.remote()


def test_a_container_that_the_system_killed(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ContainerLostError, match="was killed by SIGKILL while it ran"):
        there.kill_self.remote()

    counts = iter(range(1000))
    monkeypatch.setattr(memory_deaths, "_count", lambda: next(counts))
    with pytest.raises(ContainerLostError, match=r"killed by SIGKILL \(most likely by the system, which ran out of "):
        there.kill_self.with_options(timeout=30).remote()


@pytest.mark.parametrize(
    ("status", "last_words", "suspicious"),
    [
        (-signal.SIGSEGV, "", True),
        (-signal.SIGKILL, "", False),
        (1, "MemoryError", True),
        (1, "ValueError", False),
        (0, "MemoryError", False),
        (None, "", False),
    ],
)
def test_deaths_that_look_like_a_want_of_memory(status: int | None, last_words: str, suspicious: bool) -> None:
    assert memory_deaths.suspect_limit(status, [last_words]) is suspicious


def test_the_systems_count_is_read_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory_deaths, "_COUNTERS", tmp_path / "vmstat")
    assert not memory_deaths.OomKills().more()
    (tmp_path / "vmstat").write_text("nr_free_pages 3\noom_kill 4\ndrop_pagecache 0\n")
    kills = memory_deaths.OomKills()
    assert not kills.more()
    (tmp_path / "vmstat").write_text("nr_free_pages 3\noom_kill 5\ndrop_pagecache 0\n")
    assert kills.more()


# --- cores -----------------------------------------------------------------------------------------------------------


def test_less_than_a_core_is_less_weight(run: Any) -> None:
    assert there.quarter.remote() == (os.nice(0) + 6, "1", "1")


def test_thread_pools_follow_the_limit_and_what_the_user_set_stays(run: Any) -> None:
    assert there.limited.remote() == (os.nice(0) + 3, "7", str(os.cpu_count()))


def test_without_cpu_there_are_no_hints(run: Any) -> None:
    assert there.no_hints.remote() == []


# --- GPUs ------------------------------------------------------------------------------------------------------------


def test_containers_have_devices_to_themselves(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "path")
    calls = [there.on_one.spawn(path, 2) for _ in range(2)]
    assert {call.get() for call in calls} == {"GPU-a", "GPU-b"}


def test_devices_of_idle_containers_go_to_who_wants_them(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "path")
    assert there.on_two.remote(path, 1) == "GPU-a,GPU-b"
    calls = [there.on_one.spawn(path, 3) for _ in range(2)]
    assert {call.get() for call in calls} == {"GPU-a", "GPU-b"}


def test_whoever_finds_no_free_device_waits(run: Any, tmp_path: Path) -> None:
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    busy = there.on_two.spawn(first, 2)
    wait_until(Path(first).exists, "the start of the one with both devices")
    waiting = there.on_one.spawn(second, 1)
    with pytest.raises(TimeoutError):
        waiting.get(timeout=0.3)
    with open(first, "a") as file:
        file.write("x")
    assert busy.get() == "GPU-a,GPU-b"
    assert waiting.get() in ("GPU-a", "GPU-b")


def test_dead_containers_give_their_devices_back(run: Any, tmp_path: Path) -> None:
    with pytest.raises(ContainerLostError):
        there.die_on_one.remote()
    assert there.on_two.remote(str(tmp_path / "path"), 1) == "GPU-a,GPU-b"


def test_too_few_devices_fail_the_calls(run: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        there.on_three.remote()
    assert str(caught.value) == (
        "on_three wants 3 GPUs for each of its containers, and this machine has only 2 (as CUDA_VISIBLE_DEVICES or "
        "else the NVIDIA driver says). Ask for fewer by gpu=, or run it where there are as many."
    )


@pytest.mark.parametrize(
    ("visible", "found"),
    [("", []), ("-1", []), ("0,1", ["0", "1"]), (" 3 , MIG-x", ["3", "MIG-x"]), ("1,-1,0", ["1"]), ("1,1", ["1"])],
)
def test_devices_that_this_program_was_given(visible: str, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.present_gpus() == found


def test_devices_that_the_driver_tells_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "gpus")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.present_gpus() == []
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: GPU-a)'\necho 'GPU 1: A (UUID: GPU-b)'\n")
    tool.chmod(0o755)
    assert gpus.present_gpus() == ["0", "1"]
    (tmp_path / "gpus" / "0000:00:04.0").mkdir(parents=True)
    assert gpus.present_gpus() == ["0"]
