"""What every test is held to: it leaves no process and no thread behind.

Unclosed sockets and files, unawaited coroutines and exceptions that nobody saw fail by `filterwarnings = error`.
"""

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import psutil
import pytest

GRACE = 20.0
"""Seconds that what a test has stopped may take to be gone."""

Leaked = TypeVar("Leaked")

TAG = "MODAL_LITE_TEST_SESSION"
_session_id = uuid.uuid4().hex
# Every process that a test starts, however deep, inherits this: so those whose parents are gone are found as well.
os.environ[TAG] = _session_id

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # What a shell script starts in the background has Ctrl-C ignored, and hands that down; many tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Processes of the standard library that live as long as the interpreter, by design."""


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    # What fixtures of a wider scope have started is there already, and stays.
    children, threads = _children(), _threads()
    yield
    left_processes = _still_there(lambda: _children() - children)
    left_threads = _still_there(lambda: _threads() - threads)
    assert not left_processes, f"the test left processes behind: {sorted(map(_describe, left_processes))}"
    assert not left_threads, f"the test left threads behind: {sorted(thread.name for thread in left_threads)}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the run if a process of any test's outlives all of them, and ends it."""
    left = _still_there(_tagged)
    for process in left:
        process.kill()
    if left:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(f"\nprocesses outlived the tests: {sorted(map(_describe, left))}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _children() -> set[psutil.Process]:
    found = set()
    for process in psutil.Process().children():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and not _is_helper(process):
                found.add(process)
        except psutil.NoSuchProcess:
            continue
    return found


def _is_helper(process: psutil.Process) -> bool:
    return any(helper in argument for argument in process.cmdline() for helper in _HELPERS)


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.daemon}


def _tagged() -> set[psutil.Process]:
    found = set()
    for process in psutil.process_iter():
        try:
            ours = process.pid != os.getpid() and process.environ().get(TAG) == _session_id
            if ours and process.status() != psutil.STATUS_ZOMBIE and not _is_helper(process):
                found.add(process)
        except (psutil.Error, OSError):
            # It has ended meanwhile, or belongs to somebody else.
            continue
    return found


def _still_there(find: Callable[[], set[Leaked]]) -> set[Leaked]:
    """What `find` finds even after the grace period; asks but once if there is nothing."""
    deadline = time.monotonic() + GRACE
    while (left := find()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:120]}"
    except psutil.Error:
        return str(process.pid)
