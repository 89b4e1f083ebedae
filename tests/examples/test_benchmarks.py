"""The benchmark harness: what it says of measurements, and that each workload and each peer can be measured."""

import json
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest

from benchmarks import micro, peers, profile_call, report, run
from benchmarks.summary import Summary, summarize
from benchmarks.workload import Measured, check
from benchmarks.workloads import WORKLOADS, percentiles, streamed

MACHINE = {
    "date": "2026-01-31",
    "system": "Linux 6",
    "processor": "A processor",
    "cores": 2,
    "memory_gib": 8,
    "python": "CPython 3.11.7",
    "peers": [],
    "commit": "0123abcd",
}
BARE = {"synchronicity", "presplit"}


def row(peer: str, workload: str, round_number: int, value: float, **more: float) -> dict[str, Any]:
    return {
        "round": round_number,
        "peer": peer,
        "workload": workload,
        "load": 0.5,
        "version": "1.0",
        "about": f"how {peer} is used",
        "bare": peer in BARE,
        "value": value,
        "n": 1000,
        "more": more,
    }


def measurements(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "measurements.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [{"machine": MACHINE}, *rows]))
    return path


def summarized(folder: Path, *rows: dict[str, Any]) -> Summary:
    return summarize(measurements(folder, *rows))


def rendered(folder: Path, *rows: dict[str, Any]) -> str:
    return report.write(measurements(folder, *rows))


def verdicts(summary: Summary, workload: str) -> list[tuple[float | None, bool | None]]:
    return [(goal.measured, goal.reached) for goal in summary.rows[workload].goals]


def test_ratios_are_taken_within_a_round(tmp_path: Path) -> None:
    text = rendered(
        tmp_path,
        # The machine got twice as slow in the second round, and three times in the third.
        *(row("modal_lite", "noop_map", i, 12_000 / (i + 1)) for i in range(3)),
        *(row("ppe", "noop_map", i, 6_000 / (i + 1)) for i in range(3)),
    )

    assert "| modal_lite | 1,000 | 6,000 | 4,000 – 12,000 |  |  |" in text
    assert "| ppe | 1,000 | 3,000 | 2,000 – 6,000 | 2.00× |  |" in text


def test_less_is_better_where_the_workload_says_so(tmp_path: Path) -> None:
    text = rendered(
        tmp_path,
        row("modal_lite", "one_blocking_call", 0, 400, **{"p99 µs": 900}),
        row("ppe", "one_blocking_call", 0, 100, **{"p99 µs": 250}),
    )

    ppe, modal_lite = text.splitlines()[-2:]
    assert ppe == "| ppe | 1,000 | 100.0 | 100.0 – 100.0 | 0.25× | 250.0 p99 µs |"
    assert modal_lite == "| modal_lite | 1,000 | 400.0 | 400.0 – 400.0 |  | 900.0 p99 µs |"


def test_failures_are_in_the_report(tmp_path: Path) -> None:
    failed = {"round": 0, "peer": "dask", "workload": "noop_map", "load": 0.5, "error": "no answer within 1 s"}
    text = rendered(tmp_path, row("modal_lite", "noop_map", 0, 1), failed)

    assert "| dask | | failed 1 times | | | no answer within 1 s |" in text


def test_the_machine_and_the_versions_are_in_the_report(tmp_path: Path) -> None:
    text = rendered(tmp_path, row("ppe", "noop_map", 0, 1))

    assert "2026-01-31, commit 0123abcd, A processor, 2 cores, 8 GiB, Linux 6, CPython 3.11.7. Rounds: 1." in text
    assert "* `ppe` 1.0: how ppe is used" in text


def test_the_summary_has_every_peer_and_workload(tmp_path: Path) -> None:
    text = rendered(
        tmp_path,
        row("modal_lite", "noop_map", 0, 200_000),
        row("ppe", "noop_map", 0, 4_000),
        row("modal_lite", "cold_start", 0, 0.5),
    )

    assert "| median | better | modal_lite | ppe |\n|---|---|---:|---:|\n" in text
    assert "| `noop_map`, inputs/s | more | 200,000 | 4,000 |\n| `cold_start`, s | less | 0.50 |  |" in text


def test_goals_are_multiples_of_a_peers_figure(tmp_path: Path) -> None:
    summary = summarized(
        tmp_path,
        row("modal_lite", "noop_map", 0, 500_000),
        row("ppe_c64", "noop_map", 0, 250_000),
        row("ppe", "noop_map", 0, 4_000),
    )

    assert verdicts(summary, "noop_map") == [(2.0, False), (125.0, True)]


def test_goals_are_multiples_of_another_workloads_figure(tmp_path: Path) -> None:
    summary = summarized(
        tmp_path, row("modal_lite", "noop_map", 0, 500_000), row("modal_lite", "noop_map_aio", 0, 400_000)
    )

    assert verdicts(summary, "noop_map_aio") == [(0.8, True)]


def test_goals_that_name_the_best_mean_the_best_competitor(tmp_path: Path) -> None:
    summary = summarized(
        tmp_path,
        row("modal_lite", "uneven_sleep", 0, 94),
        row("ppe", "uneven_sleep", 0, 47),
        row("joblib", "uneven_sleep", 0, 100),
        row("presplit", "uneven_sleep", 0, 1000),
    )

    assert verdicts(summary, "uneven_sleep") == [(94, True), (0.94, False)]


def test_goals_are_bounds_for_other_numbers_as_well(tmp_path: Path) -> None:
    more = {"% of 20 k's rate": 97.0, "MiB more": 40.0}
    summary = summarized(tmp_path, row("modal_lite", "generator_1m", 0, 500_000, **more))

    assert verdicts(summary, "generator_1m") == [(97.0, True), (40.0, False)]


def test_goals_need_their_figures(tmp_path: Path) -> None:
    text = rendered(tmp_path, row("modal_lite", "cold_start", 0, 0.2), row("ppe", "noop_map", 0, 1))

    assert "| `cold_start` | ≤\N{NO-BREAK SPACE}0.5×\N{NO-BREAK SPACE}loky |  | not measured |" in text
    assert "| `noop_map` | ≥\N{NO-BREAK SPACE}100×\N{NO-BREAK SPACE}ppe |  | not measured |" in text


def test_summary_tables_and_chart_are_written(tmp_path: Path) -> None:
    text = rendered(tmp_path, row("modal_lite", "noop_map", 0, 500_000), row("ppe", "noop_map", 0, 5_000))

    assert (tmp_path / "measurements.md").read_text() == text
    summary = json.loads((tmp_path / "measurements.json").read_text())
    assert summary["rows"]["noop_map"]["peers"]["ppe"]["better"] == 100
    chart = xml.etree.ElementTree.parse(tmp_path / "measurements.svg")
    labels = [element.text for element in chart.iter() if element.tag.endswith("text")]
    assert {"noop_map", "modal_lite", "500 k", "ppe", "5 k"} <= set(labels)


def test_percentiles_are_in_microseconds() -> None:
    measured = percentiles([i / 1e6 for i in range(100)])

    assert measured == Measured(pytest.approx(49.5), 100, {"p99 µs": pytest.approx(99)})


def test_wrong_answers_are_no_measurement() -> None:
    with pytest.raises(AssertionError, match="wrong answer: three"):
        check(False, "three")
    with pytest.raises(AssertionError, match="wrong answer: 999 values in their order instead of 1000"):
        streamed(lambda n: iter(range(n - (n == 1000))), 1000)


def test_a_measurement_that_hangs_is_a_row(tmp_path: Path) -> None:
    assert run.run_once("synchronicity", "one_blocking_call", 1000, timeout=1) == {"error": "no answer within 1 s"}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_can_be_measured(workload: str) -> None:
    assert isinstance(run.run_once("modal_lite", workload, 0.01, timeout=30).get("value"), float)


@pytest.mark.parametrize("peer", ["ppe", "ppe_c64", "mp_imap", "sockets_c64", "sockets_c1", "presplit", "memcpy"])
@pytest.mark.parametrize("workload", ["noop_map", "one_blocking_call", "arrays_8mib", "containers_16"])
def test_peers_give_right_answers(peer: str, workload: str) -> None:
    measured = run.run_once(peer, workload, 0.01, timeout=30)

    if "unsuited" not in measured:
        assert isinstance(measured.get("value"), float), measured


@pytest.mark.parametrize("peer", ["fresh", "mp_fork", "mp_forkserver", "mp_spawn"])
def test_starts_of_a_process_can_be_measured(peer: str) -> None:
    measured = run.run_once(peer, "start_noop", 0.1, timeout=30)

    assert measured["n"] == 1
    assert isinstance(measured.get("value"), float), measured


def test_the_batched_function_is_measured_one_by_one_as_well() -> None:
    measured = run.run_once("unbatched", "batched_5ms", 0.01, timeout=30)

    assert isinstance(measured.get("value"), float), measured


def test_every_name_is_declared() -> None:
    assert {"modal_lite", "ppe", "mp_imap", "synchronicity"} <= set(peers.installed())
    # Every workload needs something that peers can have.
    assert all(hasattr(peers.base.Peer, workload.needs) for workload in WORKLOADS.values())


def test_one_command_measures_and_reports(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    names = ["--peers", "synchronicity,ppe", "--workloads", "one_blocking_call"]
    amount = ["--rounds", "2", "--scale", "0.01", "--no-parts"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *names, *amount, "--out", out],
        cwd=run.ROOT,
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert done.returncode == 0, done.stderr
    assert "Rounds: 2." in done.stdout
    rows = [json.loads(line) for line in out.read_text().splitlines()[1:]]
    # The peers take turns at being first.
    assert [row["peer"] for row in rows] == ["synchronicity", "ppe", "ppe", "synchronicity"]


@pytest.mark.parametrize("label", micro.MEASUREMENTS)
def test_the_parts_can_be_measured(label: str) -> None:
    assert micro.MEASUREMENTS[label]()() > 0


def test_the_stages_of_a_call_can_be_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.profile_call", "--scale", "0.01"]
    done = subprocess.run(command, cwd=run.ROOT, capture_output=True, text=True, timeout=50)

    assert done.returncode == 0, done.stderr
    stages = [
        line.split("|")[2:4] for line in done.stdout.splitlines() if line.startswith("| ") and "whole" not in line
    ]
    assert all(float(value) >= 0 for pair in stages[1:8] for value in pair)


def test_the_page_has_a_place_for_the_stages() -> None:
    page = profile_call.PAGE.read_text()
    tables = "| a | b |"

    written = profile_call.replaced(page, tables)

    assert f"\n{tables}\n" in written
    assert profile_call.replaced(written, tables) == written
    assert profile_call.replaced(written, "").partition(profile_call.BEGIN)[0] == page.partition(profile_call.BEGIN)[0]
