"""The dashboard as a browser meets it: pages, forms, who is let in, and what is refused."""

import html
import http.client
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from tests.remote.conftest import Server
from tests.waiting import wait_until

SOURCE = """
    import time
    import modal_lite
    app = modal_lite.App("shop")
    EVIL = "<script>alert('&')"

    @app.function(name=EVIL)
    def evil():
        print(EVIL)
        raise ValueError(EVIL)

    @app.function()
    def leaf(x):
        return x

    @app.function()
    def branch(x):
        return leaf.remote(x)

    @app.function()
    def root():
        return [branch.spawn(i).get() for i in range(3)]

    @app.function(max_containers=1)
    def nap(x):
        time.sleep(600)

    @app.function()
    @modal_lite.fastapi_endpoint()
    def site():
        return "here"
"""
EVIL = "<script>alert('&')"
ORIGIN: Any = object()
"""The server's own."""


class Client:
    """What a browser sends: a cookie, and with forms their origin."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.cookie = ""

    def ask(
        self, method: str, path: str, form: dict[str, str] | None = None, origin: Any = ORIGIN, **headers: str
    ) -> tuple[http.client.HTTPResponse, str]:
        """Sends one request; gives the answer and its body."""
        parts = urlsplit(self.base)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            sent["Cookie"] = self.cookie
        body = None
        if form is not None:
            body = urlencode(form)
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
            if origin is not None:
                sent["Origin"] = self.base if origin is ORIGIN else origin
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        given = answer.headers.get("Set-Cookie")
        if given is not None:
            self.cookie = given.partition(";")[0]
        return answer, text

    def page(self, path: str) -> str:
        """The page at a path."""
        answer, text = self.ask("GET", path)
        assert answer.status == 200, (answer.status, text)
        return text

    def csrf(self) -> str:
        """What forms of the session send along."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.page("/dashboard/"))
        assert found is not None
        return found[1]


def log_in(server: Server) -> Client:
    link = urlsplit(server.cli("dashboard").stdout.strip())
    client = Client(f"{link.scheme}://{link.netloc}")
    answer, text = client.ask("GET", f"{link.path}?{link.query}")
    assert answer.status == 200 and "Logged in" in text
    return client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"))
    try:
        made.start()
        made.deploy(SOURCE, "shop")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return log_in(server)


@pytest.fixture(scope="module")
def app_id(server: Server) -> str:
    return str(json.loads(server.cli("app", "list", "--json").stdout)[0]["app_id"])


# --- pages -----------------------------------------------------------------------------------------------------------


def test_the_apps(client: Client) -> None:
    text = client.page("/dashboard/")
    assert ">shop</a>" in text and "Calls under way" in text


def test_an_app(server: Server, client: Client, app_id: str) -> None:
    text = client.page(f"/dashboard/apps/{app_id}")
    url = server.python("show(modal_lite.Function.from_name('shop', 'site').web_url)")
    assert f'href="{url}"' in text and "Stop shop" in text
    assert all(name in text for name in ("leaf", "branch", "root", "Waiting", "Containers"))


def test_whatever_is_named_and_printed_is_text(server: Server, client: Client, app_id: str) -> None:
    call_id = server.python(f"""
        call = modal_lite.Function.from_name("shop", "{EVIL}").spawn()
        try:
            call.get()
        except ValueError:
            show(call.object_id)
    """)
    shown = html.escape(EVIL)
    for path in (f"apps/{app_id}", f"apps/{app_id}/logs", "calls", f"calls/{call_id}"):
        text = client.page(f"/dashboard/{path}").replace("&#39;", "&#x27;")
        assert shown in text and EVIL not in text, path
    _, text = client.ask("GET", f"/dashboard/calls/{quote(EVIL)}")
    assert "no function call" in text and EVIL not in text


def test_a_failed_call(server: Server, client: Client) -> None:
    call_id = server.python(f"""
        call = modal_lite.Function.from_name("shop", "{EVIL}").spawn()
        try:
            call.get()
        except ValueError:
            show(call.object_id)
    """)
    text = client.page(f"/dashboard/calls/{call_id}")
    assert 'class="badge failed"' in text and "Traceback (most recent call last)" in text
    entry = json.loads(server.cli("app", "calls", "shop", "--json").stdout)[0]
    assert (entry["call_id"], entry["failed"]) == (call_id, 1)


