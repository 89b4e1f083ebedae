"""Deployed web functions in Chromium: FastAPI, Flask, a server of the user's own; streams and WebSockets."""

import pytest

from tests.browser.driver import Browser
from tests.remote.conftest import Server


@pytest.fixture(scope="module")
def urls(server: Server) -> dict[str, str]:
    """Where the web functions are."""
    names = ["site", "flask", "greet", "files"]
    found: dict[str, str] = server.python(
        f"show({{name: modal_lite.Function.from_name('shop', name).web_url for name in {names}}})"
    )
    return found


def test_a_page_with_a_websocket_and_a_stream(browser: Browser, urls: dict[str, str]) -> None:
    browser.open(urls["site"])
    browser.wait_for("echo hello", "#echo")
    browser.wait_for("part 0;part 1;part 2;", "#stream")


def test_flask(browser: Browser, urls: dict[str, str]) -> None:
    browser.open(urls["flask"])
    assert browser.text() == "from Flask"


def test_an_endpoint(browser: Browser, urls: dict[str, str]) -> None:
    browser.open(f"{urls['greet']}?name=there")
    browser.wait_for('{"hello":"there"}')


def test_a_server_of_ones_own(browser: Browser, urls: dict[str, str]) -> None:
    browser.open(urls["files"])
    assert browser.text() == "from http.server"


def test_the_dashboards_cookie_does_not_go_there(browser: Browser, home: str, urls: dict[str, str]) -> None:
    browser.open(home)
    assert browser.cookies()
    browser.open(urls["flask"])
    assert browser.cookies() == []
