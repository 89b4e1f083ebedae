"""Machines on which no container can start: callers are told why."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray.conftest import ClusterServer, RayCluster, serving

OTHER_PYTHON = f"""#!{sys.executable} -P
import sys
import modal_lite._worker.host as host
arrived = host.Arrived
host.Arrived = lambda python, hostname: arrived("3.99", "oldtimer")
sys.exit(host.main())
"""
WITHOUT_MODAL_LITE = """#!/bin/sh
echo "$0: Error while finding module (ModuleNotFoundError: No module named 'modal_lite')" >&2
exit 1
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, cluster: RayCluster) -> Iterator[ClusterServer]:
    """A server whose machines run whatever the file `python` of its folder is."""
    folder = tmp_path_factory.mktemp("misfits")
    with serving(folder, cluster, MODAL_LITE_RAY_PYTHON=str(folder / "python")) as made:
        yield made


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("", "cannot be run on"),
        (WITHOUT_MODAL_LITE, "No module named 'modal_lite') (each machine needs modal-lite"),
        (OTHER_PYTHON, "oldtimer has Python 3.99 and version 1 of the protocol, the server"),
    ],
    ids=["no program", "no modal-lite", "another Python"],
)
def test_why_no_container_starts(server: ClusterServer, python: str, reason: str) -> None:
    path: Path = server.folder / "python"
    path.write_text(python)
    path.chmod(0o755 if python else 0o644)
    told = server.python(
        """
        try:
            modal_lite.Function.from_name("app", "square").with_options(timeout=60).remote(3)
        except modal_lite.Error as error:
            show(str(error))
        """
    )
    assert told.startswith("Containers of square die before they are ready: the last one was lost: ")
    assert reason in told
