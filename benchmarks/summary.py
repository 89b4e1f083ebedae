"""Measurements to figures: medians of the rounds, ratios within them, and which goals are reached.

A ratio to modal_lite is taken within each round, and the median of these is the figure: a machine that is busy for one
round slows both. Above 1, modal_lite is that many times better, whatever better means for the workload.
"""

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.workload import BEST, Goal, Workload
from benchmarks.workloads import WORKLOADS

OURS = "modal_lite"

Measurement = dict[str, Any]
"""A line of the file of measurements."""


@dataclass
class About:
    """A peer."""

    version: str
    about: str
    bare: bool


@dataclass
class Figures:
    """What a peer does in a workload."""

    n: int
    median: float
    lowest: float
    highest: float
    better: float | None
    """How many times better modal_lite is."""
    more: dict[str, float]


@dataclass
class Verdict:
    """What became of a goal; None where a figure that it needs was not measured."""

    goal: str
    measured: float | None
    reached: bool | None


@dataclass
class Row:
    """A workload."""

    title: str
    unit: str
    more_is_better: bool
    load: tuple[float, float]
    """Load average before the measurements, lowest and highest."""
    peers: dict[str, Figures]
    """The best one first."""
    failures: dict[str, dict[str, int]]
    """Peer: error: how often."""
    goals: list[Verdict]


@dataclass
class Summary:
    """Everything that the report and the chart show."""

    machine: Measurement
    rounds: int
    load: tuple[float, float]
    """Load average before the measurements, median and highest."""
    peers: dict[str, About]
    rows: dict[str, Row]
    parts: dict[str, list[float]]
    """Microseconds that parts of modal_lite take by themselves: median, lowest, highest."""


def summarize(path: Path) -> Summary:
    """Reads a file of measurements."""
    machine: Measurement = {}
    parts: dict[str, list[float]] = {}
    measurements: list[Measurement] = []
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        machine |= entry.get("machine", {})
        parts |= entry.get("parts", {})
        if "workload" in entry:
            measurements.append(entry)
    abouts = {e["peer"]: About(e["version"], e["about"], e["bare"]) for e in measurements if "version" in e}
    loads = [entry["load"] for entry in measurements]
    return Summary(
        machine,
        len({entry["round"] for entry in measurements}),
        (statistics.median(loads), max(loads)),
        {peer: abouts[peer] for peer in peers.WHERE if peer in abouts},
        {
            name: _row(name, workload, measurements)
            for name, workload in WORKLOADS.items()
            if any(entry["workload"] == name for entry in measurements)
        },
        parts,
    )


def _row(name: str, workload: Workload, measurements: list[Measurement]) -> Row:
    entries = [entry for entry in measurements if entry["workload"] == name]
    by_peer: dict[str, list[Measurement]] = {}
    failures: dict[str, dict[str, int]] = {}
    for entry in entries:
        if "error" in entry:
            counts = failures.setdefault(entry["peer"], {})
            counts[entry["error"]] = counts.get(entry["error"], 0) + 1
        else:
            by_peer.setdefault(entry["peer"], []).append(entry)
    figures = {peer: _figures(peer, workload, those, by_peer.get(OURS, [])) for peer, those in by_peer.items()}
    best_first = sorted(figures, key=lambda peer: figures[peer].median, reverse=workload.more_is_better)
    loads = [entry["load"] for entry in entries]
    return Row(
        workload.title,
        workload.unit,
        workload.more_is_better,
        (min(loads), max(loads)),
        {peer: figures[peer] for peer in best_first},
        failures,
        [_verdict(name, goal, measurements) for goal in workload.goals],
    )


def _figures(peer: str, workload: Workload, theirs: list[Measurement], ours: list[Measurement]) -> Figures:
    values = [entry["value"] for entry in theirs]
    ratio = None if peer == OURS else _multiple(ours, theirs)
    return Figures(
        theirs[0]["n"],
        statistics.median(values),
        min(values),
        max(values),
        ratio if ratio is None or workload.more_is_better else 1 / ratio,
        {label: statistics.median(entry["more"][label] for entry in theirs) for label in theirs[0]["more"]},
    )


def _multiple(ours: list[Measurement], theirs: list[Measurement]) -> float | None:
    """Our value by theirs, of the rounds in which both were measured."""
    by_round = {entry["round"]: entry["value"] for entry in theirs}
    found = [entry["value"] / by_round[entry["round"]] for entry in ours if entry["round"] in by_round]
    return statistics.median(found) if found else None


def _verdict(name: str, goal: Goal, measurements: list[Measurement]) -> Verdict:
    figures = list(_compared(name, goal, [entry for entry in measurements if "value" in entry]))
    # Of several competitors, the one that is the hardest to beat.
    figure = min(figures, default=None) if goal.sign == "≥" else max(figures, default=None)
    return Verdict(str(goal), figure, None if figure is None else goal.reached(figure))


def _compared(name: str, goal: Goal, measurements: list[Measurement]) -> Iterator[float]:
    def of(peer: str, workload: str = name) -> list[Measurement]:
        return [entry for entry in measurements if entry["peer"] == peer and entry["workload"] == workload]

    if goal.than is None:
        found = [entry["value"] if goal.of is None else entry["more"][goal.of] for entry in of(OURS)]
        if found:
            yield statistics.median(found)
        return
    if goal.than == BEST:
        competitors = {entry["peer"] for entry in measurements if not entry["bare"]} - {OURS}
        references = [of(peer) for peer in sorted(competitors)]
    elif goal.than in WORKLOADS:
        references = [of(OURS, goal.than)]
    else:
        references = [of(goal.than)]
    for reference in references:
        multiple = _multiple(of(OURS), reference)
        if multiple is not None:
            yield multiple
