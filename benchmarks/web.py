"""Requests to web functions beside plain uvicorn: `python -m benchmarks.web [--rounds N] [--publish]`.

wrk asks, and has to be there. An application that does nothing, and an endpoint of FastAPI that does nothing, in two
processes: those of uvicorn, and containers of a deployed app. Rounds alternate. An upload of 1 GiB, and what the server
and a container need for it, comes after them. `--publish` writes the table to benchmarks/web.md.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import modal_lite as modal
from benchmarks import machine
from benchmarks.memory import family, proportional_mib
from benchmarks.report import number
from benchmarks.run import ROOT

PROCESSES = 2
CONNECTIONS = 32
SECONDS = 4
WARM_UP = 1
UPLOAD = 1 << 30
PAGE = Path(__file__).with_name("web.md")
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}

Figures = dict[str, float]


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that does nothing."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def make_fastapi() -> Any:
    """An application whose endpoint does nothing."""
    from fastapi import FastAPI

    made = FastAPI()

    @made.get("/")
    async def ok() -> dict[str, bool]:
        return {"ok": True}

    return made


app = modal.App("benchmark-web")
_options: dict[str, Any] = {"min_containers": PROCESSES, "max_containers": PROCESSES}


@app.function(name="asgi", **_options)
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def _asgi() -> Any:
    return nothing


@app.function(name="fastapi", **_options)
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def _fastapi() -> Any:
    return make_fastapi()


@app.function(name="sink")
@modal.asgi_app()
def _sink() -> Any:
    async def sink(scope: Any, receive: Any, send: Any) -> None:
        taken, more = 0, True
        while more:
            message = await receive()
            taken += len(message.get("body", b""))
            more = message.get("more_body", False)
        body = str(taken).encode()
        head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
        await send(head)
        await send({"type": "http.response.body", "body": body})

    return sink


def ask(url: str) -> Figures:
    """Requests a second, and milliseconds that 99 % of them took at most."""
    wait_for(url)
    words = ["wrk", "-t2", f"-c{CONNECTIONS}", "--latency"]
    for seconds in (WARM_UP, SECONDS):
        said = subprocess.run([*words, f"-d{seconds}s", url], capture_output=True, text=True, check=True).stdout
    rate, late = re.search(r"Requests/sec:\s+([0-9.]+)", said), re.search(r"99%\s+([0-9.]+)(us|ms|s)\b", said)
    assert rate is not None and late is not None and "Non-2xx" not in said, said
    return {"rate": float(rate[1]), "p99": float(late[1]) * _UNITS[late[2]]}


def wait_for(url: str) -> None:
    """Returns once there is an answer."""
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=30).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def uvicorn(target: str) -> Iterator[str]:
    """Plain uvicorn with an application; gives its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "uvicorn", *target.split(), "--workers", str(PROCESSES), "--port", str(port)]
    process = subprocess.Popen([*words, "--log-level", "warning", "--no-access-log"], cwd=ROOT)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def deployed(name: str) -> Iterator[str]:
    """The web function of that name; gives its URL."""
    yield f"{modal.Function.from_name(str(app.name), name).web_url}/"


CASES: dict[str, dict[str, Callable[[], Any]]] = {
    "ASGI application": {
        "uvicorn": lambda: uvicorn("benchmarks.web:nothing"),
        "modal_lite": lambda: deployed("asgi"),
    },
    "FastAPI endpoint": {
        "uvicorn": lambda: uvicorn("benchmarks.web:make_fastapi --factory"),
        "modal_lite": lambda: deployed("fastapi"),
    },
}


def measure_round(turn: int) -> dict[str, dict[str, Figures]]:
    """Each case by each of the two, which take turns in coming first."""
    found: dict[str, dict[str, Figures]] = {}
    for case, contestants in CASES.items():
        names = list(contestants)
        for name in names[turn % 2 :] + names[: turn % 2]:
            with contestants[name]() as url:
                found.setdefault(case, {})[name] = ask(url)
    return found


def upload(pid: int) -> Figures:
    """Seconds for an upload, and MiB that the server and its processes had more while it went on than before."""
    with deployed("sink") as url:
        wait_for(url)
        before = _memory(pid)
        most, ended = [before], threading.Event()

        def look() -> None:
            while not ended.wait(0.05):
                most[0] = max(most[0], _memory(pid))

        looking = threading.Thread(target=look)
        looking.start()
        start = time.perf_counter()
        try:
            zeros = f"head -c {UPLOAD} /dev/zero | curl -sS -T - -H 'Content-Type: application/octet-stream' {url}"
            said = subprocess.run(zeros, shell=True, capture_output=True, text=True, check=True).stdout
        finally:
            ended.set()
            looking.join()
        assert said == str(UPLOAD), said
        return {"seconds": time.perf_counter() - start, "more": most[0] - before}


def _memory(pid: int) -> float:
    return sum(map(proportional_mib, [pid, *family(pid)]))


def table(rounds: list[dict[str, dict[str, Figures]]], uploaded: Figures) -> str:
    """The results in Markdown."""
    seen = machine.describe()
    lines = [
        "# Requests to web functions",
        "",
        "Made by `python -m benchmarks.web --publish`, not edited. wrk with 2 threads and "
        f"{CONNECTIONS} connections asks for {SECONDS}",
        f"seconds, on the same cores: plain uvicorn with {PROCESSES} workers, and a deployed web function with "
        f"{PROCESSES} containers.",
        f"Medians of {len(rounds)} rounds that alternate, with the lowest and the highest; the ratio is that of each "
        "round.",
        "",
        f"{seen['date']}, commit {seen['commit']}, {seen['processor']}, {seen['cores']} cores, "
        f"{seen['memory_gib']} GiB, {seen['system']}, {seen['python']}.",
        "",
        "| | uvicorn, requests/s | modal_lite, requests/s | ratio | uvicorn, p99 ms | modal_lite, p99 ms |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for case in CASES:
        own, other = ([each[case][name] for each in rounds] for name in ("modal_lite", "uvicorn"))
        ratios = [a["rate"] / b["rate"] for a, b in zip(own, other, strict=True)]
        cells = [
            _cell([each["rate"] for each in other]),
            _cell([each["rate"] for each in own]),
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})",
            _cell([each["p99"] for each in other]),
            _cell([each["p99"] for each in own]),
        ]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"An upload of 1 GiB, in chunks: {uploaded['seconds']:.1f} s. The server and all its processes had at most",
        f"{uploaded['more']:.0f} MiB more while it went on than before.",
    ]
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    return f"{number(statistics.median(values))} ({number(min(values))} – {number(max(values))})"


def main() -> None:
    """Parses the command line, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--publish", action="store_true", help="write benchmarks/web.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MODAL_LITE_DATA_DIR"] = folder
        app.deploy()
        try:
            rounds = []
            for turn in range(given.rounds):
                rounds.append(measure_round(turn))
                print(json.dumps(rounds[-1]), file=sys.stderr)
            pid = json.loads(Path(folder, "server.json").read_text())["pid"]
            text = table(rounds, upload(pid))
        finally:
            subprocess.run([sys.executable, "-m", "modal_lite", "server", "stop"], check=True, capture_output=True)
    if given.publish:
        PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
