"""The real command, in a process of its own and a folder of its own."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

Spawn = Callable[..., pexpect.spawn]
Cli = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = [sys.executable, "-m", "modal_lite"]


@pytest.fixture
def environment() -> dict[str, str]:
    """Variables for the command, which runs outside of the project's folder."""
    root = str(Path(__file__).resolve().parents[2])
    return os.environ | {"PYTHONPATH": root, "NO_COLOR": "1", "COLUMNS": "100", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a source file into the folder, dedented."""

    def write(name: str, source: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return path

    return write


@pytest.fixture
def cli(tmp_path: Path, environment: dict[str, str]) -> Cli:
    """Runs `modal-lite` with the given words, in the folder."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=40,
        )

    return run


@pytest.fixture
def spawn(tmp_path: Path, environment: dict[str, str]) -> Iterator[Spawn]:
    """Starts `modal-lite` on a terminal of its own."""
    started: list[pexpect.spawn] = []

    def spawn(*words: str) -> pexpect.spawn:
        environment["TERM"] = "xterm"
        child = pexpect.spawn(
            COMMAND[0],
            [*COMMAND[1:], *words],
            cwd=str(tmp_path),
            env=environment,
            encoding="utf8",
            timeout=30,
            dimensions=(24, 100),
        )
        started.append(child)
        return child

    yield spawn
    for child in started:
        child.close(force=True)
