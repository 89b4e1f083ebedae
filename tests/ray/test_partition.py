"""A network that is cut, and healed later."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ray.conftest import ClusterServer, RayCluster
from tests.ray.proxy import Proxy
from tests.ray.test_losses import alive, result
from tests.waiting import wait_until

TOKEN = "a-token-of-these-tests-1234567890"


@pytest.fixture
def proxy(port: int) -> Iterator[Proxy]:
    made = Proxy(port)
    yield made
    made.close()


def test_a_container_behind_a_cut_network_is_replaced_and_its_late_result_changes_nothing(
    start_server: Callable[..., ClusterServer], cluster: RayCluster, proxy: Proxy, port: int, tmp_path: Path
) -> None:
    words = ("--port", str(port), "--token", TOKEN, "--advertise", f"http://127.0.0.1:{proxy.port}")
    server = start_server(cluster, *words)
    path = tmp_path / "seen"
    code = f"show(modal_lite.Function.from_name('app', 'dozes').remote({str(path)!r}, 5))"
    with server.program(code) as program:
        wait_until(path.exists, "the input", 60)
        first = int(path.read_text())
        proxy.cut()
        # On its side of the network the container goes on, is heard of by nobody, and is ended.
        wait_until(lambda: not alive(first), "the end of the container that is cut off", 30)
        # Not only given up: its input has been taken back, and waits for another, which cannot arrive.
        wait_until(lambda: server.status()["pending"], "the server replacing it", 30)
        assert server.status()["containers"] == 0
        proxy.heal()
        answer = result(program)
    pids = [int(pid) for pid in path.read_text().split()]
    assert pids[0] == first
    assert answer == pids[-1] != first
    assert len(pids) == 2
    assert os.getpid() not in pids
