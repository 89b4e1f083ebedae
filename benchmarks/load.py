"""modal_lite under load: `python -m benchmarks.load [--cases a,b] [--scale 0.1] [--publish]`.

Each case of `load_cases` runs in a process of its own, checks every result, and is watched meanwhile: how much memory
it takes, and how much its containers do. Cases are added to .benchmarks/load.jsonl as they come. The table is made of
the last of each that is there; `--publish` writes it to benchmarks/load.md. `--cases ""` runs nothing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import machine
from benchmarks.load_cases import CASES, Figures
from benchmarks.memory import family, proportional_mib
from benchmarks.report import number
from benchmarks.run import ROOT, names

INTERVAL = 0.2
"""Seconds between two looks at the memory."""
PAGE = Path(__file__).with_name("load.md")


@dataclass
class Watched:
    """One case: how it went, and the most memory that was seen."""

    n: int
    seconds: float = 0.0
    caller_mib: float = 0.0
    all_mib: float = 0.0
    processes: int = 0
    figures: Figures = field(default_factory=dict)
    error: str = ""


def watch(case: str, n: int, timeout: float) -> Watched:
    """Runs a case in a process of its own, in a group that is killed afterwards. Failures are results as well."""
    watched = Watched(n)
    start = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.load", "--one", case, "--n", str(n)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            while process.poll() is None:
                if time.monotonic() - start > timeout:
                    watched.error = f"no end within {timeout:g} s"
                    break
                _look(process.pid, watched)
                time.sleep(INTERVAL)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        output, errors = process.communicate()
    watched.seconds = time.monotonic() - start
    if process.returncode != 0:
        lines = errors.strip().splitlines() or [f"exit code {process.returncode}"]
        watched.error = watched.error or lines[-1][:200]
    else:
        watched.figures = json.loads(output.strip().splitlines()[-1])
    return watched


def _look(pid: int, watched: Watched) -> None:
    own = proportional_mib(pid)
    others = family(pid)
    watched.caller_mib = max(watched.caller_mib, own)
    watched.all_mib = max(watched.all_mib, own + sum(map(proportional_mib, others)))
    watched.processes = max(watched.processes, len(others))


def read(path: Path) -> dict[str, Watched]:
    """The last of each case in a file of measurements, in the order of the cases."""
    found = dict(json.loads(line) for line in path.read_text().splitlines())
    return {case: Watched(**found[case]) for case in CASES if case in found}


def table(results: dict[str, Watched]) -> str:
    """The results in Markdown."""
    described = machine.describe()
    lines = [
        "# Load",
        "",
        "Made by `python -m benchmarks.load --publish`, not edited. Each case is a program of its own that checks",
        "every result. Memory is the most that was seen, in MiB: of the calling process, and of all of them, with what",
        "they share counted once (where the system tells).",
        "",
        f"{described['date']}, commit {described['commit']}, {described['processor']}, {described['cores']} cores, "
        f"{described['memory_gib']} GiB, {described['system']}, {described['python']}.",
        "",
        "| case | n | s | caller, MiB | all, MiB | processes | parts | results |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for case, seen in results.items():
        parts = "; ".join(f"{number(value)} {label}" for label, value in seen.figures.items())
        verdict = seen.error.replace("|", " ") or "all right"
        lines.append(
            f"| `{case}` | {seen.n:,} | {seen.seconds:.1f} | {seen.caller_mib:.0f} | {seen.all_mib:.0f} | "
            f"{seen.processes} | {parts} | {verdict} |"
        )
    lines += ["", "What the cases do:", ""]
    for case in results:
        lines.append(f"* `{case}`: {(CASES[case][0].__doc__ or '').strip()}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parses the command line, runs the cases, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=names, default=list(CASES), help="default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the calls, for a quick look (default: 1)")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one case (default: 300)")
    parser.add_argument("--out", type=Path, default=Path(".benchmarks/load.jsonl"), help="where the cases are added")
    parser.add_argument("--publish", action="store_true", help="write benchmarks/load.md")
    parser.add_argument("--one", choices=CASES, help="run this case in this process, and print its figures as JSON")
    parser.add_argument("--n", type=int, help="with --one: of how many")
    given = parser.parse_args()
    if given.one:
        print("\n" + json.dumps(CASES[given.one][0](given.n)))
        return
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for case in given.cases:
        seen = watch(case, max(1, round(CASES[case][1] * given.scale)), given.timeout)
        print(f"{case}: {seen.error or 'all right'} [{seen.seconds:.0f} s]", file=sys.stderr)
        with given.out.open("a") as out:
            print(json.dumps([case, vars(seen)]), file=out)
    text = table(read(given.out))
    if given.publish:
        PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
