"""Where a server with a cluster is found by the machines of that."""

import socket
from pathlib import Path

import pytest

from modal_lite._core.data_directory import DataDirectory
from modal_lite._server.daemon import _tcp_socket
from modal_lite._server.listening import Cluster, Listen, cluster_settings


def found_at(folder: Path, host: str | None, ray: str) -> str:
    directory = DataDirectory(folder)
    directory.create()
    settings = cluster_settings(directory, Listen(host=host, port=8000, cluster=Cluster(ray)), 8000)
    assert settings is not None
    return settings.url


@pytest.mark.parametrize("ray", ["auto", "127.0.0.1:6379", "localhost:6379", "[::1]:6379", "ray://127.0.0.1:10001"])
def test_a_ray_on_this_machine_says_nothing_of_the_way_to_others(tmp_path: Path, ray: str) -> None:
    url = found_at(tmp_path, "0.0.0.0", ray)
    assert "127.0.0.1" not in url and "::1" not in url
    assert url == found_at(tmp_path, "0.0.0.0", "auto")


def test_one_that_listens_on_one_address_is_found_there(tmp_path: Path) -> None:
    assert found_at(tmp_path, "10.1.2.3", "auto") == "http://10.1.2.3:8000"
    assert found_at(tmp_path, None, "auto") == "http://127.0.0.1:8000"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_every_address_is_one_of_either_kind() -> None:
    listening = _tcp_socket(Listen(host="::", port=0))
    assert listening is not None
    with listening, socket.create_connection(("127.0.0.1", listening.getsockname()[1]), 10):
        pass
