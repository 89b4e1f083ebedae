"""Every program in the documentation runs, and prints what the page says.

A ```python block is run as a script of its own in a fresh process and an empty folder; if its first line is a comment
with a file name, later blocks of the page find it under that name. A ```console block gives its `$ ` lines to bash.
The standard output is compared with the ```text block that follows under `<!-- output -->`, or with the rest of a
console block that has this mark itself. `<!-- not run: reason -->` leaves a block out; commands for the reader alone
are ```bash blocks.
"""

from pathlib import Path

import pytest

from tests.docs.blocks import Program, programs
from tests.docs.running import assert_prints, run

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PROGRAMS = [program for page in PAGES if page.exists() for program in programs(page)]

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_program_of_the_documentation(program: Program, tmp_path: Path) -> None:
    done = run(program, tmp_path)
    where = f"{program.page.relative_to(ROOT)}:{program.line}"
    assert done.returncode == 0, f"{where} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
    if program.expected is not None:
        assert_prints(done.stdout, program.expected)
