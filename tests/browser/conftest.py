"""A browser, if there is one, and a server to look at."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.driver import Browser
from tests.remote.conftest import Server

SOURCE = """
    import time
    import modal_lite
    app = modal_lite.App("shop")

    @app.function(max_containers=1)
    def nap(x):
        time.sleep(0.001 if x < 200 else 600)
        return x

    @app.function()
    def say(text):
        print(text)

    @app.function()
    def leaf(x):
        return x

    @app.function()
    def branch(x):
        return sum(leaf.map(range(x)))

    @app.function()
    def root():
        return [call.get() for call in [branch.spawn(i) for i in (1, 2, 20)]]

    @app.function()
    @modal_lite.asgi_app()
    def site():
        from fastapi import FastAPI, WebSocket
        from fastapi.responses import HTMLResponse, StreamingResponse

        web = FastAPI()

        @web.get("/")
        def page():
            return HTMLResponse(PAGE)

        @web.get("/stream")
        def stream():
            return StreamingResponse((f"part {i};" for i in range(3)), media_type="text/plain")

        @web.websocket("/echo")
        async def echo(socket: WebSocket):
            await socket.accept()
            await socket.send_text("echo " + await socket.receive_text())
            await socket.close()

        return web

    PAGE = '''<!doctype html><title>site</title><p id=echo></p><p id=stream></p><script>
    const socket = new WebSocket(location.href.replace("http", "ws") + "echo");
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => { document.getElementById("echo").textContent = event.data; };
    fetch("stream").then((answer) => answer.text()).then((text) => {
      document.getElementById("stream").textContent = text;
    });
    </script>'''

    @app.function()
    @modal_lite.wsgi_app()
    def flask():
        from flask import Flask

        web = Flask("flask")
        web.get("/")(lambda: "<!doctype html><title>flask</title><p>from Flask")
        return web

    @app.function()
    @modal_lite.fastapi_endpoint(docs=True)
    def greet(name: str = "you"):
        return {"hello": name}

    @app.function()
    @modal_lite.web_server(8321)
    def files():
        import subprocess, sys, tempfile, pathlib
        folder = tempfile.mkdtemp()
        pathlib.Path(folder, "index.html").write_text("<!doctype html><title>files</title><p>from http.server")
        subprocess.Popen([sys.executable, "-m", "http.server", "8321", "--bind", "127.0.0.1", "--directory", folder])
"""


def program(*names: str) -> str:
    """The first of the programs that is here; the test is skipped if none is."""
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    pytest.skip(f"there is no {names[0]} here (Debian: apt-get install chromium chromium-driver)")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for the tests of a file: others count the processes that there are."""
    chromium = program("chromium", "chromium-browser", "google-chrome")
    driver = program("chromedriver", "chromium.chromedriver")
    made = Browser(chromium, driver, tmp_path_factory.mktemp("profile"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Server]:
    """A server with one app, `shop`."""
    made = Server(tmp_path_factory.mktemp("server"))
    try:
        made.start()
        made.deploy(SOURCE, "shop", file="shop.py")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def home(server: Server, browser: Browser) -> str:
    """Where the dashboard is; the browser is logged in."""
    link = server.cli("dashboard").stdout.strip()
    browser.open(link)
    browser.wait(lambda: browser.url.endswith("/dashboard/"), "the way from the link to the dashboard")
    return link.partition("login?")[0]


@pytest.fixture(autouse=True)
def _as_usual(browser: Browser) -> None:
    browser.resize(1280, 800)
    browser.prefer("light")
    browser.errors()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go."""
    return tmp_path
