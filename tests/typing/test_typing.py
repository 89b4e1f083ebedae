"""What a type checker sees of the public API: programs in `passes/` and `fails/`, checked by one run of mypy.

A line that ends in `# E: regex` must give an error that matches; `# R: type` is what its `reveal_type` must reveal,
with `builtins.` and the like left out. No other line may give anything.
"""

import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = sorted([*HERE.glob("passes/*.py"), *HERE.glob("fails/*.py")])

pytestmark = pytest.mark.timeout(180)


@dataclass
class Said:
    """What mypy said of one line."""

    errors: list[str] = field(default_factory=list)
    revealed: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Said]:
    """Everything mypy says, by file name and line."""
    cache = tmp_path_factory.mktemp("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", "--show-error-end"]
    command += ["--no-error-summary", "--no-color-output", "--no-pretty", *(str(path) for path in FILES)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=170)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[tuple[str, int], Said] = defaultdict(Said)
    for line in done.stdout.splitlines():
        match = re.match(r"(?P<file>[^:]+):(?P<line>\d+):\d+:\d+:\d+: (?P<kind>\w+): (?P<text>.*)", line)
        assert match, done.stdout
        entry = found[Path(match["file"]).name, int(match["line"])]
        if match["kind"] == "error":
            entry.errors.append(match["text"])
        elif revealed := re.fullmatch(r'Revealed type is "(.*)"', match["text"]):
            entry.revealed.append(re.sub(r"\b(builtins|typing|collections\.abc|types)\.", "", revealed[1]))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_mypy_says_what_the_file_expects(path: Path, said: dict[tuple[str, int], Said]) -> None:
    problems = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        got = said.get((path.name, number), Said())
        wanted_error = re.search(r"# E: (.*)$", line)
        wanted_type = re.search(r"# R: (.*)$", line)
        if wanted_error and not any(re.search(wanted_error[1], error) for error in got.errors):
            problems.append(f"{number}: wanted the error {wanted_error[1]!r}, got {got.errors}")
        if not wanted_error and got.errors:
            problems.append(f"{number}: unexpected {got.errors}")
        if (wanted_type and got.revealed != [wanted_type[1]]) or (got.revealed and not wanted_type):
            problems.append(f"{number}: revealed {got.revealed}, wanted {wanted_type and wanted_type[1]!r}")
    assert not problems, f"{path.name}:\n" + "\n".join(problems)


def test_programs_that_fail_say_where() -> None:
    for path in FILES:
        assert ("# E: " in path.read_text()) == (path.parent.name == "fails"), path
