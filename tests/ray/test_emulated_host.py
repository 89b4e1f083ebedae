"""A host of its own, whose cable is pulled out."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ray.conftest import ClusterServer, RayCluster
from tests.ray.emulated_host import EmulatedHost, NoNamespaces
from tests.ray.test_losses import result
from tests.waiting import wait_until

APP = """
import os, pathlib, time, uuid
import modal_lite as modal
app = modal.App("beyond")

@app.function(cloud="beyond")
def dozes(path, seconds):
    name = uuid.uuid4().hex
    with open(path, "a") as file:
        file.write(f"{name} {os.getpid()}\\n")
    time.sleep(seconds)
    return name
"""


@pytest.fixture
def host() -> Iterator[EmulatedHost]:
    try:
        made = EmulatedHost()
    except NoNamespaces as error:
        pytest.skip(f"hosts are emulated by namespaces, which need Linux, iproute2, util-linux and root: {error}")
    yield made
    made.close()


@pytest.fixture
def cluster(host: EmulatedHost, tmp_path: Path) -> Iterator[RayCluster]:
    """One node here, which the host can reach, and one there."""
    made = RayCluster(node_ip_address=host.address)
    try:
        folder = {"MODAL_LITE_CACHE_DIR": str(tmp_path / "cache-of-host")}
        host.start_ray(made.address, "cloud=beyond", os.environ | made.environment | folder)
        yield made
    finally:
        made.close()


@pytest.fixture
def server(start_server: Callable[..., ClusterServer], cluster: RayCluster, host: EmulatedHost) -> ClusterServer:
    made = start_server(cluster, "--host", host.address)
    made.deploy(APP, "beyond")
    return made


def call(path: Path, seconds: int) -> str:
    return f"show(modal_lite.Function.from_name('beyond', 'dozes').remote({str(path)!r}, {seconds}))"


def test_a_host_that_is_away_for_a_moment_and_for_long(
    server: ClusterServer, cluster: RayCluster, host: EmulatedHost, tmp_path: Path
) -> None:
    path = tmp_path / "moment"
    with server.program(call(path, 1)) as program:
        wait_until(path.exists, "the input", 60)
        host.cut()
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(2)
        host.heal()
        # Nothing was lost, nothing ran twice.
        assert path.read_text().split()[::2] == [result(program)]
    path = tmp_path / "long"
    with server.program(call(path, 3)) as program:
        wait_until(path.exists, "the input", 60)
        first, pid = path.read_text().split()
        host.cut()
        # It has its result after 3 s, and nobody to tell.
        wait_until(lambda: not host.alive(int(pid)), "the end of the container that is cut off", 30)
        wait_until(lambda: server.status()["pending"], "the server replacing it", 30)
        host.heal()
        cluster.add(labels={"cloud": "beyond"})
        answer = result(program)
    assert path.read_text().split()[::2] == [first, answer]
