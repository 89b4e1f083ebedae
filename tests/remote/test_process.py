"""Starting, stopping and finding a server."""

import json
import socket
import stat

from tests.remote.conftest import Server
from tests.waiting import wait_until


def test_start_status_stop(own_server: Server) -> None:
    assert own_server.cli("server", "status", check=False).returncode == 1
    own_server.start()
    status = own_server.cli("server", "status").stdout
    assert f"pid {own_server.pid()}" in status and str(own_server.directory.path) in status and "unix://" in status
    own_server.stop()
    assert "not running" in own_server.cli("server", "status", check=False).stdout
    assert not own_server.directory.socket.exists() and not own_server.directory.info.exists()


def test_a_second_start_leaves_the_first_server(own_server: Server) -> None:
    pid = own_server.start().pid()
    assert "runs already" in own_server.cli("server", "start").stderr
    refused = own_server.cli("server", "run", check=False)
    assert refused.returncode == 1 and f"process {pid}" in refused.stderr
    assert own_server.pid() == pid


def test_the_socket_is_for_this_user_alone(own_server: Server) -> None:
    own_server.start()
    assert stat.S_IMODE(own_server.directory.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(own_server.directory.path.stat().st_mode) == 0o700


def test_a_long_path_of_the_data_directory(own_server: Server) -> None:
    own_server.environment["MODAL_LITE_DATA_DIR"] = str(own_server.directory.path / ("x" * 100))
    own_server.start()
    assert json.loads(own_server.cli("server", "status", "--json").stdout)["running"]


def test_start_after_kill(own_server: Server) -> None:
    pid = own_server.start().pid()
    own_server.kill()
    assert own_server.cli("server", "status", check=False).returncode == 1
    assert own_server.start().pid() != pid


def test_health(own_server: Server) -> None:
    own_server.start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(own_server.directory.socket))
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        with connection.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    assert b" 200 OK" in head and json.loads(body)["pid"] == own_server.pid()


def test_tcp_needs_a_token(own_server: Server) -> None:
    refused = own_server.cli("server", "start", "--port", "18999", check=False)
    assert refused.returncode == 1 and "needs a token" in refused.stderr
    wait_until(lambda: own_server.cli("server", "status", check=False).returncode == 1)
