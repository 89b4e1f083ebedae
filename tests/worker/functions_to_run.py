"""What the containers of these tests run."""

import asyncio
import contextlib
import functools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from modal_lite import current_input_id

accumulated: list[int] = []
background: list[int] = []


def same(x):
    return x


def add(x, y=0, *, z=0):
    return x + y + z


def slow_every_tenth(x):
    if x % 10 == 9:
        time.sleep(0.002)
    return x


def sleep_then(seconds):
    time.sleep(seconds)
    return seconds


def fail_if_odd(x):
    if x % 2:
        raise ValueError(f"odd: {x}")
    return x


def raise_by_name(name):
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[name](3)


def accumulate(x):
    accumulated.append(x)
    return {"seen": accumulated}


def change_keyword(x, *, seen):
    seen.append(x)
    return len(seen)


def value_of_kind(kind):
    if kind == "lock":
        return threading.Lock()
    if kind == "generator":
        return (x for x in range(3))
    if kind == "coroutine":
        return asyncio.sleep(0)
    return kind


def wait_for_cancel(path):
    """Waits, in Python and in C, until it is interrupted; writes down what it saw."""
    seen = []
    try:
        try:
            Path(path, "started").touch()
            while True:
                time.sleep(60)
        except Exception:
            seen.append("except Exception")
    except BaseException as error:
        seen.append(type(error).__name__)
        raise
    finally:
        seen.append("finally")
        Path(path, "seen").write_text(" ".join(seen))


def wait_or_return(path):
    if path is None:
        return "quick"
    return wait_for_cancel(path)


def swallow_cancel(path):
    with contextlib.suppress(BaseException):
        wait_for_cancel(path)
    return "swallowed"


def spin(path):
    Path(path, "started").touch()
    while True:
        pass


def spawn_child(path):
    """Leaves a process behind."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path, "child").write_text(str(process.pid))
    return process.pid


def in_pool(x):
    import multiprocessing

    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        return pool.map(abs, [-x, x])


def run_command(x):
    return subprocess.run([sys.executable, "-c", f"print({x})"], capture_output=True, text=True, check=True).stdout


def kill_self(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def say(text):
    print(text, end="")
    print("error", text, file=sys.stderr)
    return text


def about_me(_):
    inputs = [current_input_id()]
    thread = threading.Thread(target=lambda: inputs.append(current_input_id()))
    thread.start()
    thread.join()
    return {
        "inputs": inputs,
        "cwd": os.getcwd(),
        "variable": os.environ.get("SET_FOR_THIS"),
        "main_thread": threading.current_thread() is threading.main_thread(),
        "stdin": sys.stdin.read(),
        "fds": sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _exists(fd))
        if os.path.isdir("/proc/self/fd")
        else [],
        "random": random.random(),
        "sigchld": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
    }


def _exists(fd):
    return os.path.exists(f"/proc/self/fd/{fd}") or os.path.islink(f"/proc/self/fd/{fd}")


class Callable:
    def __call__(self, x):
        return x * 3


callable_object = Callable()
partial_add = functools.partial(add, z=100)


async def async_same(x):
    await asyncio.sleep(0)
    return x


async def async_fail(x):
    if x == "exit":
        raise SystemExit(4)
    raise ValueError(x)


async def async_wait(path):
    try:
        Path(path, "started").touch()
        await asyncio.sleep(600)
    except BaseException as error:
        Path(path, "seen").write_text(type(error).__name__)
        raise


async def async_background(x):
    async def tick():
        while True:
            background.append(x)
            await asyncio.sleep(0.001)

    if x == 0:
        async_background.task = asyncio.get_running_loop().create_task(tick())
    return len(background)


async def async_input_id(_):
    await asyncio.sleep(0)
    return current_input_id()


@functools.wraps(async_same)
def wrapped_async(x):
    return async_same(x)


def count_to(n):
    yield from range(n)


def count_slowly(n):
    for i in range(n):
        yield i
        time.sleep(0.02)


def count_then_fail(n):
    yield from range(n)
    raise ValueError("after the last")


def yield_and_wait(path):
    try:
        yield 1
        wait_for_cancel(path)
    finally:
        Path(path, "closed").touch()


def yield_same_list(n):
    values = []
    for i in range(n):
        values.append(i)
        yield values


def yield_lock(_):
    yield 1
    yield threading.Lock()
    yield 2


def yield_large(n):
    for _ in range(n):
        yield bytes(4 << 20)


async def async_count_to(n):
    for i in range(n):
        yield i


async def async_yield_and_wait(path):
    yield 1
    Path(path, "started").touch()
    try:
        await asyncio.sleep(600)
    finally:
        Path(path, "closed").touch()


def swallow_for_ever(path):
    while True:
        try:
            Path(path, "started").touch()
            time.sleep(600)
        except BaseException:
            continue


def leave_work_for_the_end(path):
    import atexit

    atexit.register(Path(path, "atexit").touch)

    def work():
        time.sleep(0.1)
        Path(path, "thread").touch()

    threading.Thread(target=work).start()


def terminate_forks(x):
    """Ends processes as soon as they exist."""
    for _ in range(40 * x):
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM, status
    return x
