"""Runs a program of the documentation, and compares what it prints."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import Program


def run(program: Program, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the program as a reader of the page would, in `folder`."""
    for name, source in program.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)
    if program.language == "python":
        path = folder / (program.file_name or "example.py")
        path.write_text(program.source)
        command = [sys.executable, path.name]
    else:
        command = ["bash", "-euo", "pipefail", "-c", program.commands]
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "MODAL_LITE_DATA_DIR": str(folder / ".data"),
        "COLUMNS": "120",
        "NO_COLOR": "1",
    }
    return subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


def assert_prints(printed: str, expected: str) -> None:
    """Compares without regard to white space at the ends of lines; `...` matches anything."""
    pattern = ".*".join(re.escape(part) for part in _trimmed(expected).split("..."))
    if not re.fullmatch(pattern, _trimmed(printed), re.DOTALL):
        assert _trimmed(printed) == _trimmed(expected)


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
