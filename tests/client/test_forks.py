"""Forks of a process that runs an app, or of a container, cannot make calls; they are told so and disturb nobody."""

import multiprocessing
import os
from typing import Any

import pytest

import modal_lite
from tests.client.functions import call_in_fork, from_the_other, other, same
from tests.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

FORK = multiprocessing.get_context("fork")


def attempt(queue: Any, use: Any) -> None:
    try:
        queue.put(use())
    except BaseException as error:
        queue.put(f"{type(error).__name__}: {error}")


def in_a_fork(use: Any) -> Any:
    queue = FORK.SimpleQueue()
    process = FORK.Process(target=attempt, args=(queue, use))
    process.start()
    process.join(40)
    try:
        assert not process.is_alive(), "it hangs"
        return queue.get()
    finally:
        process.kill()
        process.join()


def test_a_fork_of_the_caller(run: Any) -> None:
    call = same.spawn(1)
    assert call.get() == 1
    assert in_a_fork(lambda: same.remote(1)).startswith("ExecutionError: No app is running in this process.")
    assert in_a_fork(lambda: list(same.map([1]))).startswith("ExecutionError: No app is running in this process.")
    assert in_a_fork(call.get).startswith("ExecutionError: This process was forked from the one")
    assert list(same.map(range(100))) == list(range(100))


def test_a_fork_of_the_caller_may_run_an_app_of_its_own(run: Any) -> None:
    def own() -> Any:
        another = modal_lite.App("of the fork")
        function = another.function(serialized=True)(lambda x: x + 1)
        with another.run():
            return function.remote(1)

    assert in_a_fork(own) == 2
    assert same.remote(1) == 1


def test_a_fork_that_leaves_the_block_leaves_the_app_alone() -> None:
    parent = os.getpid()
    try:
        with other.run():
            assert from_the_other.remote(0) == 0
            pid = os.fork()
            if not pid:
                raise SystemExit
            wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0], "the end of the fork")
            assert from_the_other.remote(0) == 0
    finally:
        if os.getpid() != parent:
            os._exit(0)


@pytest.mark.parametrize("before", [False, True])
def test_a_fork_of_a_container(run: Any, before: bool) -> None:
    assert call_in_fork.remote(before).startswith("ExecutionError: This process was forked from the one")
    assert call_in_fork.remote(before).startswith("ExecutionError: ")
    assert same.remote(1) == 1
