"""`enable_memory_snapshot=True` as callers see it."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import modal_lite
from modal_lite.exception import ContainerLostError, ExecutionError
from tests.client.snapshot_classes import Broken, Calls, Hangs, Model, Threads, app, same
from tests.waiting import PROMPT, wait_until


@pytest.fixture(scope="module", autouse=True)
def run() -> Iterator[Any]:
    with app.run() as running:
        yield running


def test_containers_share_what_is_loaded() -> None:
    found = list(Model(name="a").work.map([0.2] * 8))
    containers = {pid for _, _, _, pid in found}
    assert len(containers) > 1
    assert {connected for _, _, connected, _ in found} == containers
    (loader,) = {loaded for _, loaded, _, _ in found}
    assert loader not in containers


def test_each_set_of_parameters_has_a_snapshot() -> None:
    a, b = Model(name="a").work.remote(0), Model(name="b").work.remote(0)
    assert (a[0], b[0]) == ("a", "b")
    assert a[1] != b[1]


def test_functions() -> None:
    assert list(same.map(range(100))) == list(range(100))


def test_here_it_is_an_ordinary_class() -> None:
    _, loaded, connected, here = Model(name="here").work.local(0)
    assert loaded == connected == here


def test_options_are_accepted_without_a_word() -> None:
    scratch = modal_lite.App("scratch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scratch.function(enable_memory_snapshot=True)(same.get_raw_f())
        modal_lite.enter(snap=True)


@pytest.mark.parametrize("attempt", [1, 2])
def test_what_a_hook_raises(attempt: int) -> None:
    with pytest.raises(FileNotFoundError, match="^weights$"):
        Broken().work.remote(1)
    with pytest.raises(FileNotFoundError, match="^weights$"):
        list(Broken().work.map(range(10)))


def test_a_hook_that_does_not_end(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pids.touch()  # On a busy machine a process may be killed before it comes to the hook.
    hangs = Hangs(path=str(pids))
    ended = r"the last one was killed \(it was not ready within its startup_timeout\)"
    with pytest.raises(ContainerLostError, match=f"Containers of Hangs die before they are ready: {ended}"):
        hangs.work.remote(1)
    for pid in map(int, pids.read_text().split()):
        wait_until(lambda pid=pid: not psutil.pid_exists(pid), "the end of the snapshot process")
    Path(f"{pids}.go").touch()

    def works() -> bool:
        with contextlib.suppress(ContainerLostError):  # It has a second still, which a busy machine may take.
            return bool(hangs.work.remote(1) == 1)
        return False

    wait_until(works, "a hook that ends", PROMPT)


def test_a_hook_that_calls() -> None:
    with pytest.raises(ExecutionError, match=r"cannot call functions: it runs before there is a container\. Call from"):
        Calls().work.remote(1)


def test_threads_are_said_once_and_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "modal_lite.snapshots"):
        assert list(Threads().work.map(range(10))) == list(range(10))
        assert list(Threads.with_options(max_containers=1)().work.map(range(10))) == list(range(10))
    assert len(caplog.records) == 1


def test_the_hooks_output_is_the_containers(capfd: pytest.CaptureFixture[str]) -> None:
    shown = []

    def is_shown() -> bool:
        shown.append(capfd.readouterr().out)
        return "loading shown" in "".join(shown)

    with modal_lite.enable_output():
        Model(name="shown").work.remote(0)
        wait_until(is_shown)
