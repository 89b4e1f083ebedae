"""Where the time of a call goes, and the processor's in a map: `python -m benchmarks.profile_call [--write]`.

Calls are stamped where they pass from one part to the next, in the program by wrapping a function of each part, in the
container by the function that is called: the clock is the same in all processes of a machine. `--write` puts the tables
into docs/explanation/performance.md.
"""

import argparse
import asyncio
import functools
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

import modal_lite as modal
from benchmarks import machine
from modal_lite._client import _Client
from modal_lite._core.interfaces import OnEnd
from modal_lite._core.messages import Lease
from modal_lite._core.payload import Payload
from modal_lite._core.requests import OutputBatch, RunCall
from modal_lite._scheduler import Scheduler, events
from modal_lite._server.service import Service
from modal_lite._transport.channel import Channel

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "performance.md"
BEGIN, END = "<!-- measured by `python -m benchmarks.profile_call --write` -->", "<!-- end -->"

app = modal.App("profile-call")


@app.function(max_containers=1)
def clock(_: int) -> float:
    return time.perf_counter()


@app.function(max_containers=2)
def nothing(value: int) -> int:
    return value


STAGES = (
    ("the caller's thread: handle resolved, argument pickled", "client"),
    ("taking over the library's loop", "request"),
    ("control plane: the scheduler leases the input", "lease"),
    ("to the container: written, its thread woken, argument unpickled", "function"),
    ("back from it: value pickled, written, the loop woken, decoded", "report"),
    ("control plane: the scheduler accepts the value, the request is answered", "answer"),
    ("leaving the loop, value unpickled", "end"),
)
"""What passes until a stamp, and the stamp."""

IDLE = 0.05
"""Who is busy for less of the time is left out: the template, and the container of the calls."""

stamps: dict[str, float] = {}


def stamp_calls() -> None:
    """Wraps the functions that a call passes; what they find is in `stamps`."""

    def entered(owner: type, name: str, stamp: str, wanted: Callable[..., bool] = lambda *_: True) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapper(*args: Any) -> Any:
            if wanted(*args):
                stamps[stamp] = time.perf_counter()
            return original(*args)

        setattr(owner, name, wrapper)

    run = Service.run

    def run_and_stamp(service: Service, request: RunCall, payload: Payload, on_end: OnEnd) -> Callable[[], None]:
        stamps["request"] = time.perf_counter()

        def ended(reply: OutputBatch | Exception) -> None:
            stamps["answer"] = time.perf_counter()
            on_end(reply)

        return run(service, request, payload, ended)

    Service.run = run_and_stamp  # type: ignore[method-assign]
    entered(_Client, "run", "client")
    entered(Channel, "send", "lease", lambda channel, message, *payload: isinstance(message, Lease))
    entered(Scheduler, "handle", "report", lambda scheduler, event, now: isinstance(event, events.OutputsReported))


def stages(start: float, function: float, end: float) -> list[float]:
    """Microseconds of each stage of the call that has just ended, and of all together."""
    stamps.update(function=function, end=end)
    times = [start, *(stamps[stamp] for _, stamp in STAGES)]
    return [1e6 * (after - before) for before, after in zip(times, times[1:], strict=False)] + [1e6 * (end - start)]


def blocking(n: int) -> list[list[float]]:
    """The stages of blocking calls."""
    found = []
    for index in range(n):
        start = time.perf_counter()
        function = clock.remote(index)
        found.append(stages(start, function, time.perf_counter()))
    return found


async def awaited(n: int) -> list[list[float]]:
    """The stages of awaited calls."""
    found = []
    for index in range(n):
        start = time.perf_counter()
        function = await clock.remote.aio(index)
        found.append(stages(start, function, time.perf_counter()))
    return found


def calls(n: int) -> str:
    """The table of stages. Medians of each, which do not quite add up to the median of all."""
    by_form = [blocking(n)[n // 10 :], asyncio.run(awaited(n))[n // 10 :]]
    medians = [[statistics.median(column) for column in zip(*form, strict=True)] for form in by_form]
    labels = [label for label, _ in STAGES] + ["**the whole call**"]
    lines = ["| median, µs | blocking | awaited |", "|---|---:|---:|"]
    lines += [f"| {label} | {a:.0f} | {b:.0f} |" for label, a, b in zip(labels, *medians, strict=True)]
    return "\n".join(lines)


def map_of(n: int) -> str:
    """The table of who is busy while a function that does nothing is mapped."""
    for _ in nothing.map(range(n // 10)):
        pass
    before, start = busy(), time.perf_counter()
    for _ in nothing.map(range(n)):
        pass
    seconds, after = time.perf_counter() - start, busy()
    lines = [f"| {n:,} inputs, {n / seconds:,.0f} a second | busy | µs an input |", "|---|---:|---:|"]
    for who, seconds_before in before.items():
        spent = after[who] - seconds_before
        if spent > IDLE * seconds:
            label = who if isinstance(who, str) else "a container"
            lines.append(f"| {label} | {100 * spent / seconds:.0f} % | {1e6 * spent / n:.2f} |")
    return "\n".join(lines)


def busy() -> dict[str | int, float]:
    """Seconds of processor time so far, of each thread of the program and, by their ids, of the processes below it."""
    me = psutil.Process()
    caller, library = "the caller's thread", "the library's thread"
    found: dict[str | int, float] = {caller: 0.0, library: 0.0}
    for thread in me.threads():
        who = caller if thread.id == threading.main_thread().native_id else library
        found[who] += thread.user_time + thread.system_time
    for child in sorted(me.children(recursive=True), key=lambda child: child.pid):
        times = child.cpu_times()
        found[child.pid] = times.user + times.system
    return found


def report(scale: float = 1.0) -> str:
    """Both tables."""
    stamp_calls()
    with app.run():
        single, mapped = calls(max(20, round(2_000 * scale))), map_of(max(1_000, round(1_000_000 * scale)))
    about = machine.describe()
    measured = f"{about['date']}, commit {about['commit']}, {about['processor']}, {about['cores']} cores"
    return f"Measured on {measured}, {about['system']}, {about['python']}.\n\n{single}\n\n{mapped}"


def replaced(page: str, tables: str, mark: str = BEGIN) -> str:
    """The page with these tables between the mark and the end's."""
    before, begin, rest = page.partition(mark)
    _, end, after = rest.partition(END)
    assert begin and end, f"there is no place for the tables: {mark}"
    return f"{before}{begin}\n\n{tables}\n\n{end}{after}"


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the inputs, for a quick look (default: 1)")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(PAGE.parents[2])}")
    given = parser.parse_args()
    tables = report(given.scale)
    print(tables)
    if given.write:
        PAGE.write_text(replaced(PAGE.read_text(), tables))


if __name__ == "__main__":
    main()
