"""Where the nodes and edges of a call graph go: inputs that are alike are one node, so that it can be read."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from modal_lite.call_graph import InputInfo, InputStatus

APART = (6, 3, 1)
"""So many inputs of a function below one node are drawn one by one; the first with which the graph is small enough."""
MAX_NODES = 150
MAX_NAMES = 30
"""Functions below one node; the others are left out."""
WIDTH, HEIGHT = 216, 52
"""Of a node."""
_ACROSS, _DOWN = WIDTH + 56, HEIGHT + 20
_LETTERS = 24
_BAR = WIDTH - 20


class Fate(StrEnum):
    """What has become of an input, in the words of the page."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RUNNING = "running"
    WAITING = "waiting"


_URGENT = (Fate.FAILED, Fate.RUNNING, Fate.WAITING, Fate.CANCELLED, Fate.DONE)
"""What is told first, and decides about the looks of a node."""
_ENDED = {InputStatus.SUCCESS: Fate.DONE, InputStatus.TERMINATED: Fate.CANCELLED}


class Segment(msgspec.Struct):
    """A part of a node's bar."""

    fate: Fate
    x: float
    width: float


class Node(msgspec.Struct):
    """Inputs of one function."""

    name: str
    fates: Counter[Fate]
    call_id: str | None
    """Their call, if they have one in common."""
    below: list["Node"]
    x: int = 0
    y: int = 0

    @property
    def label(self) -> str:
        """The name, as long as there is room for."""
        return self.name if len(self.name) <= _LETTERS else f"{self.name[: _LETTERS - 1]}…"

    @property
    def count(self) -> int:
        """Inputs."""
        return self.fates.total()

    @property
    def state(self) -> Fate:
        """What is to be seen at first sight."""
        return next(fate for fate in _URGENT if self.fates[fate])

    @property
    def told(self) -> str:
        """How many of them are what."""
        if self.count == 1:
            return str(self.state)
        return ", ".join(f"{self.fates[fate]:,} {fate}" for fate in _URGENT if self.fates[fate])

    @property
    def segments(self) -> list[Segment]:
        """How its bar is divided."""
        segments, x = [], 0.0
        for fate in Fate:
            width = _BAR * self.fates[fate] / self.count
            if width:
                segments.append(Segment(fate, round(x, 1), round(width, 1)))
                x += width
        return segments


class Edge(msgspec.Struct):
    """From the right side of one node to the left side of another one."""

    path: str


class Drawing(msgspec.Struct):
    """A call graph, laid out from left to right."""

    nodes: list[Node]
    edges: list[Edge]
    width: int
    height: int
    whole: bool
    """False if the deepest calls are left out."""


def draw(inputs: list[InputInfo]) -> Drawing:
    """Lays out a call graph."""
    for apart in APART:
        roots = _group(inputs, apart)
        nodes = list(_flat(roots))
        if len(nodes) <= MAX_NODES:
            break
    depth, whole = _depth(roots), True
    while len(nodes) > MAX_NODES and depth > 1:
        depth, whole = depth - 1, False
        _cut(roots, depth)
        nodes = list(_flat(roots))
    height = _place(roots, 0, 0)
    edges = [Edge(_curve(node, child)) for node in nodes for child in node.below]
    width = max((node.x for node in nodes), default=0) + WIDTH
    return Drawing(nodes, edges, width, max(0, height - _DOWN + HEIGHT), whole)


def fate_of(info: InputInfo) -> Fate:
    """What has become of an input."""
    if info.status is InputStatus.PENDING:
        return Fate.RUNNING if info.task_id else Fate.WAITING
    return _ENDED.get(info.status, Fate.FAILED)


def _group(inputs: Iterable[InputInfo], apart: int) -> list[Node]:
    by_name: dict[str, list[InputInfo]] = {}
    for info in inputs:
        by_name.setdefault(info.function_name, []).append(info)
    nodes: list[Node] = []
    for name, alike in list(by_name.items())[:MAX_NAMES]:
        together = [[info] for info in alike] if len(alike) <= apart else [alike]
        for infos in together:
            calls = {info.function_call_id for info in infos}
            below = [child for info in infos for child in info.children]
            node = Node(name, Counter(map(fate_of, infos)), calls.pop() if len(calls) == 1 else None, [])
            node.below = _group(below, apart)
            nodes.append(node)
    return nodes


def _flat(nodes: list[Node]) -> Iterable[Node]:
    for node in nodes:
        yield node
        yield from _flat(node.below)


def _depth(nodes: list[Node]) -> int:
    return 1 + max((_depth(node.below) for node in nodes), default=0) if nodes else 0


def _cut(nodes: list[Node], depth: int) -> None:
    for node in nodes:
        if depth == 1:
            node.below = []
        else:
            _cut(node.below, depth - 1)


def _place(nodes: list[Node], x: int, y: int) -> int:
    """Gives each its place, from `y` downwards, beside its first child, so that the root is in sight at first.

    Returns:
        Where the next can be.
    """
    for node in nodes:
        node.x, node.y = x, y
        y = max(_place(node.below, x + _ACROSS, y), y + _DOWN)
    return y


def _curve(node: Node, child: Node) -> str:
    x, y, to_x, to_y = node.x + WIDTH, node.y + HEIGHT / 2, child.x, child.y + HEIGHT / 2
    middle = (x + to_x) / 2
    return f"M{x:g} {y:g}C{middle:g} {y:g} {middle:g} {to_y:g} {to_x:g} {to_y:g}"
