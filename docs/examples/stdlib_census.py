"""A census of Python's standard library: every module is parsed in a container, and the findings stream back.

    python docs/examples/stdlib_census.py
    modal-lite run docs/examples/stdlib_census.py --top 5

The standard library ships files that are broken on purpose, to test Python's own parser. Their SyntaxErrors come back
among the other results, so that a few bad files do not end the run.
"""

import ast
import builtins
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

import modal_lite as modal

STDLIB = Path(sysconfig.get_path("stdlib"))
NOT_STDLIB = {"site-packages", "dist-packages", "__pycache__"}
BUILTINS = set(dir(builtins))

app = modal.App("stdlib-census")


@dataclass
class Findings:
    """What one module holds."""

    path: str
    lines: int
    functions: int
    classes: int
    async_functions: int
    builtins: Counter[str]


def examine(source: bytes, path: str) -> Findings:
    """Counts a module's definitions, and the builtins by name. Raises SyntaxError for what does not parse."""
    with warnings.catch_warnings(action="ignore"):  # invalid escapes, in files that test for them
        nodes = list(ast.walk(ast.parse(source, path)))
    kinds = Counter(type(node) for node in nodes)
    names = (node.id for node in nodes if isinstance(node, ast.Name))
    return Findings(
        path=path,
        lines=len(source.splitlines()),
        functions=kinds[ast.FunctionDef],
        classes=kinds[ast.ClassDef],
        async_functions=kinds[ast.AsyncFunctionDef],
        builtins=Counter(name for name in names if name in BUILTINS),
    )


@app.function()
def analyse(path: str) -> Findings:
    """Runs in a container: one call for each module."""
    return examine(Path(path).read_bytes(), path)


@app.local_entrypoint()
def main(limit: int = 0, top: int = 10) -> None:
    """Examines the first `limit` modules (0: all of them) and prints the `top` ones of each ranking."""
    paths = modules()[: limit or None]
    results = analyse.map(paths, order_outputs=False, return_exceptions=True, wrap_returned_exceptions=False)
    found: list[Findings] = []
    failures: list[Exception] = []
    for result in with_progress(results, len(paths)):
        if isinstance(result, Exception):
            failures.append(result)
        else:
            found.append(result)
    report(found, failures, top)


def modules() -> list[str]:
    """The files of the standard library of the Python that runs this."""
    return sorted(str(path) for path in STDLIB.rglob("*.py") if NOT_STDLIB.isdisjoint(path.relative_to(STDLIB).parts))


def with_progress(results: Iterable[Findings | Exception], total: int) -> Iterator[Findings | Exception]:
    """The results, with a progress bar on a terminal and a line now and then elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(results, "Examining", total, console=console)
        return
    for count, result in enumerate(results, start=1):
        if count % 250 == 0 or count == total:
            console.print(f"examined {count} of {total} modules")
        yield result


def report(found: list[Findings], failures: list[Exception], top: int) -> None:
    """Prints the totals, the rankings, and what does not parse."""
    used = Counter(name for findings in found for name in findings.builtins.elements())
    counts = Table("Finding", "Count", title="The standard library")
    counts.add_row("modules", f"{len(found):,}")
    for label in ("lines", "functions", "classes", "async_functions"):
        counts.add_row(label.replace("_", " "), f"{sum(getattr(findings, label) for findings in found):,}")
    counts.add_section()
    for name, count in used.most_common(top):
        counts.add_row(f"uses of {name}", f"{count:,}")
    for findings in sorted(found, key=lambda findings: findings.lines, reverse=True)[:top]:
        counts.add_row(f"lines in {Path(findings.path).relative_to(STDLIB)}", f"{findings.lines:,}")
    broken = Table("Does not parse", "Because", title=f"{len(failures)} modules failed")
    for failure in failures:
        where = str(getattr(failure, "filename", "unknown"))
        broken.add_row(where.removeprefix(f"{STDLIB}/"), f"{type(failure).__name__}: {failure}")
    Console().print(counts, broken)


if __name__ == "__main__":
    with app.run():
        main()
