"""Servers on TCP: nothing is answered without the token."""

import json
import socket
import urllib.error
import urllib.request
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


@pytest.fixture(scope="module")
def token() -> str:
    return "t" * 40


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, token: str) -> Iterator[Server]:
    """A server on TCP; the clients' environment names it, and not its data directory."""
    made = Server(tmp_path_factory.mktemp("server"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        made.start("--port", str(port), "--token", token)
        made.environment["MODAL_LITE_SERVER_URL"] = made.url = f"http://127.0.0.1:{port}"  # type: ignore[attr-defined]
        made.environment["MODAL_LITE_TOKEN"] = token
        made.deploy(APP)
        yield made
    finally:
        made.stop()


@pytest.fixture
def given(server: Server, token: str) -> Iterator[dict[str, str]]:
    """The environment, to be changed by one test."""
    yield server.environment
    server.environment["MODAL_LITE_TOKEN"] = token


def test_with_the_token(server: Server, tmp_path: Path) -> None:
    assert server.python(ASK) == 9
    assert "app" in server.cli("app", "list").stdout
    assert server.url in server.cli("server", "status").stdout  # type: ignore[attr-defined]


def test_a_large_payload(server: Server) -> None:
    code = 'show(modal_lite.Function.from_name("app", "length").remote(b"x" * 5_000_000))'
    assert server.python(code) == 5_000_000


def test_without_a_token(server: Server, given: dict[str, str]) -> None:
    del given["MODAL_LITE_TOKEN"]
    message = f"The server at {server.url} asks for a token: set MODAL_LITE_TOKEN."  # type: ignore[attr-defined]
    assert server.python(ASK) == ["AuthError", message]
    refused = server.cli("app", "list", check=False)
    assert refused.returncode == 1 and "asks for a token" in refused.stderr


def test_with_a_wrong_token(server: Server, given: dict[str, str]) -> None:
    given["MODAL_LITE_TOKEN"] = "wrong"
    message = f"The server at {server.url} does not accept this token."  # type: ignore[attr-defined]
    assert server.python(ASK) == ["AuthError", message]


@pytest.mark.parametrize(
    "path", ["/metrics", "/openapi.json", "/v1/apps", "/v1/session", "/v1/apps/main/app/stop", "/healthz", "/unknown"]
)
def test_no_path_is_open(server: Server, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer \xff"}):
        request = urllib.request.Request(f"{server.url}{path}", headers=headers)  # type: ignore[attr-defined]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        with refused.value as answer:
            assert answer.code == 401 and json.loads(answer.read())["error"] == "AuthError"


def test_no_token_of_the_server_in_its_containers(server: Server) -> None:
    server.deploy(
        "import os, modal_lite\napp = modal_lite.App('e')\n@app.function()\ndef f():\n"
        "    return 'MODAL_LITE_TOKEN' in os.environ\n",
        "environ",
        file="environ_app.py",
    )
    assert server.python('show(modal_lite.Function.from_name("environ", "f").remote())') is False


def test_new_tokens_differ(server: Server) -> None:
    made = {server.cli("token", "new").stdout.strip() for _ in range(2)}
    assert len(made) == 2 and all(len(text) > 40 for text in made)
