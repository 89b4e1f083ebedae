"""The same faults on modal_lite and its peers: `python -m benchmarks.faults [--peers a,b] [--faults x,y] [--publish]`.

Each case is a process of its own with a bounded time: a pool of two workers is opened and warmed up, 40 inputs are
mapped, and something happens to one of them, or to the program. What every input came to, whether the pool works on,
how long the program takes to end, and what is left of it, is added to .benchmarks/faults.jsonl. The tables are made of
the last of each case that is there; `--publish` writes them to benchmarks/faults.md, and the summary into the page on
guarantees. `--faults ""` runs nothing and publishes what is there.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import fault_functions as functions
from benchmarks import machine
from benchmarks.fault_peers import PEERS
from benchmarks.profile_call import replaced
from benchmarks.run import ROOT, names

PAGE = Path(__file__).with_name("faults.md")
GUARANTEES = ROOT / "docs" / "explanation" / "guarantees.md"
MARK = "<!-- measured by `python -m benchmarks.faults --publish` -->"
TAG = "MODAL_LITE_FAULTS"
BOUND = 30.0
"""Seconds after which a map, the next one, or the end of a program counts as hanging."""
START_BOUND = 60.0
"""Seconds for a peer to start."""
LEFT_AFTER = 2.0
"""Seconds after the end of a program at which what is left of it is counted."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong."""

    title: str
    function: Callable[[functions.Input], Any]
    signal: int | None = None
    """What the program is sent once both workers are at it; None: what happens, the function does."""


FAULTS = {
    "kill": Fault("`kill -9` of a worker in the middle of a map", functions.killed),
    "exit": Fault("an input that always ends its worker: `os._exit(3)`", functions.exits),
    "segfault": Fault("an input that always crashes its worker: SIGSEGV", functions.segfaults),
    "hang": Fault("an input that hangs for ever, with a limit of 2 s", functions.hangs),
    "freeze": Fault("a worker frozen by SIGSTOP, with a limit of 2 s", functions.freezes),
    "result": Fault("a result that does not pickle", functions.returns_lock),
    "error": Fault("an exception that cannot be unpickled", functions.raises_strange),
    "parent": Fault("`kill -9` of the program", functions.stays, signal.SIGKILL),
    "ctrl_c": Fault("Ctrl-C in the middle of a map", functions.stays, signal.SIGINT),
}


@dataclass
class Seen:
    """How a case went."""

    right: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float | None = None
    """From the first input to the last outcome; None if that never came."""
    next_map: str = ""
    """What a healthy map on the same pool came to."""
    end: float | None = None
    """Seconds from the last outcome, or the signal, to the end of the program; None if it did not end."""
    left: int = 0
    """Processes that outlived the program."""
    failed: str = ""
    """Why the case could not be run."""


# --- in the program ---------------------------------------------------------------------------------------------------


def run_here(peer_name: str, fault: Fault, folder: str) -> None:
    """The program itself; says how far it is."""

    def inputs(count: int) -> list[functions.Input]:
        return [(folder, number) for number in range(count)]

    with PEERS[peer_name][2]() as peer:
        list(peer.outcomes(functions.healthy, inputs(4)))
        say("warm")
        for number, (right, value) in enumerate(peer.outcomes(fault.function, inputs(functions.COUNT))):
            say("right" if right and value == number else f"error {describe(value)}")
        say("mapped")
        try:
            results = list(peer.outcomes(functions.healthy, inputs(4)))
            good = results == [(True, i) for i in range(4)]
            say("next works" if good else f"next {describe(next(v for ok, v in results if not ok))}")
        except Exception as error:
            say(f"next {describe(error)}")


def say(what: str) -> None:
    """A line for the process that watches."""
    print(f"@{time.monotonic()} {what}", flush=True)


def describe(value: Any) -> str:
    """An exception's class and what it says, on a line."""
    lines = [line.strip() for line in str(value).strip().splitlines() if line.strip()]
    return f"{type(value).__name__}: {' '.join(lines)[:160]}" if lines else type(value).__name__


# --- beside it --------------------------------------------------------------------------------------------------------


