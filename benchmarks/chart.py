"""The chart: a panel for each workload, in it every peer by its ratio to modal_lite, all on one logarithmic scale.

Ratios of rates have no zero to draw bars from. So each peer is a dot, and a line leads to it from where modal_lite is:
to the left it is worse, to the right better, and as far as it is long.
"""

import math
from html import escape
from string import Template

from benchmarks.summary import OURS, Row, Summary

WORST, BEST = 1e-3, 10.0
"""Ratios at the ends of the scale; what lies beyond is drawn there."""
TICKS = {0.001: "1/1000", 0.01: "1/100", 0.1: "1/10", 1.0: "1", 10.0: "10×"}
COLUMNS = 3
PANEL, GAP = 330, 18
"""Width of a panel and the space between two, in pixels; so are all lengths below."""
NAMES, VALUES = 86, 66
"""Columns within a panel: the peers' names on the left, their figures on the right."""
LINE = 16
TOP, BOTTOM = 40, 26
"""Above a panel's lines, for its title, and below them, for the scale."""
HEADING, MARGIN = 56, 20

STYLE = Template("""
text { font: 11px system-ui, sans-serif; fill: $text; }
.heading { font-size: 15px; font-weight: 600; } .title { font-size: 12px; font-weight: 600; }
.faint, .tick { fill: $faint; } .tick { font-size: 9px; text-anchor: middle; }
.number { text-anchor: end; font-variant-numeric: tabular-nums; }
.ground { fill: $ground; } .rule { stroke: $rule; } .stem { stroke: $theirs; stroke-width: 2; }
.theirs { fill: $theirs; } .bare { fill: $ground; stroke: $theirs; stroke-width: 2; }
.ours { fill: $ours; } text.ours { font-weight: 600; } .one { stroke: $ours; }
""")
LIGHT = {"ground": "#ffffff", "text": "#1f2328", "faint": "#656d76", "rule": "#d8dee4"}
LIGHT |= {"theirs": "#8c959f", "ours": "#d1480f"}
DARK = {"ground": "#0d1117", "text": "#e6edf3", "faint": "#8d96a0", "rule": "#30363d"}
DARK |= {"theirs": "#7d8590", "ours": "#ff8a4c"}

PAGE = Template("""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $width $height" width="$width" height="$height">
<style>$light@media (prefers-color-scheme: dark) {$dark}</style>
<rect class="ground" width="$width" height="$height"/>
<text class="heading" x="$margin" y="26">Every peer beside modal_lite, by workload</text>
<text class="faint" x="$margin" y="44">$subtitle</text>
$panels
</svg>
""")


def chart(summary: Summary) -> str:
    """The chart as SVG. Workloads that only modal_lite can do are left out."""
    rows = {name: row for name, row in summary.rows.items() if OURS in row.peers and len(row.peers) > 1}
    bare = {name for name, peer in summary.peers.items() if peer.bare}
    panels, top = [], float(HEADING)
    names = list(rows)
    for first in range(0, len(names), COLUMNS):
        shelf = names[first : first + COLUMNS]
        for column, name in enumerate(shelf):
            panels.append(_panel(name, rows[name], bare, MARGIN + column * (PANEL + GAP), top))
        top += TOP + BOTTOM + LINE * max(len(rows[name].peers) for name in shelf)
    machine = summary.machine
    subtitle = (
        "Right of the line: better than modal_lite; left: worse. Logarithmic. Hollow: no competitor, but bare means. "
        f"Medians of {summary.rounds}; {machine['processor']}, {machine['cores']} cores, {machine['python']}, "
        f"{machine['date']}."
    )
    return PAGE.substitute(
        width=2 * MARGIN + COLUMNS * PANEL + (COLUMNS - 1) * GAP,
        height=round(top + MARGIN),
        light=STYLE.substitute(LIGHT),
        dark=STYLE.substitute(DARK),
        margin=MARGIN,
        subtitle=escape(subtitle),
        panels="\n".join(panels),
    )


def _panel(name: str, row: Row, bare: set[str], left: float, top: float) -> str:
    bottom = top + TOP + LINE * len(row.peers)
    better = "more" if row.more_is_better else "less"
    parts = [
        f'<text class="title" x="{left}" y="{top + 16}">{escape(name)}</text>',
        f'<text class="faint number" x="{left + PANEL}" y="{top + 16}">{escape(row.unit)}, {better} is better</text>',
    ]
    for ratio, label in TICKS.items():
        x = _position(ratio, left)
        kind = "one" if ratio == 1 else "rule"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" y1="{top + TOP - 12}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 11}">{label}</text>')
    for number, (peer, figures) in enumerate(row.peers.items()):
        y = top + TOP + LINE * number
        ratio = 1.0 if figures.better is None else 1 / figures.better
        kind = "ours" if peer == OURS else "bare" if peer in bare else "theirs"
        x, text = _position(ratio, left), "ours" if peer == OURS else ""
        parts.append(f'<text class="{text}" x="{left}" y="{y + 4}">{escape(peer)}</text>')
        parts.append(f'<line class="stem" x1="{_position(1, left):.1f}" y1="{y}" x2="{x:.1f}" y2="{y}"/>')
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y}" r="4.5"/>')
        parts.append(f'<text class="number {text}" x="{left + PANEL}" y="{y + 4}">{_short(figures.median)}</text>')
    return "\n".join(parts)


def _position(ratio: float, left: float) -> float:
    share = math.log(min(max(ratio, WORST), BEST) / WORST) / math.log(BEST / WORST)
    return left + NAMES + share * (PANEL - NAMES - VALUES)


def _short(value: float) -> str:
    for factor, letter in ((1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:.3g}{letter}"
    return f"{value:.3g}"
