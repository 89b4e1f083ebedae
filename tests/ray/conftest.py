"""A real Ray cluster on this machine, and servers that place containers there."""

import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.remote.conftest import Server
from tests.waiting import wait_until

HAS_RAY = importlib.util.find_spec("ray") is not None
APP = """
import os, time
import modal_lite as modal
app = modal.App("app")

@app.function()
def square(x):
    return x * x

@app.function()
def echo(x):
    return x

@app.function()
def slow(x):
    time.sleep(0.02)
    return x, os.getpid()

@app.function(max_containers=2)
def crowd(x):
    time.sleep(0.01)
    return os.getpid()

@app.function()
def fails(x):
    raise ValueError(f"no {x}")

@app.function()
def count(n):
    print("counting to", n)
    yield from range(n)

@app.function()
def sum_of_squares(n):
    return sum(square.map(range(n)))

@app.function(env={"SECRET_OF_MINE": "do-not-log-this"}, memory=(64, 400))
def surroundings(size):
    bytearray(size)
    return os.environ["SECRET_OF_MINE"]

@app.function()
def devices():
    return os.environ.get("CUDA_VISIBLE_DEVICES")

@app.function(region="far-away")
def far(x):
    return x

@app.function()
def dozes(path, seconds):
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(seconds)
    return os.getpid()

@app.cls()
class Counter:
    start: int = modal.parameter(default=10)

    @modal.enter()
    def enter(self):
        self.value = self.start

    @modal.method()
    def add(self, x):
        self.value += x
        return self.value
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(240))
            if not HAS_RAY:
                item.add_marker(pytest.mark.skip(reason="ray is not installed: pip install modal-lite[ray]"))


class RayCluster:
    """Nodes on this machine. Each has one core unless it says otherwise."""

    def __init__(self, **head: Any) -> None:
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            # One whose head is gone ends by itself, soon.
            "RAY_gcs_rpc_server_reconnect_timeout_s": "60",
        }
        path = Path(__file__).with_name("cluster_process.py")
        self._process = subprocess.Popen(
            [sys.executable, str(path)],
            env=os.environ | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        node = self.add(**head)
        self.address: str = node["address"]
        self.session: str = node["session"]
        self.gcs: int = node["pids"]["gcs_server"]

    def add(self, **options: Any) -> dict[str, Any]:
        """Adds a node; gives the pids of its processes, by their names."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps({"num_cpus": 1} | options), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("NODE "):
                node: dict[str, Any] = json.loads(line.removeprefix("NODE "))
                return node
        raise AssertionError("the cluster has ended")

    def close(self) -> None:
        """Ends all nodes, and removes what Ray has written."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
        shutil.rmtree(self.session, ignore_errors=True)


class ClusterServer(Server):
    """A server whose containers run on the cluster, with an app of ours deployed."""

    def __init__(self, folder: Path, cluster: RayCluster, address: str | None = None) -> None:
        super().__init__(folder)
        self.cluster = cluster
        self.environment |= cluster.environment | {
            "MODAL_LITE_PLACER": "ray",
            "RAY_ADDRESS": address or cluster.address,
            "MODAL_LITE_CACHE_DIR": str(folder / "cache"),
        }

    def status(self) -> dict[str, Any]:
        """What `modal-lite cluster status` knows."""
        found: dict[str, Any] = json.loads(self.cli("cluster", "status", "--json").stdout)
        return found

    def wait_for_ray(self, nodes: int) -> None:
        """Returns when the server knows so many nodes."""
        wait_until(lambda: len(self.status()["nodes"]) >= nodes, f"{nodes} nodes", 90)

    @contextmanager
    def program(self, code: str) -> Iterator["subprocess.Popen[str]"]:
        """Runs code as `python` does; kills it if it has not ended by the end of the block."""
        with self.start_python(code) as started:
            try:
                yield started
            finally:
                started.kill()

    def driver(self) -> int:
        """The process that speaks with Ray; 0 if there is none at the moment."""
        for pid in _children(self.pid()):
            # That of a process that has ended, and was not waited for yet, is empty.
            if b"ray_driver" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return 0

    def wait_for_another_driver(self, killed: int) -> None:
        """Returns when another process than the one that was killed has found Ray."""
        wait_until(lambda: self.driver() not in (0, killed) and self.status()["connected"], "the connection to Ray", 90)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayCluster]:
    """A cluster of two nodes, which tests may add to."""
    made = RayCluster()
    try:
        made.add(labels={"cloud": "here"})
        yield made
    finally:
        made.close()


@contextmanager
def serving(folder: Path, cluster: RayCluster, **environment: str) -> Iterator[ClusterServer]:
    """A server with our app deployed, and a cluster of two nodes or more; it has these variables, too."""
    made = ClusterServer(folder, cluster)
    made.environment |= environment
    try:
        made.start()
        made.deploy(APP)
        made.wait_for_ray(2)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def ray_server(tmp_path_factory: pytest.TempPathFactory, cluster: RayCluster) -> Iterator[ClusterServer]:
    """A server that the tests of a module share."""
    with serving(tmp_path_factory.mktemp("ray-server"), cluster) as made:
        yield made


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., ClusterServer]]:
    """Starts servers for one test, with other options."""
    servers: list[ClusterServer] = []

    def start(cluster: RayCluster, *words: str, nodes: int = 2, address: str | None = None) -> ClusterServer:
        made = ClusterServer(tmp_path, cluster, address)
        servers.append(made)
        made.start(*words)
        made.deploy(APP)
        made.wait_for_ray(nodes)
        return made

    yield start
    for made in servers:
        made.stop()


@pytest.fixture
def port() -> int:
    """A port of this machine that is free."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        found: int = probe.getsockname()[1]
        return found
