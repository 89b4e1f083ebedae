"""A server on a machine that is no node of the cluster, by Ray's client server."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.ray.conftest import ClusterServer, RayCluster
from tests.ray.test_losses import parent
from tests.waiting import wait_until

# Ray's client server fails to serve a client now and then, which it says after half a minute; then it is asked again.
pytestmark = pytest.mark.timeout(360)

CROWD = "f = modal_lite.Function.from_name('app', 'crowd')\n"


@pytest.fixture
def cluster(port: int) -> Iterator[RayCluster]:
    made = RayCluster(ray_client_server_port=port)
    try:
        yield made
    finally:
        made.close()


def test_containers_are_placed_found_again_and_ended(
    start_server: Callable[..., ClusterServer], cluster: RayCluster, port: int
) -> None:
    server = start_server(cluster, nodes=1, address=f"ray://127.0.0.1:{port}")
    assert server.status()["address"] == f"ray://127.0.0.1:{port}"
    first = server.python(CROWD + "show(f.remote(1))")
    driver = server.driver()
    os.kill(driver, signal.SIGKILL)
    server.wait_for_another_driver(driver)
    assert first in server.python(CROWD + "show(list(f.map(range(100))))")
    actor = parent(parent(first))
    server.stop()
    wait_until(lambda: not os.path.exists(f"/proc/{actor}"), "the end of the actor", 60)
