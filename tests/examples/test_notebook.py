"""The library in a Jupyter kernel: functions of cells, blocking maps in cells, tracebacks with the cells' lines."""

import nbclient
import nbformat
import pytest

pytestmark = [
    pytest.mark.timeout(180),
    # The kernel's own libraries warn of their transports and of each other.
    pytest.mark.filterwarnings("ignore"),
]

DEFINITIONS = """
import traceback
import modal_lite as modal

app = modal.App("notebook")
offset = 10


class Point:
    def __init__(self, x):
        self.x = x


@app.function()
def shifted(x):
    return x * x + offset  # the failing line


@app.function()
def fib(n):
    return n if n < 2 else fib.remote(n - 1) + fib.remote(n - 2)


@app.function()
def moved(point):
    return Point(point.x + 1)
"""

BLOCKING = """
with app.run():
    print(shifted.remote(3), list(shifted.map(range(4))), fib.remote(5))
    there = moved.remote(Point(1))
    print(type(there) is Point, there.x)
"""

AWAITED = """
async with app.run.aio():
    print(await shifted.remote.aio(4), [x async for x in shifted.map.aio(range(3))])
"""

FAILING = """
with app.run():
    try:
        shifted.remote("x")
    except TypeError:
        print(traceback.format_exc())
"""

REFUSED = """
async def consume():
    with app.run():
        for _ in shifted.map([1]):
            pass

try:
    await consume()
except modal.exception.InvalidError as error:
    print(error)
"""


def run(*sources: str) -> list[str]:
    """What each cell printed."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]


def test_notebook() -> None:
    _, blocking, awaited, failing, refused = run(DEFINITIONS, BLOCKING, AWAITED, FAILING, REFUSED)
    assert blocking == "19 [10, 11, 14, 19] 5\nTrue 2\n"
    assert awaited == "26 [10, 11, 14]\n"
    assert "# the failing line" in failing
    assert "modal_lite" not in failing
    assert ".map.aio()" in refused
