"""The dashboard of a server that listens on TCP: tokens, and what becomes of sessions when they are revoked."""

import socket
from collections.abc import Iterator

import pytest

from tests.remote.conftest import Server
from tests.waiting import wait_until
from tests.web.test_dashboard import Client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"))
    made.tokens = [made.cli("token", "new", name).stdout.strip() for name in ("one", "two")]  # type: ignore[attr-defined]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made.url = f"http://127.0.0.1:{port}"  # type: ignore[attr-defined]
    try:
        yield made.start("--port", str(port), "--hostname", "dash.example")
    finally:
        made.stop()


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server.url)  # type: ignore[attr-defined]


def test_a_token_logs_in(server: Server, client: Client) -> None:
    assert 'type="password"' in client.page("/dashboard/login")
    answer, text = client.ask("POST", "/dashboard/login", {"token": "wrong"})
    assert answer.status == 403 and "does not know that token" in text and not client.cookie
    token = server.tokens[0]  # type: ignore[attr-defined]
    answer, _ = client.ask("POST", "/dashboard/login", {"token": token, "next": "/dashboard/calls"})
    assert (answer.status, answer.headers["Location"]) == (303, "/dashboard/calls")
    assert "Nothing is deployed" in client.page("/dashboard/")
    assert token not in client.cookie


@pytest.mark.parametrize("path", ["https://evil.example/", "//evil.example", "/dashboard/\r\nX: y", "/dashboard/\\x"])
def test_a_login_leads_nowhere_else(server: Server, client: Client, path: str) -> None:
    form = {"token": server.tokens[0], "next": path}  # type: ignore[attr-defined]
    answer, _ = client.ask("POST", "/dashboard/login", form)
    assert (answer.status, answer.headers["Location"]) == (303, "/dashboard/")


def test_a_login_from_another_page_is_refused(server: Server, client: Client) -> None:
    form = {"token": server.tokens[0]}  # type: ignore[attr-defined]
    answer, _ = client.ask("POST", "/dashboard/login", form, "http://evil.example")
    assert answer.status == 403 and not client.cookie


def test_a_name_that_was_given_to_it(client: Client) -> None:
    assert client.ask("GET", "/dashboard/login", Host="dash.example")[0].status == 200
    assert client.ask("GET", "/dashboard/login", Host="other.example")[0].status == 421


def test_a_link_over_tcp_goes_with_its_token(server: Server, client: Client) -> None:
    server.environment |= {"MODAL_LITE_SERVER_URL": client.base, "MODAL_LITE_TOKEN": server.tokens[1]}  # type: ignore[attr-defined]
    try:
        link = server.cli("dashboard").stdout.strip()
    finally:
        del server.environment["MODAL_LITE_SERVER_URL"], server.environment["MODAL_LITE_TOKEN"]
    assert link.startswith(f"{client.base}/dashboard/login?link=")
    client.ask("GET", link.removeprefix(client.base))
    client.page("/dashboard/")
    server.cli("token", "revoke", "two")
    wait_until(lambda: client.ask("GET", "/dashboard/")[0].status == 303, "the end of the session")


def test_links_are_not_for_strangers(client: Client) -> None:
    assert client.ask("POST", "/v1/dashboard")[0].status == 401
