"""Runs the conformance suite, a black-box suite that is kept outside this repository, with our scope plugin.

The suite is looked for in the folder that MODAL_LITE_CONFORMANCE names, else in `shared/conformance` beside the
repository. Where it is not, there is nothing to run, and that is no failure. Arguments go to pytest.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from scope import Scope

DEFAULT = Path(__file__).resolve().parents[2].parent / "shared" / "conformance"


def enter_suite() -> Path | None:
    """Makes the suite's folder the current one, and gives it; None, after saying so, where there is none."""
    suite = Path(os.environ.get("MODAL_LITE_CONFORMANCE") or DEFAULT).resolve()
    if not (suite / "conftest.py").exists():
        print(f"conformance: skipped, there is no suite at {suite} (MODAL_LITE_CONFORMANCE names another folder)")
        return None
    # The suite's folder may be read-only: neither a cache nor byte code is written to it.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.chdir(suite)
    return suite


def run_suite(suite: Path, arguments: list[str], plugins: Sequence[object] = ()) -> int:
    """Runs tests of the suite; returns pytest's exit status."""
    options = ["-p", "no:cacheprovider", "-p", "no:randomly", "-c", str(suite / "pytest.ini"), "-q"]
    return int(pytest.main([*options, *arguments], plugins=[Scope(), *plugins]))


if __name__ == "__main__":
    found = enter_suite()
    sys.exit(0 if found is None else run_suite(found, sys.argv[1:]))