def test_a_graph_of_three_generations(server: Server, client: Client) -> None:
    call_id = server.python("""
        call = modal_lite.Function.from_name("shop", "root").spawn()
        call.get()
        show(call.object_id)
    """)
    text = client.page(f"/dashboard/calls/{call_id}")
    titles = re.findall(r"<title>(\w+: \w+)</title>", text)
    assert titles == ["root: done", *["branch: done", "leaf: done"] * 3]
    assert text.count("<path ") == 6
    (branch, *_) = re.findall(r'href="(/dashboard/calls/[^"]+)" aria-label="branch', text)
    assert call_id in client.page(branch)


def test_a_map_is_watched_and_cancelled(server: Server, client: Client, app_id: str) -> None:
    call_id = server.python("""
        show(modal_lite.Function.from_name("shop", "nap").spawn_map(range(1000)).object_id)
    """)
    path = f"/dashboard/calls/{call_id}"
    wait_until(lambda: 'class="badge running"' in client.page(path), "the first input")
    text = client.page(path)
    assert "0 of 1,000 inputs" in text and '<progress class="wide" max="1000" value="0"' in text
    assert call_id in client.page("/dashboard/calls") and call_id in client.page(f"/dashboard/apps/{app_id}")
    answer, _ = client.ask("POST", f"{path}/cancel", {"csrf": client.csrf()})
    assert (answer.status, answer.headers["Location"]) == (303, path)
    wait_until(lambda: 'class="badge cancelled"' in client.page(path), "the cancellation")
    wait_until(lambda: "Took" in client.page(path), "the end of the call")


def test_a_call_that_no_store_knows(server: Server, client: Client) -> None:
    program = server.start_python("modal_lite.Function.from_name('shop', 'nap').remote(1)")
    try:
        rows = wait_until(
            lambda: re.findall(
                r'href="(/dashboard/calls/[^"]+)"[^>]*>nap</a> <small>remote', client.page("/dashboard/calls")
            ),
            "the call",
        )
        assert "Cancel the call" in client.page(rows[0])
        client.ask("POST", f"{rows[0]}/cancel", {"csrf": client.csrf()})
        _, said = program.communicate(timeout=30)
        assert "cancelled" in said.lower()
    finally:
        program.kill()
        program.wait()
    assert 'class="badge cancelled"' in client.page(rows[0])


def test_logs_stream(server: Server, client: Client, app_id: str) -> None:
    parts = urlsplit(client.base)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("GET", f"/dashboard/apps/{app_id}/logs/stream?after=0", headers={"Cookie": client.cookie})
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
        server.python(f"""
            try:
                modal_lite.Function.from_name("shop", "{EVIL}").remote()
            except ValueError:
                show(1)
        """)
        lines = iter(lambda: answer.readline().decode(), "")
        said = next(line for line in lines if line.startswith("data: <div>"))
        assert "&lt;script&gt;" in said and "<script>" not in said
    finally:
        connection.close()


def test_unknown_things(client: Client) -> None:
    for path in ("apps/ap-unknown", "calls/fc-unknown", "apps/ap-unknown/logs", "nothing", "static/../pages.py"):
        answer, text = client.ask("GET", f"/dashboard/{path}")
        assert answer.status == 404 and "<h1>404</h1>" in text, path


def test_the_root_leads_there(client: Client) -> None:
    for path in ("/", "/dashboard"):
        answer, _ = client.ask("GET", path)
        assert (answer.status, answer.headers["Location"]) == (303, "/dashboard/")


def test_every_page_is_light(client: Client) -> None:
    text = client.page("/dashboard/")
    own = re.findall(r'(?:src|href)="(/dashboard/static/[^"]+)"', text)
    assert len(own) == 3 and sum(len(client.page(path)) for path in own) < 16 << 10
    assert not re.search(r"<style|<script>|style=|\son\w+=", text)


