"""The first example that users see: its analysis by itself, and the whole program as a user starts it."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "examples" / "stdlib_census.py"
SOURCE = b"""
class Greeter:
    def greet(self, names):
        return len(names)

    async def wait(self):
        print(len("x"), print, self.print)
"""


@pytest.fixture(scope="module")
def census() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stdlib_census", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up while they are made.
    sys.modules["stdlib_census"] = module
    spec.loader.exec_module(module)
    return module


def run(*command: str, seconds: float = 50) -> subprocess.CompletedProcess[str]:
    """Runs a command in the project's folder, wide enough that no table is cut."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def counted(output: str, finding: str) -> int:
    """The number that the table gives for a finding."""
    found = re.search(rf"\W{re.escape(finding)} +\W ([\d,]+)", output)
    assert found is not None, output
    return int(found[1].replace(",", ""))


def test_examine_counts_definitions_and_builtins(census: ModuleType) -> None:
    findings = census.examine(SOURCE, "greeter.py")

    assert findings.path == "greeter.py"
    assert (findings.lines, findings.functions, findings.classes, findings.async_functions) == (7, 1, 1, 1)
    # An attribute that bears a builtin's name is not that builtin.
    assert findings.builtins == {"len": 2, "print": 2}


@pytest.mark.parametrize("source", [b"print 'two'\n", b"# coding: no-such-coding\n", b"\xf6\n"])
def test_examine_names_the_file_that_does_not_parse(census: ModuleType, source: bytes) -> None:
    with pytest.raises(SyntaxError) as caught:
        census.examine(source, "broken.py")

    assert caught.value.filename == "broken.py"


def test_analyse_runs_locally(census: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "greeter.py"
    path.write_bytes(SOURCE)

    assert census.analyse.local(str(path)) == census.examine(SOURCE, str(path))


def test_modules_are_those_of_the_standard_library(census: ModuleType) -> None:
    paths = census.modules()

    assert paths == sorted(set(paths))
    assert str(census.STDLIB / "ast.py") in paths
    assert not [path for path in paths if "site-packages" in path or "__pycache__" in path]


def test_command_line_examines_part_of_the_library() -> None:
    done = run("-m", "modal_lite", "run", str(SCRIPT), "--limit", "40", "--top", "3")

    assert done.returncode == 0, done.stderr
    assert counted(done.stdout, "modules") == 40
    assert len(re.findall(r"uses of \w+", done.stdout)) == 3
    assert "examined 40 of 40 modules" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_script_examines_the_whole_library(census: ModuleType) -> None:
    done = run(str(SCRIPT), seconds=170)

    assert done.returncode == 0, done.stderr
    failures = len(re.findall(r"SyntaxError: ", done.stdout))
    assert counted(done.stdout, "modules") + failures == len(census.modules())
    assert f"{failures} modules failed" in done.stdout
    assert "Traceback" not in done.stderr
