"""Measurements to tables and a chart: `python -m benchmarks.report .benchmarks/latest.jsonl [--publish]`.

Beside the measurements appear a summary in JSON, the tables in Markdown and the chart in SVG; `--publish` writes them
to benchmarks/figures.* instead, which the documentation shows.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from benchmarks.chart import chart
from benchmarks.summary import OURS, Figures, Row, Summary, summarize


def write(measurements: Path, publish: bool = False) -> str:
    """Writes summary, tables and chart. Returns the tables."""
    summary = summarize(measurements)
    folder, stem = (Path(__file__).parent, "figures") if publish else (measurements.parent, measurements.stem)
    tables = markdown(summary, f"{stem}.svg")
    as_json = json.dumps(dataclasses.asdict(summary), indent=1, ensure_ascii=False) + "\n"
    for suffix, content in (("json", as_json), ("md", tables), ("svg", chart(summary))):
        (folder / f"{stem}.{suffix}").write_text(content)
    return tables


def markdown(summary: Summary, chart_name: str) -> str:
    """The whole report."""
    parts = [preamble(summary), f"![modal_lite beside its peers, by workload]({chart_name})", goals(summary)]
    parts.append(medians(summary))
    parts += [table(name, row) for name, row in summary.rows.items()]
    if summary.parts:
        parts.append(parts_alone(summary.parts))
    return "\n\n".join(parts) + "\n"


def preamble(summary: Summary) -> str:
    """Machine, versions, rounds and load."""
    machine = summary.machine
    median, highest = summary.load
    peers = [f"* `{name}` {peer.version}: {peer.about}" for name, peer in summary.peers.items() if not peer.bare]
    bare = [f"* `{name}` {peer.version}: {peer.about}" for name, peer in summary.peers.items() if peer.bare]
    lines = [
        "# Figures",
        "",
        "Made by `python -m benchmarks.run`, not edited. The README beside this file says how they are measured.",
        "",
        f"{machine['date']}, commit {machine['commit']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, {machine['python']}. Rounds: {summary.rounds}. "
        f"Load average before a measurement: median {median:.1f}, highest {highest:.1f}.",
        "",
        *peers,
    ]
    if bare:
        lines += ["", "No competitors, but what the bare means take:", "", *bare]
    return "\n".join(lines)


def goals(summary: Summary) -> str:
    """What modal_lite is to reach, and whether it does."""
    lines = ["## Goals", "", "| workload | goal | measured | reached |", "|---|---|---:|---|"]
    for name, row in summary.rows.items():
        for verdict in row.goals:
            measured = "" if verdict.measured is None else number(verdict.measured) + "×" * ("×" in verdict.goal)
            reached = {None: "not measured", True: "yes", False: "**no**"}[verdict.reached]
            lines.append(f"| `{name}` | {verdict.goal} | {measured} | {reached} |")
    return "\n".join(lines)


def medians(summary: Summary) -> str:
    """Everything in one table: a line for each workload, a column for each peer."""
    peers = list(summary.peers)
    lines = ["## Medians", "", f"| median | better | {' | '.join(peers)} |", "|---|---|" + "---:|" * len(peers)]
    for name, row in summary.rows.items():
        cells = [number(row.peers[peer].median) if peer in row.peers else "" for peer in peers]
        lines.append(f"| `{name}`, {row.unit} | {better(row)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table(name: str, row: Row) -> str:
    """One workload, the best peer first, those that failed last."""
    low, high = row.load
    lines = [
        f"## {name}",
        "",
        f"{row.title[0].upper()}{row.title[1:]}. {row.unit}, {better(row)} is better. "
        f"Load average {low:.1f} – {high:.1f}.",
        "",
        f"| peer | n | median | lowest – highest | {OURS} is better by | also |",
        "|---|---:|---:|---:|---:|---|",
    ]
    lines += [line(peer, figures) for peer, figures in row.peers.items()]
    for peer, errors in row.failures.items():
        for error, count in errors.items():
            lines.append(f"| {peer} | | failed {count} times | | | {error.replace('|', ' ')} |")
    return "\n".join(lines)


def line(peer: str, figures: Figures) -> str:
    """One peer's line."""
    ratio = "" if figures.better is None else f"{figures.better:.2f}×"
    also = "; ".join(f"{number(value)} {label}" for label, value in figures.more.items())
    spread = f"{number(figures.lowest)} – {number(figures.highest)}"
    return f"| {peer} | {figures.n:,} | {number(figures.median)} | {spread} | {ratio} | {also} |"


def parts_alone(parts: dict[str, list[float]]) -> str:
    """The micro-benchmarks."""
    lines = [
        "## Parts",
        "",
        "What parts of modal_lite take by themselves (`python -m benchmarks.micro`), in µs.",
        "",
        "| part | median | lowest – highest |",
        "|---|---:|---:|",
    ]
    for label, (median, lowest, highest) in parts.items():
        lines.append(f"| {label} | {median:.3f} | {lowest:.3f} – {highest:.3f} |")
    return "\n".join(lines)


def better(row: Row) -> str:
    """Which way is up."""
    return "more" if row.more_is_better else "less"


def number(value: float) -> str:
    """Three digits that matter, no more."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurements", type=Path)
    parser.add_argument("--publish", action="store_true", help="write benchmarks/figures.*")
    given = parser.parse_args()
    print(write(given.measurements, given.publish))


if __name__ == "__main__":
    main()