class Case:
    """A program that runs, watched."""

    def __init__(self, peer_name: str, fault_name: str) -> None:
        self._fault = FAULTS[fault_name]
        self._seen = Seen()
        self._tag = uuid.uuid4().hex
        self._said = 0
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._out = Path(self._folder.name, "stdout")
        self._err = Path(self._folder.name, "stderr")
        command = [sys.executable, "-m", "benchmarks.faults", "--one", peer_name, fault_name, self._folder.name]
        with self._out.open("w") as out, self._err.open("w") as err:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, TAG: self._tag, "PYTHONWARNINGS": "ignore"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def watch(self) -> Seen:
        """Sees it through; nothing of it is left."""
        try:
            if (warm := self._wait_for("warm", START_BOUND)) is None:
                lines = self._err.read_text().strip().splitlines() or ["it did not start"]
                self._seen.failed = lines[-1][:160]
            elif self._fault.signal is not None:
                self._send(self._fault.signal)
            else:
                self._follow(warm)
        finally:
            # The program first: some start new workers for those that are killed.
            self._process.kill()
            self._process.wait()
            while family := self._family():
                for process in family:
                    process.kill()
            self._folder.cleanup()
        return self._seen

    def _follow(self, warm: float) -> None:
        seen = self._seen
        mapped = self._wait_for("mapped", BOUND)
        for word, rest in self._lines():
            seen.right += word == "right"
            seen.errors.update([rest] if word == "error" else [])
        if mapped is None:
            return
        seen.seconds = mapped - warm
        last = self._wait_for("next", BOUND)
        seen.next_map = next((rest for word, rest in self._lines() if word == "next"), "hangs")
        self._wait_for_end(last or time.monotonic())

    def _send(self, signum: int) -> None:
        deadline = time.monotonic() + BOUND
        while len(list(Path(self._folder.name).glob("started-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        sent = time.monotonic()
        if signum == signal.SIGINT:
            os.killpg(self._process.pid, signum)  # as a terminal does
        else:
            self._process.send_signal(signum)
        self._wait_for_end(sent)

    def _wait_for_end(self, since: float) -> None:
        try:
            self._process.wait(BOUND)
        except subprocess.TimeoutExpired:
            return
        self._seen.end = time.monotonic() - since
        time.sleep(LEFT_AFTER)
        self._seen.left = len(self._family())

    def _wait_for(self, word: str, bound: float) -> float | None:
        """When the program said so; None if it has not, or has ended without."""
        deadline = time.monotonic() + bound
        while time.monotonic() < deadline:
            ended = self._process.poll() is not None
            for line in self._out.read_text().splitlines():
                stamp, _, what = line.partition(" ")
                if stamp.startswith("@") and what.partition(" ")[0] == word:
                    return float(stamp[1:])
            if ended:
                return None
            time.sleep(0.01)
        return None

    def _lines(self) -> list[tuple[str, str]]:
        """What the program has said, as a word and the rest."""
        found = []
        for line in self._out.read_text().splitlines():
            if line.startswith("@"):
                word, _, rest = line.partition(" ")[2].partition(" ")
                found.append((word, rest))
        return found

    def _family(self) -> list[psutil.Process]:
        """All the processes of the program but itself."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.pid != self._process.pid and process.environ().get(TAG) == self._tag
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


# --- the report -------------------------------------------------------------------------------------------------------


def verdict(fault: Fault, seen: Seen) -> str:
    """A cell: what came of the inputs, or of the program."""
    if seen.failed:
        return "not run"
    left = f", {seen.left} processes left" if seen.left else ""
    if fault.signal is not None:
        if seen.end is None:
            return "**does not end**"
        if fault.signal == signal.SIGKILL:
            return f"**{seen.left} processes left**" if seen.left else "nothing left"
        return f"ends in {seen.end:.1f} s" + (f"**{left}**" if left else "")
    if seen.seconds is None:
        return f"**hangs** after {seen.right} of {functions.COUNT}"
    lost = functions.COUNT - seen.right
    good = lost == 0 or (lost == 1 and fault.function is not functions.killed)
    what = "all" if not lost else f"{seen.right}, and 1 error" if lost == 1 else f"loses {lost}"
    text = f"{what}, {seen.seconds:.1f} s"
    if seen.next_map != "works":
        text += "; the next map " + ("hangs" if seen.next_map == "hangs" else "fails")
        good = False
    if seen.end is None:
        text += "; does not end"
        good = False
    return (text if good else f"**{text}**") + left


def read(path: Path) -> dict[str, dict[str, Seen]]:
    """The last of each case in a file of measurements, by fault and peer, in the order of the tables here."""
    found = {}
    for line in path.read_text().splitlines():
        fault_name, peer_name, seen = json.loads(line)
        found[fault_name, peer_name] = Seen(**{**seen, "errors": Counter(seen["errors"])})
    results: dict[str, dict[str, Seen]] = {}
    for fault_name in FAULTS:
        for peer_name in PEERS:
            if (fault_name, peer_name) in found:
                results.setdefault(fault_name, {})[peer_name] = found[fault_name, peer_name]
    return results


def report(results: dict[str, dict[str, Seen]]) -> str:
    """All of it in Markdown: `results` by fault and peer."""
    described = machine.describe()
    peers = measured(results)
    missing = [name for name in PEERS if name not in peers]
    lines = [
        "# Faults",
        "",
        "Made by `python -m benchmarks.faults --publish`, not edited. Each case is a program of its own: a pool of two",
        f"workers, warm, and a map of {functions.COUNT} inputs of 20 ms, which takes 0.4 s if all is well. What is",
        "bold lost something that nothing had happened to, or did not go on. A map, or a program, that has not ended",
        f"after {BOUND:g} s counts as hanging. Processes that are left are counted {LEFT_AFTER:g} s after its end.",
        "",
        f"{described['date']}, commit {described['commit']}, {described['processor']}, {described['cores']} cores, "
        f"{described['memory_gib']} GiB, {described['system']}, {described['python']}.",
        "",
        *[f"* {name} {version(name)}: {PEERS[name][2].how}" for name in peers],
        *([f"* Not installed where this was measured: {', '.join(missing)}"] if missing else []),
        "",
        *summary(results),
    ]
    for name, row in results.items():
        if FAULTS[name].signal is None:
            lines += ["", *details(FAULTS[name], row)]
    return "\n".join(lines) + "\n"


def measured(results: dict[str, dict[str, Seen]]) -> list[str]:
    """The peers that there are results of."""
    return [name for name in PEERS if any(name in row for row in results.values())]


def summary(results: dict[str, dict[str, Seen]]) -> list[str]:
    """A line for each fault, a column for each peer."""
    peers = measured(results)
    lines = [f"| fault | {' | '.join(peers)} |", "|---|" + "---|" * len(peers)]
    for name, row in results.items():
        cells = [verdict(FAULTS[name], row[peer]) if peer in row else "" for peer in peers]
        lines.append(f"| {FAULTS[name].title} | {' | '.join(cells)} |")
    return lines


def details(fault: Fault, row: dict[str, Seen]) -> list[str]:
    """What each peer said of one fault."""
    title = fault.title[0].upper() + fault.title[1:]
    lines = [f"## {title}", "", "| peer | results | errors | next map | end |", "|---|---:|---|---|---|"]
    for peer, seen in row.items():
        if seen.failed:
            lines.append(f"| {peer} | | not run: {plain(seen.failed)} | | |")
            continue
        errors = "; ".join(f"{count} × {plain(text)}" for text, count in seen.errors.most_common(3))
        ended = "" if seen.seconds is None else "never" if seen.end is None else f"{seen.end:.1f} s"
        lines.append(f"| {peer} | {seen.right} | {errors} | {plain(seen.next_map)} | {ended} |")
    return lines


def plain(text: str) -> str:
    """Text for a cell of a table, without what differs from run to run."""
    text = re.sub(r"0x[0-9a-f]+|\b(ta|fc)-[0-9a-f]+|\b[0-9a-f]{16,}\b", "…", text)
    for own in (str(Path.home()), tempfile.gettempdir()):
        text = text.replace(own, "…")
    return text.replace("|", " ").replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_")


def version(name: str) -> str:
    """The version of what is measured."""
    distribution = PEERS[name][1]
    return importlib.metadata.version(distribution) if distribution else platform.python_version()


def main() -> None:
    """Parses the command line, runs the cases, prints the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    installed = [name for name, (module, _, _) in PEERS.items() if importlib.util.find_spec(module) is not None]
    parser.add_argument("--peers", type=names, default=installed, help="default: all that are installed")
    parser.add_argument("--faults", type=names, default=list(FAULTS), help="default: all")
    parser.add_argument("--out", type=Path, default=Path(".benchmarks/faults.jsonl"), help="where the cases are added")
    parser.add_argument("--publish", action="store_true", help="write benchmarks/faults.md, and the page on guarantees")
    parser.add_argument("--one", nargs=3, metavar=("PEER", "FAULT", "FOLDER"), help="be the program of a case")
    given = parser.parse_args()
    if given.one:
        run_here(given.one[0], FAULTS[given.one[1]], given.one[2])
        return
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for fault_name in given.faults:
        for peer_name in given.peers:
            seen = Case(peer_name, fault_name).watch()
            print(f"{fault_name} {peer_name}: {verdict(FAULTS[fault_name], seen)}", file=sys.stderr)
            with given.out.open("a") as out:
                print(json.dumps([fault_name, peer_name, vars(seen)]), file=out)
    results = read(given.out)
    text = report(results)
    if given.publish:
        PAGE.write_text(text)
        brief = "\n".join(summary(results))
        GUARANTEES.write_text(replaced(GUARANTEES.read_text(), brief, MARK))
    print(text)


if __name__ == "__main__":
    main()
