"""A server with TLS, tokens that are made for it, and profiles that lead to it."""

import importlib.util
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote.conftest import Server
from tests.remote.functions import APP

ASK = """
    try:
        show(modal_lite.Function.from_name("app", "square").remote(3))
    except modal_lite.Error as error:
        show([type(error).__name__, str(error)])
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that vouches for itself, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "ca.pem"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    (folder / "server.pem").write_text((folder / "ca.pem").read_text() + (folder / "key.pem").read_text())
    return folder / "server.pem"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Server]:
    """A server with TLS whose token was made by `token new`; a profile leads to it."""
    made = Server(tmp_path_factory.mktemp("server"))
    try:
        token = made.cli("token", "new", "first").stdout.strip()
        port = free_port()
        made.start("--port", str(port), "--certificate", str(certificate))
        made.silent = socket.create_connection(("127.0.0.1", port))  # type: ignore[attr-defined]
        made.deploy(APP)
        config = made.folder / "config.toml"
        config.touch(mode=0o600)
        config.write_text(
            f'[profiles.tls]\nserver_url = "https://127.0.0.1:{port}"\ntoken = "{token}"\n'
            f'ca_file = "{certificate.parent / "ca.pem"}"\n'
            f'[profiles.distrustful]\nserver_url = "https://127.0.0.1:{port}"\ntoken = "{token}"\n'
        )
        made.environment["MODAL_LITE_CONFIG_PATH"] = str(config)
        made.environment["MODAL_LITE_PROFILE"] = "tls"
        own = made.environment.pop("MODAL_LITE_DATA_DIR")
        with made.silent:  # type: ignore[attr-defined]
            yield made
        made.environment["MODAL_LITE_DATA_DIR"] = own
    finally:
        made.stop()


@pytest.fixture
def environment(server: Server) -> Iterator[dict[str, str]]:
    """The environment, to be changed by one test."""
    before = dict(server.environment)
    yield server.environment
    server.environment.clear()
    server.environment.update(before)


def test_a_call(server: Server) -> None:
    assert server.python(ASK) == 9
    assert "app" in server.cli("app", "list").stdout


def test_a_certificate_that_nobody_vouches_for(server: Server, environment: dict[str, str], certificate: Path) -> None:
    environment["MODAL_LITE_PROFILE"] = "distrustful"
    kind, message = server.python(ASK)
    assert kind == "AuthError" and "is not trusted" in message and "MODAL_LITE_CA_FILE" in message
    refused = server.cli("app", "list", check=False)
    assert refused.returncode == 1 and "MODAL_LITE_CA_FILE" in refused.stderr
    environment["SSL_CERT_FILE"] = str(certificate.parent / "ca.pem")
    assert server.python(ASK) == 9 and "app" in server.cli("app", "list").stdout


def test_profiles(server: Server, environment: dict[str, str]) -> None:
    del environment["MODAL_LITE_PROFILE"]
    server.cli("profile", "activate", "distrustful")
    listed = server.cli("profile", "list").stdout
    assert "* distrustful" in listed and "  tls" in listed
    assert server.cli("profile", "current").stdout == "distrustful\n"
    refused = server.cli("profile", "activate", "none", check=False)
    assert refused.returncode == 1 and "no profile 'none'" in refused.stderr


def test_a_revoked_token(server: Server, environment: dict[str, str]) -> None:
    """Who has it is refused, and the connections that were made with it end."""
    where = {"MODAL_LITE_DATA_DIR": str(server.directory.path)}
    environment |= where
    environment["MODAL_LITE_TOKEN"] = server.cli("token", "new", "second").stdout.strip()
    environment["MODAL_LITE_SERVER_URL"] = f"https://127.0.0.1:{server_port(server)}"
    environment["MODAL_LITE_CA_FILE"] = environment_ca(server)
    holder = server.start_python("""
        square = modal_lite.Function.from_name("app", "square")
        show(square.remote(1))
        try:
            import time
            while square.remote(1):
                time.sleep(0.05)
        except modal_lite.Error as error:
            show([type(error).__name__, str(error)])
    """)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "SHOWN 1\n"
    assert {"first", "second"} == {line.split()[-1] for line in server.cli("token", "list").stdout.splitlines()}
    server.cli("token", "revoke", "second")
    out, _ = holder.communicate(timeout=30)
    assert '"AuthError"' in out and "does not accept this token" in out


def test_a_connection_that_never_shakes_hands(server: Server) -> None:
    silent: socket.socket = server.silent  # type: ignore[attr-defined]
    silent.settimeout(30)
    assert silent.recv(1) == b""


def test_a_certificate_that_is_none(own_server: Server, certificate: Path) -> None:
    for path in (certificate.parent / "ca.pem", certificate.parent / "missing.pem"):
        refused = own_server.cli("server", "run", "--port", 1, "--token", "t" * 40, "--certificate", path, check=False)
        assert refused.returncode == 1 and "must be a PEM file of a certificate and its key" in refused.stderr


def test_tokens_that_can_be_guessed(own_server: Server) -> None:
    refused = own_server.cli("server", "run", "--port", 1, "--token", "short", check=False)
    assert refused.returncode == 1 and "can be guessed" in refused.stderr


def test_a_cluster_connects_without_tls(own_server: Server, certificate: Path) -> None:
    words = ("server", "run", "--placer", "ray", "--port", 1, "--token", "t" * 40)
    for url in ("https://somewhere:9", "somewhere:9", "http://somewhere:99999"):
        refused = own_server.cli(*words, "--advertise", url, check=False)
        assert refused.returncode == 1 and "it must be http://host:port" in refused.stderr
    refused = own_server.cli(*words, "--certificate", certificate, check=False)
    assert refused.returncode == 1 and "connect without TLS" in refused.stderr


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_a_cluster_needs_ray(own_server: Server) -> None:
    refused = own_server.cli("server", "start", "--placer", "ray", check=False)
    assert refused.returncode == 1 and "pip install 'modal-lite[ray]'" in refused.stderr


def test_options_that_are_for_tcp(own_server: Server) -> None:
    refused = own_server.cli("server", "run", "--host", "0.0.0.0", check=False)
    assert refused.returncode == 1 and "give --port as well" in refused.stderr


def server_port(server: Server) -> int:
    info = server.directory.read_info()
    assert info is not None
    return int(info.url.rpartition(":")[2])


def environment_ca(server: Server) -> str:
    text = Path(server.environment["MODAL_LITE_CONFIG_PATH"]).read_text()
    return text.partition('ca_file = "')[2].partition('"')[0]
