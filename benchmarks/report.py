"""Measurements to tables: `python -m benchmarks.report .benchmarks/latest.jsonl`.

Medians over the rounds, lowest and highest beside them. The ratio to modal_lite is taken within each round, then its
median: above 1, modal_lite is that many times better, whatever better means for the workload.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.workloads import WORKLOADS, Workload

OURS = "modal_lite"

Row = dict[str, Any]


def markdown(path: Path) -> str:
    """The whole report."""
    described, *rows = [json.loads(line) for line in path.read_text().splitlines()]
    parts = [preamble(described["machine"], rows), summary(rows)]
    for name, workload in WORKLOADS.items():
        of_workload = [row for row in rows if row["workload"] == name]
        if of_workload:
            parts.append(table(name, workload, of_workload))
    return "\n\n".join(parts)


def preamble(described: Row, rows: list[Row]) -> str:
    """Machine, versions, rounds and load."""
    versions = {row["peer"]: f"{row['version']}: {row['about']}" for row in rows if "version" in row}
    loads = [row["load"] for row in rows]
    lines = [
        f"{described['date']}, {described['processor']}, {described['cores']} cores, {described['memory_gib']} GiB, "
        f"{described['system']}, {described['python']}. Rounds: {1 + max(row['round'] for row in rows)}. "
        f"Load average before a measurement: median {statistics.median(loads):.1f}, highest {max(loads):.1f}.",
        "",
        *(f"* `{peer}` {version}" for peer, version in versions.items()),
    ]
    return "\n".join(lines)


def summary(rows: list[Row]) -> str:
    """The medians of everything in one table: a line for each workload, a column for each peer."""
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if "value" in row:
            values.setdefault((row["workload"], row["peer"]), []).append(row["value"])
    lines = [f"| median | better | {' | '.join(peers)} |", "|---|---|" + "---:|" * len(peers)]
    for name, workload in WORKLOADS.items():
        cells = [number(statistics.median(found)) if (found := values.get((name, peer))) else "" for peer in peers]
        if any(cells):
            better = "more" if workload.more_is_better else "less"
            lines.append(f"| `{name}`, {workload.unit} | {better} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table(name: str, workload: Workload, rows: list[Row]) -> str:
    """One workload, the best peer first, those that failed last."""
    better = "more" if workload.more_is_better else "less"
    lines = [
        f"**{name}**: {workload.title}. {workload.unit}, {better} is better.",
        "",
        f"| peer | n | median | lowest – highest | {OURS} is better by | also |",
        "|---|---:|---:|---:|---:|---|",
    ]
    by_peer: dict[str, list[Row]] = {}
    for row in rows:
        by_peer.setdefault(row["peer"], []).append(row)
    done = {peer: [row for row in those if "value" in row] for peer, those in by_peer.items()}
    ranked = sorted(
        (peer for peer in done if done[peer]),
        key=lambda peer: statistics.median(row["value"] for row in done[peer]),
        reverse=workload.more_is_better,
    )
    for peer in ranked:
        lines.append(line(peer, workload, done[peer], done.get(OURS, [])))
    for peer, those in by_peer.items():
        for error in sorted({row["error"] for row in those if "error" in row}):
            count = sum(row.get("error") == error for row in those)
            lines.append(f"| {peer} | | failed {count} times | | | {error.replace('|', ' ')} |")
    return "\n".join(lines)


def line(peer: str, workload: Workload, rows: list[Row], ours: list[Row]) -> str:
    """One peer's line."""
    values = [row["value"] for row in rows]
    ratio = "" if peer == OURS or not workload.compared else times(ratios(workload, rows, ours))
    also = "; ".join(
        f"{number(statistics.median(row['more'][label] for row in rows))} {label}" for label in rows[0]["more"]
    )
    spread = f"{number(min(values))} – {number(max(values))}"
    return f"| {peer} | {rows[0]['n']:,} | {number(statistics.median(values))} | {spread} | {ratio} | {also} |"


def ratios(workload: Workload, theirs: list[Row], ours: list[Row]) -> list[float]:
    """How many times better modal_lite was, of each round in which both were measured."""
    by_round = {row["round"]: row["value"] for row in ours}
    pairs = [(by_round[row["round"]], row["value"]) for row in theirs if row["round"] in by_round]
    return [our / their if workload.more_is_better else their / our for our, their in pairs]


def times(found: list[float]) -> str:
    """The median of the ratios, for people."""
    return f"{statistics.median(found):.2f}×" if found else ""


def number(value: float) -> str:
    """Three digits that matter, no more."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurements", type=Path)
    print(markdown(parser.parse_args().measurements))


if __name__ == "__main__":
    main()
