"""What the containers of these tests run."""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import modal_lite
from modal_lite.exception import InputCancellation

app = modal_lite.App("server-tests")


@app.function()
def same(x: int) -> int:
    return x


@app.function(max_containers=1)
def pid(_: object = None) -> int:
    return os.getpid()


@app.function(max_containers=2)
def note_and_wait(path: str) -> int:
    """Adds its process to the file, waits until path + ".go" exists."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    while not os.path.exists(path + ".go"):
        time.sleep(0.005)
    return os.getpid()


@app.function(max_containers=2)
def slowly(x: int, path: str) -> int:
    """Notes its input and its process."""
    with open(path, "a") as file:
        file.write(f"{x} {os.getpid()}\n")
    time.sleep(0.02)
    return x


@app.function(max_containers=1)
def die(path: str, how: str, text: str = "") -> None:
    """Ends its container."""
    with open(path, "a") as file:
        file.write("x")
    if text:
        print(text, file=sys.stderr, flush=True)
    match how:
        case "exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "KeyboardInterrupt":
            raise KeyboardInterrupt
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(10)


@app.function(max_containers=1)
def die_once(path: str) -> str:
    if not os.path.exists(path):
        Path(path).touch()
        os._exit(0)
    return "lived"


@app.function(max_containers=1, timeout=0.3, retries=modal_lite.Retries(max_retries=2, initial_delay=0.0))
def fail_in_turn(path: str) -> str:
    """Raises, then loses its container, then runs into its timeout, then succeeds."""
    with open(path, "a+") as file:
        file.write(f"{modal_lite.current_input_id()}\n")
        file.seek(0)
        turn = len(file.readlines())
    match turn:
        case 1:
            raise ValueError("first")
        case 2:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(10)
        case 3:
            time.sleep(10)
    return "at last"


@app.function(max_containers=1)
def values_then_die(n: int, path: str) -> Iterator[int]:
    """Yields n values, then waits for the file and dies."""
    yield from range(n)
    while not os.path.exists(path):
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)


@app.function(max_containers=1)
def write_junk(junk: bytes) -> str:
    """Writes to every socket it has."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                os.write(int(name), junk)
        except OSError:
            continue
    time.sleep(10)
    return "still there"


@app.function(max_containers=1)
def close_everything() -> None:
    """Closes all descriptors but the standard ones."""
    os.closerange(3, 256)
    time.sleep(10)


@app.function(max_containers=1)
def print_much(megabytes: int) -> int:
    line = "x" * 999 + "\n"
    for _ in range(megabytes * 1000):
        sys.stdout.write(line)
    return megabytes


@app.function(max_containers=1)
def print_and_wait(path: str) -> str | None:
    """Prints a line, and waits until the file exists; returns its input's id."""
    print("printed", flush=True)
    while not os.path.exists(path):
        time.sleep(0.005)
    return modal_lite.current_input_id()


@app.function(max_containers=1)
def print_line(megabytes: int) -> int:
    """One line without an end."""
    piece = "x" * 1_000_000
    for _ in range(megabytes):
        sys.stdout.write(piece)
    return megabytes


@app.function(max_containers=1)
def draw_much(megabytes: int) -> int:
    """A progress bar that never rests."""
    state = "\r" + "x" * 99
    for _ in range(megabytes * 10_000):
        sys.stdout.write(state)
    return megabytes


@app.function(max_containers=1)
def ignore_everything(path: str) -> None:
    """Cannot be interrupted by anything but SIGKILL."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            Path(path).touch()
            time.sleep(60)
        except InputCancellation:
            continue


@app.function(max_containers=1)
def leave_a_child() -> int:
    """Starts a process that outlives its input."""
    import subprocess

    return subprocess.Popen(["sleep", "60"]).pid


@app.function(max_containers=2)
def note_each(x: int, path: str) -> int:
    """Notes each start, takes a while."""
    with open(path, "a") as file:
        file.write(f"{x}\n")
    time.sleep(0.05)
    return x


@app.function(max_containers=1)
def note_each_yield(n: int, path: str) -> Iterator[int]:
    for x in range(n):
        with open(path, "a") as file:
            file.write(f"{x}\n")
        time.sleep(0.02)
        yield x


@app.function(max_containers=1)
def nest(how: str, path: str) -> int:
    """Has calls of its own under way."""
    with open(path + ".pid", "w") as file:
        file.write(str(os.getpid()))
    match how:
        case "remote":
            return note_and_wait.remote(path)
        case "map":
            return len(list(note_each.map(range(1000), kwargs={"path": path})))
        case "spawn_map":
            return note_each.spawn_map(_endless(), kwargs={"path": path}).num_inputs()
        case _:
            return len(list(note_each_yield.remote_gen(1000, path)))


def _endless() -> Iterator[int]:
    for x in range(10_000):
        yield x
        time.sleep(0.02)


@app.function(max_containers=1, retries=modal_lite.Retries(max_retries=2, initial_delay=0.0))
def values_then_end(n: int, how: str, path: str) -> Iterator[int]:
    """Notes its start; yields n values, then ends badly."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    yield from range(n)
    while not os.path.exists(path + ".go"):
        time.sleep(0.005)
    if how == "raise":
        raise KeyError("mine")
    os.kill(os.getpid(), signal.SIGTERM if how == "term" else signal.SIGKILL)
    time.sleep(10)


def _die_or_return(x: int) -> int:
    if x == 3:
        os._exit(7)
    return x


@app.function(max_containers=1)
@modal_lite.concurrent(max_inputs=8)
def one_thread_dies(x: int) -> int:
    time.sleep(0.02)
    return _die_or_return(x)


@app.function(max_containers=1)
@modal_lite.concurrent(max_inputs=8)
async def one_task_dies(x: int) -> int:
    await asyncio.sleep(0.02)
    return _die_or_return(x)


@app.function(max_containers=1)
@modal_lite.batched(max_batch_size=8, wait_ms=5)
def one_of_a_batch_dies(xs: list[int]) -> list[int]:
    return [_die_or_return(x) for x in xs]


@app.function(max_containers=2, retries=modal_lite.Retries(max_retries=4, initial_delay=0.0))
def retry_each(x: int, folder: str) -> int:
    """Fails as many times as its argument says."""
    path = Path(folder, str(x))
    with open(path, "a") as file:
        file.write("x\n")
    attempt = len(path.read_text().splitlines())
    if attempt <= x:
        raise ValueError(f"attempt {attempt} of {x}")
    return x


slow_exits = modal_lite.App("server-tests with slow exits")


@slow_exits.cls(max_containers=1)
class SlowExit:
    """Leaves when the file `go` appears."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @modal_lite.method()
    def work(self) -> str:
        return "done"

    @modal_lite.exit()
    def leave(self) -> None:
        Path(self.folder, "leaving").touch()
        while not Path(self.folder, "go").exists():
            time.sleep(0.005)
