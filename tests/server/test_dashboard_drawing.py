"""Where call graphs are drawn, however large and deep they are."""

import pytest

from modal_lite._server.dashboard.drawing import HEIGHT, MAX_NODES, WIDTH, Drawing, Fate, draw
from modal_lite.call_graph import InputInfo, InputStatus


def info(name: str, *children: InputInfo, status: InputStatus = InputStatus.SUCCESS, task: str = "ta-1") -> InputInfo:
    return InputInfo("in-1", f"fc-{name}", task, status, name, "m", list(children))


def check(drawing: Drawing) -> None:
    """Nothing overlaps, and all of it is inside."""
    places = {(node.x, node.y) for node in drawing.nodes}
    assert len(places) == len(drawing.nodes) <= MAX_NODES
    assert all(0 <= x <= drawing.width - WIDTH and 0 <= y <= drawing.height - HEIGHT for x, y in places)


def test_three_generations() -> None:
    drawing = draw([info("root", info("branch", info("leaf"), info("leaf")), info("branch"))])
    assert [node.name for node in drawing.nodes] == ["root", "branch", "leaf", "leaf", "branch"]
    assert len(drawing.edges) == 4 and drawing.whole
    assert [node.x > 0 for node in drawing.nodes] == [False, True, True, True, True]
    check(drawing)


def test_a_large_map_is_one_node() -> None:
    done = [info("f") for _ in range(9_000)]
    failed = [info("f", status=InputStatus.FAILURE) for _ in range(10)]
    waiting = [info("f", status=InputStatus.PENDING, task="") for _ in range(990)]
    (node,) = draw([*done, *failed, *waiting]).nodes
    assert (node.count, node.state, node.told) == (10_000, Fate.FAILED, "10 failed, 990 waiting, 9,000 done")
    assert [segment.fate for segment in node.segments] == [Fate.DONE, Fate.FAILED, Fate.WAITING]
    assert sum(segment.width for segment in node.segments) == pytest.approx(WIDTH - 20, abs=0.5)


def test_what_inputs_below_a_group_called_is_one_group() -> None:
    drawing = draw([info("f", info("g")) for _ in range(100)])
    assert [(node.name, node.count) for node in drawing.nodes] == [("f", 100), ("g", 100)]


def test_a_graph_that_is_too_bushy_is_cut() -> None:
    def tree(depth: int) -> list[InputInfo]:
        return [info(name, *tree(depth - 1)) for name in "abcd"] if depth else []

    drawing = draw(tree(6))
    assert not drawing.whole and {node.name for node in drawing.nodes} == set("abcd")
    check(drawing)


def test_a_deep_graph() -> None:
    node = info("f")
    for _ in range(99):
        node = info("f", node)
    drawing = draw([node])
    assert len(drawing.nodes) == 100 and drawing.whole
    check(drawing)


def test_nothing() -> None:
    drawing = draw([])
    assert drawing.nodes == [] and drawing.height == 0


def test_calls_of_groups_are_known_if_they_are_one() -> None:
    same, other = info("f"), InputInfo("in-2", "fc-other", "", InputStatus.PENDING, "f", "m")
    assert draw([same] * 7).nodes[0].call_id == "fc-f"
    assert draw([*[same] * 7, other]).nodes[0].call_id is None
