"""The whole comparison: `python -m benchmarks.run [--rounds N] [--peers a,b] [--workloads x,y] [--publish]`.

The measurements go to .benchmarks/latest.jsonl as they come; `benchmarks.report` writes a summary, the tables and a
chart beside them.

Within a round every peer runs a workload before any runs the next, and the order of the peers turns by one each round:
a machine that is busy for a minute slows all of them, and the ratios within a round keep their meaning.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import machine, peers, report
from benchmarks.workloads import WORKLOADS

ROOT = Path(__file__).parents[1]


def run_once(peer: str, workload: str, scale: float, timeout: float) -> dict[str, object]:
    """Measures in a process group of its own, and leaves nothing of it behind. Failures are a row as well."""
    command = [sys.executable, "-m", "benchmarks.once", peer, workload, "--scale", str(scale)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            return {"error": f"no answer within {timeout:g} s"}
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    if process.returncode != 0:
        lines = errors.strip().splitlines() or [f"exit code {process.returncode}"]
        return {"error": lines[-1][:200], "stderr": errors[-4000:]}
    measured: dict[str, object] = json.loads(output.strip().splitlines()[-1])
    return measured


def compare(given: argparse.Namespace) -> None:
    """Measures everything asked for, a line of JSON each, as it comes."""
    unsuited: set[tuple[str, str]] = set()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with given.out.open("w") as out:
        print(json.dumps({"machine": machine.describe()}), file=out, flush=True)
        for round_number in range(given.rounds):
            turn = round_number % len(given.peers)
            for workload in given.workloads:
                for peer in given.peers[turn:] + given.peers[:turn]:
                    if (peer, workload) in unsuited:
                        continue
                    load = os.getloadavg()[0]
                    start = time.monotonic()
                    row = {"round": round_number, "peer": peer, "workload": workload, "load": load}
                    row |= run_once(peer, workload, given.scale, given.timeout)
                    if "unsuited" in row:
                        unsuited.add((peer, workload))
                        continue
                    print(json.dumps(row), file=out, flush=True)
                    said = row.get("error") or f"{row['value']:,.1f} {WORKLOADS[workload].unit}"
                    took = time.monotonic() - start
                    print(f"round {round_number + 1} {workload} {peer}: {said} [{took:.0f} s]", file=sys.stderr)
        if given.parts:
            print(json.dumps({"parts": measure_parts()}), file=out)


def measure_parts() -> dict[str, list[float]]:
    """The micro-benchmarks, in a process of their own: they start the library's thread and set signal handlers."""
    command = [sys.executable, "-m", "benchmarks.micro", "--json"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    parts: dict[str, list[float]] = json.loads(output)
    return parts


def names(text: str) -> list[str]:
    """The names in `a,b,c`."""
    return [name for name in text.split(",") if name]


def main() -> None:
    """Parses the command line, measures, and prints the report in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--peers", type=names, default=peers.installed(), help="default: all that are installed")
    parser.add_argument("--workloads", type=names, default=list(WORKLOADS), help="default: all")
    parser.add_argument("--out", type=Path, default=Path(".benchmarks/latest.jsonl"), help="where they are written")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the inputs, for a quick look (default: 1)")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one measurement (default: 120)")
    parser.add_argument("--parts", action=argparse.BooleanOptionalAction, default=True, help="the micro-benchmarks too")
    parser.add_argument("--publish", action="store_true", help="write benchmarks/figures.*, which the docs show")
    given = parser.parse_args()
    # Ended by a signal, it would leave the measurement behind that it waits for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for name in {*given.peers} - {*peers.WHERE} | {*given.workloads} - {*WORKLOADS}:
        parser.error(f"there is no peer or workload {name!r}; peers: {list(peers.WHERE)}; workloads: {list(WORKLOADS)}")
    compare(given)
    print(report.write(given.out, given.publish))


if __name__ == "__main__":
    main()