def test_headers(client: Client) -> None:
    for path in ("/dashboard/", "/dashboard/login", "/dashboard/nothing"):
        answer, _ = client.ask("GET", path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'") and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store" and answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"


# --- who is let in ---------------------------------------------------------------------------------------------------


def test_nobody_without_a_session(client: Client, app_id: str) -> None:
    stranger = Client(client.base)
    for cookie in ("", "modal-lite=wrong"):
        stranger.cookie = cookie
        for path in ("", "calls", f"apps/{app_id}", f"apps/{app_id}/logs", f"apps/{app_id}/logs/stream"):
            answer, text = stranger.ask("GET", f"/dashboard/{path}")
            assert answer.status == 303 and answer.headers["Location"].startswith("/dashboard/login"), path
            assert not text
        answer, _ = stranger.ask("POST", f"/dashboard/apps/{app_id}/stop", {"csrf": "x"})
        assert (answer.status, answer.headers["Location"]) == (303, "/dashboard/login")


def test_the_session_is_no_token_of_the_interface(client: Client) -> None:
    answer, _ = client.ask("GET", "/v1/apps")
    assert answer.status == 401


def test_the_cookie(server: Server) -> None:
    link = urlsplit(server.cli("dashboard").stdout.strip())
    answer, _ = Client(f"http://{link.netloc}").ask("GET", f"{link.path}?{link.query}")
    words = answer.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/dashboard/"} <= set(words)


def test_a_link_is_good_for_once(server: Server) -> None:
    link = urlsplit(server.cli("dashboard").stdout.strip())
    client = Client(f"http://{link.netloc}")
    answer, _ = client.ask("HEAD", f"{link.path}?{link.query}")
    assert answer.status == 405
    assert [client.ask("GET", f"{link.path}?{link.query}")[0].status for _ in range(2)] == [200, 403]


def test_logging_out(server: Server) -> None:
    client = log_in(server)
    cookie = client.cookie
    client.ask("POST", "/dashboard/logout", {"csrf": client.csrf()})
    client.cookie = cookie
    assert client.ask("GET", "/dashboard/")[0].status == 303


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://localhost:1"])
def test_forms_of_other_pages_are_refused(client: Client, app_id: str, origin: str | None) -> None:
    form = {"csrf": client.csrf()}
    answer, _ = client.ask("POST", f"/dashboard/apps/{app_id}/stop", form, origin)
    assert answer.status == 403
    assert "Stop shop" in client.page(f"/dashboard/apps/{app_id}")


def test_forms_of_other_sessions_are_refused(server: Server, client: Client, app_id: str) -> None:
    for form in ({}, {"csrf": ""}, {"csrf": "wrong"}, {"csrf": log_in(server).csrf()}):
        answer, text = client.ask("POST", f"/dashboard/apps/{app_id}/stop", form)
        assert answer.status == 403 and "not of this session" in text
    answer, _ = client.ask("POST", f"/dashboard/apps/{app_id}/stop", {}, Content_Type="text/plain")
    assert answer.status == 400


def test_forms_are_small(client: Client, app_id: str) -> None:
    answer, _ = client.ask("POST", f"/dashboard/apps/{app_id}/stop", {"csrf": "x" * 10_000})
    assert answer.status == 413


def test_names_that_others_can_give_it_are_refused(client: Client) -> None:
    for host in ("evil.example", "evil.example:80", "[::1", ""):
        answer, text = client.ask("GET", "/dashboard/", Host=host)
        assert answer.status in (400, 421), host
        assert "shop" not in text
    for host in ("127.0.0.1:1", "[::1]:1", "LOCALHOST", "site.localhost:1"):
        assert client.ask("GET", "/dashboard/", Host=host)[0].status == 200, host


def test_stopping_an_app(server: Server, client: Client) -> None:
    server.deploy(
        "import modal_lite\napp = modal_lite.App('gone')\n@app.function()\ndef f(): pass\n", "gone", file="gone.py"
    )
    (app_id,) = [
        each["app_id"] for each in json.loads(server.cli("app", "list", "--json").stdout) if each["name"] == "gone"
    ]
    path = f"/dashboard/apps/{app_id}"
    for _ in range(2):  # also one that has been stopped meanwhile
        answer, _ = client.ask("POST", f"{path}/stop", {"csrf": client.csrf()})
        assert (answer.status, answer.headers["Location"]) == (303, path)
    text = client.page(path)
    assert 'class="badge stopped"' in text and "Stop gone" not in text
    assert "gone" not in server.cli("app", "list").stdout
