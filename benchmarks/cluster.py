"""Containers that Ray places: `python -m benchmarks.cluster [--rounds N] [--publish]`. Needs `pip install ray`.

A map of a function that does nothing, in two containers of a server on this machine, in two that Ray has placed here,
and as plain Ray tasks; and the time in which a map is done though the machine of some of its containers, a node of its
own, is killed. Rounds alternate. `--publish` writes the table to benchmarks/cluster.md.
"""

import argparse
import json
import os
import secrets
import signal
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

MAPPED = 200_000
TASKS = 4_000
"""Plain tasks of Ray: fewer, or a round would take minutes."""
SLOW = 600
IDLE = 6.0
"""Seconds after which containers of the slow function have ended."""
PAGE = Path(__file__).with_name("cluster.md")
NODES = ROOT / "tests" / "ray" / "cluster_process.py"
FIGURES = {
    "map": "inputs of `map`, a second",
    "undisturbed": f"`map` of {SLOW} inputs of 20 ms, seconds",
    "killed": "the same, a node killed meanwhile, seconds",
}

app = modal.App("benchmark-cluster")


@app.function(max_containers=2)
def noop(x: int) -> int:
    """Does nothing."""
    return x


@app.function(max_containers=4, scaledown_window=1)
def slow(x: int) -> int:
    """Takes its time."""
    time.sleep(0.02)
    return x


def throughput() -> dict[str, float]:
    """Inputs a second of the deployed function; every result is checked."""
    function = modal.Function.from_name(str(app.name), "noop")
    assert list(function.map(range(MAPPED))) == list(range(MAPPED))
    start = time.perf_counter()
    assert list(function.map(range(MAPPED))) == list(range(MAPPED))
    return {"map": MAPPED / (time.perf_counter() - start)}


def tasks() -> dict[str, float]:
    """Tasks a second of Ray itself."""
    import ray

    ray.init(os.environ["RAY_ADDRESS"], log_to_driver=False)
    remote = ray.remote(num_cpus=0.5)(lambda x: x)
    assert ray.get([remote.remote(i) for i in range(200)]) == list(range(200))
    start = time.perf_counter()
    assert ray.get([remote.remote(i) for i in range(TASKS)]) == list(range(TASKS))
    return {"map": TASKS / (time.perf_counter() - start)}


def mapping(lost: dict[str, Any] | None) -> float:
    """Seconds for the slow map; `lost` is the node that is killed after an eighth of it.

    Raises RuntimeError if that node had no container then: nothing would have been lost with it.
    """
    function = modal.Function.from_name(str(app.name), "slow")
    time.sleep(IDLE)  # until those of the map before, which are elsewhere, have ended
    assert list(function.map(range(200))) == list(range(200))
    start = time.perf_counter()
    values = []
    for value in function.map(range(SLOW)):
        values.append(value)
        if lost is not None and len(values) == SLOW // 8:
            if not containers_on(lost["node_id"]):
                raise RuntimeError("the node that was to be killed had no container")
            os.kill(lost["pids"]["raylet"], signal.SIGKILL)
    assert values == list(range(SLOW))
    return time.perf_counter() - start


def containers_on(node_id: str) -> int:
    """Containers that have their place on the node."""
    command = [sys.executable, "-m", "modal_lite", "cluster", "status", "--json"]
    status = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return sum(node["containers"] for node in status["nodes"] if node["node_id"] == node_id)


class Nodes:
    """A Ray cluster on this machine."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(NODES)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def add(self, **options: Any) -> dict[str, Any]:
        """Starts a node; what `cluster_process.py` says of it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(options), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("NODE "):
                node: dict[str, Any] = json.loads(line.removeprefix("NODE "))
                return node
        raise RuntimeError("Ray did not start")

    def close(self) -> None:
        """Ends it."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


def serve(folder: str, placer: str, *words: str) -> str:
    """Starts a server with the app; gives its data directory."""
    os.environ["MODAL_LITE_DATA_DIR"] = folder
    command = [sys.executable, "-m", "modal_lite", "server", "start", "--placer", placer, *words]
    subprocess.run(command, check=True, capture_output=True)
    app.deploy()
    return folder


def one(name: str, folder: str | None) -> dict[str, float]:
    """A measurement in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | ({"MODAL_LITE_DATA_DIR": folder} if folder else {})
    command = [sys.executable, "-m", "benchmarks.cluster", "--one", name]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def measure(rounds: int) -> list[dict[str, dict[str, float]]]:
    """All rounds."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ["PYTHONPATH"] = str(ROOT)
    nodes, found = Nodes(), []
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.environ["RAY_ADDRESS"] = nodes.add(num_cpus=2)["address"]
            folders = {name: os.path.join(folder, name) for name in ("local", "ray")}
            for name, place in folders.items():
                serve(place, name)
            for number_of_round in range(rounds):
                order = list(folders)[:: -1 if number_of_round % 2 else 1]
                figures = {name: one("throughput", folders[name]) for name in order}
                figures["tasks of Ray"] = one("tasks", None)
                found.append({name: figures[name] for name in ("local", "ray", "tasks of Ray")})
            # Only now: nodes that come and go use cores themselves.
            for figures in found:
                lost = nodes.add(num_cpus=2)
                time.sleep(3)  # until the server knows of it
                figures["ray"]["undisturbed"] = mapping(None)
                figures["ray"]["killed"] = mapping(lost)
                print(json.dumps(figures), file=sys.stderr)
        finally:
            for place in ("local", "ray"):
                os.environ["MODAL_LITE_DATA_DIR"] = os.path.join(folder, place)
                subprocess.run([sys.executable, "-m", "modal_lite", "server", "stop"], capture_output=True)
            nodes.close()
    return found


def table(rounds: list[dict[str, dict[str, float]]]) -> str:
    """The results in Markdown."""
    seen = machine.describe()
    names = list(rounds[0])
    ratio = statistics.median(each["ray"]["map"] / each["local"]["map"] for each in rounds)
    tasks_ratio = statistics.median(each["ray"]["map"] / each["tasks of Ray"]["map"] for each in rounds)
    lines = [
        "# Containers that Ray places",
        "",
        "Made by `python -m benchmarks.cluster --publish`, not edited. A function that does nothing in two containers:",
        "of a server on this machine, of one that places by Ray, on this machine too; and as Ray's own tasks. Every",
        f"result is checked. Medians of {len(rounds)} rounds that alternate, with the lowest and the highest.",
        "",
        f"{seen['date']}, commit {seen['commit']}, {seen['processor']}, {seen['cores']} cores, "
        f"{seen['memory_gib']} GiB, {seen['system']}, {seen['python']}.",
        "",
        "| | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for key, label in FIGURES.items():
        cells = [_cell([each[name][key] for each in rounds if key in each[name]]) for name in names]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    ratios = f"{ratio:.2f} times local containers, {tasks_ratio:.0f} times Ray's tasks"
    lines += ["", f"Placed by Ray, in the same round: {ratios}."]
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    if not values:
        return "–"
    return f"{number(statistics.median(values))} ({number(min(values))} – {number(max(values))})"


def main() -> None:
    """Parses the command line, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--publish", action="store_true", help="write benchmarks/cluster.md")
    parser.add_argument("--one", choices=("throughput", "tasks"), help="measure this in this process")
    given = parser.parse_args()
    if given.one:
        print("\n" + json.dumps({"throughput": throughput, "tasks": tasks}[given.one]()))
        return
    text = table(measure(given.rounds))
    if given.publish:
        PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
