"""Calls through the server: `python -m benchmarks.server [--rounds N] [--peers-python PATH] [--publish]`.

Beside them the same calls of an app that runs in the program itself, and task queues of `server_peers`, if the Python
at PATH has them: they may be in an environment of their own. Rounds alternate, so that a machine that is busy for a
while slows all. The table has the median of the rounds, the lowest and the highest; `--publish` writes it to
benchmarks/server.md.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import modal_lite as modal
from benchmarks import machine
from benchmarks.report import number
from benchmarks.run import ROOT
from benchmarks.server_peers import CALLS, PEERS, SPAWNS, TASKS, WORKERS, Figures

MAPPED = 100_000
WARM_UP = 200
PAGE = Path(__file__).with_name("server.md")
FIGURES = {
    "call_ms": "a call, ms",
    "map": "inputs of `map`, a second",
    "spawn": f"`spawn` from {TASKS} tasks, a second",
    "spawn_map": "inputs of `spawn_map`, a second",
}

app = modal.App("benchmark-server")


@app.function(max_containers=WORKERS)
def noop(x: int) -> int:
    """Does nothing."""
    return x


def measure(function: Any) -> Figures:
    """The figures of a function that runs somewhere; every result is checked."""
    assert list(function.map(range(WARM_UP))) == list(range(WARM_UP))
    times = []
    for i in range(WARM_UP + CALLS):
        start = time.perf_counter()
        assert function.remote(i) == i
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    assert list(function.map(range(MAPPED))) == list(range(MAPPED))
    mapped = time.perf_counter() - start
    spawned = asyncio.run(_spawn(function))
    start = time.perf_counter()
    call = function.spawn_map(range(MAPPED))
    spawned_map = time.perf_counter() - start
    assert list(call.iter()) == list(range(MAPPED))
    return {
        "call_ms": statistics.median(times[WARM_UP:]) * 1e3,
        "map": MAPPED / mapped,
        "spawn": SPAWNS / spawned,
        "spawn_map": MAPPED / spawned_map,
    }


async def _spawn(function: Any) -> float:
    calls: list[tuple[int, Any]] = []

    async def some(first: int) -> None:
        for i in range(first, SPAWNS, TASKS):
            calls.append((i, await function.spawn.aio(i)))

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for first in range(TASKS):
            group.create_task(some(first))
    seconds = time.perf_counter() - start
    for i, call in calls:
        assert await call.get.aio() == i
    return seconds


def embedded() -> Figures:
    """The function runs in this program's own containers."""
    with app.run():
        return measure(noop)


def served() -> Figures:
    """The function is deployed, and called through the server's Unix socket."""
    return measure(modal.Function.from_name(str(app.name), "noop"))


OWN = {"embedded": embedded, "server": served}


def run(name: str, peers_python: str) -> Figures | str:
    """One measurement in a process of its own; its figures, or why there are none."""
    module = ["benchmarks.server", "--one", name] if name in OWN else ["benchmarks.server_peers", name]
    python = sys.executable if name in OWN else peers_python
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([python, "-m", *module], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def table(rounds: list[dict[str, Figures | str]]) -> str:
    """The results in Markdown."""
    seen = machine.describe()
    names = [*OWN, *PEERS]
    lines = [
        "# Calls through the server",
        "",
        "Made by `python -m benchmarks.server --publish`, not edited. A function that does nothing, in two processes:",
        "in the program's own containers, through the server's Unix socket, and by task queues whose broker is a Redis",
        "that writes to disk before it answers, as `spawn` of the server does (embedded, it does not). Every result is",
        f"checked. Medians of {len(rounds)} rounds that alternate, with the lowest and the highest.",
        "",
        f"{seen['date']}, commit {seen['commit']}, {seen['processor']}, {seen['cores']} cores, "
        f"{seen['memory_gib']} GiB, {seen['system']}, {seen['python']}.",
        "",
        "| | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for key, label in FIGURES.items():
        cells = [
            _cell([found[key] for each in rounds if isinstance(found := each[name], dict) and key in found])
            for name in names
        ]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines.append("")
    for name in names:
        why = {found for each in rounds if isinstance(found := each[name], str)}
        lines += [f"{name} was not measured: {reason}" for reason in sorted(why)]
    return "\n".join(lines).rstrip() + "\n"


def _cell(values: list[float]) -> str:
    if not values:
        return "–"
    return f"{number(statistics.median(values))} ({number(min(values))} – {number(max(values))})"


def main() -> None:
    """Parses the command line, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers-python", default=sys.executable, help="a Python that has celery, taskiq and Redis")
    parser.add_argument("--publish", action="store_true", help="write benchmarks/server.md")
    parser.add_argument("--one", choices=OWN, help="measure this in this process, and print its figures as JSON")
    given = parser.parse_args()
    if given.one:
        print("\n" + json.dumps(OWN[given.one]()))
        return
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MODAL_LITE_DATA_DIR"] = folder
        app.deploy()
        try:
            for _ in range(given.rounds):
                rounds.append({name: run(name, given.peers_python) for name in (*OWN, *PEERS)})
                print(json.dumps(rounds[-1]), file=sys.stderr)
        finally:
            subprocess.run([sys.executable, "-m", "modal_lite", "server", "stop"], check=True, capture_output=True)
    text = table(rounds)
    if given.publish:
        PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
