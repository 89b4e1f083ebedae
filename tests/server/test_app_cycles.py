"""Many runs of an app, one after the other, leave nothing behind."""

import concurrent.futures
import os
import threading
from pathlib import Path

from tests.server.conftest import held
from tests.server.functions import SlowExit, app, same, slow_exits
from tests.waiting import wait_until

CYCLES = 8


def test_many_runs_of_an_app_leak_nothing() -> None:
    with app.run():
        same.remote(1)
    before = held()
    for _ in range(CYCLES):
        with app.run():
            pass
    for _ in range(2):
        with app.run():
            same.remote(1)
    wait_until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)), f"{before} again")


def test_an_app_with_slow_exits_holds_no_other_up(tmp_path: Path) -> None:
    leaving, slow, fast = str(tmp_path / "leaving"), SlowExit(str(tmp_path)), threading.Event()

    def run_slow() -> None:
        with slow_exits.run():
            slow.work.remote()
        assert fast.is_set(), "the exits were waited for"

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        ending = thread.submit(run_slow)
        wait_until(lambda: os.path.exists(leaving), "the beginning of the exits")
        for _ in range(3):
            with app.run():
                assert same.remote(1) == 1
        fast.set()
        (tmp_path / "go").touch()
        ending.result(20)
    with slow_exits.run():
        (tmp_path / "go").touch()
        assert slow.work.remote() == "done"
