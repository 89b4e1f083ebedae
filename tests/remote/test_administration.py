"""The administration interface of a server that runs, and what it tells those who watch it."""

import http.client
import json
import socket
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import modal_lite
from modal_lite._server.openapi import description
from tests.remote.conftest import Server
from tests.remote.functions import APP
from tests.waiting import wait_until


class Unix(http.client.HTTPConnection):
    """HTTP over the server's socket."""

    def __init__(self, server: Server) -> None:
        super().__init__("localhost", timeout=30)
        self._server = server

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._server.directory.socket))


def ask(server: Server, path: str, method: str = "GET") -> tuple[int, Any, str]:
    """Status, body and its type."""
    connection = Unix(server)
    connection.request(method, path)
    with connection.getresponse() as answer:
        body, kind = answer.read(), answer.headers["Content-Type"]
    connection.close()
    return answer.status, json.loads(body) if kind.startswith("application/json") else body.decode(), kind


@pytest.fixture(scope="module", autouse=True)
def app(server: Server) -> None:
    server.deploy(APP)


def test_what_there_is(server: Server) -> None:
    assert ask(server, "/healthz")[1] == {"status": "ok", "version": modal_lite.__version__, "pid": server.pid()}
    assert ask(server, "/openapi.json")[1] == json.loads(json.dumps(description(modal_lite.__version__)))
    _, (listed,), _ = ask(server, "/v1/apps?environment=main")
    assert ask(server, "/v1/apps/main/app")[1] == listed and listed["next_run"] is None
    assert ask(server, f"/v1/apps/any/{listed['app_id']}")[1] == listed
    assert ask(server, "/v1/apps?environment=other")[1] == []
    (version,) = ask(server, "/v1/apps/main/app/history")[1]
    assert version["version"] == 1 and version["current"] and "square" in version["functions"]


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/v1/apps/main/unknown", "GET", 404),
        ("/v1/calls/fc-unknown", "GET", 404),
        ("/v1/calls/fc-unknown/cancel", "POST", 404),
        ("/v1/calls?limit=0", "GET", 400),
        ("/v1/calls?limit=1&limit=2", "GET", 400),
        ("/v1/calls?unknown=1", "GET", 400),
        ("/v1/apps/main/app/rollback?version=-1", "POST", 400),
        ("/v1/apps/main/app/rollback?version=99", "POST", 404),
        ("/v1/apps/main/app/stop", "GET", 405),
        ("/nothing", "GET", 404),
    ],
)
def test_refusals_are_json(server: Server, path: str, method: str, status: int) -> None:
    found, body, _ = ask(server, path, method)
    assert found == status and set(body) == {"error", "message"}


def test_calls_and_functions_while_they_run(server: Server) -> None:
    gate = server.folder / "gate"
    call_id = server.python(f'show(modal_lite.Function.from_name("app", "gate").spawn({str(gate)!r}).object_id)')
    wait_until((server.folder / "gate.started").exists)
    (function,) = [each for each in ask(server, "/v1/apps/main/app/functions")[1] if each["name"] == "gate"]
    assert (function["backlog"], function["running"], function["containers"]) == (0, 1, 1)
    (call,) = ask(server, "/v1/calls?unfinished=true")[1]
    assert call["call_id"] == call_id and call["function_id"] == function["function_id"] and call["finished"] is None
    assert call_id in server.cli("app", "calls", "app").stdout
    server.cli("app", "cancel", call_id)
    wait_until(lambda: ask(server, f"/v1/calls/{call_id}")[1]["finished"] is not None)
    assert ask(server, f"/v1/calls/{call_id}")[1]["cancelled"] and ask(server, "/v1/calls?unfinished=1")[1] == []


def test_metrics(server: Server) -> None:
    server.python(
        """
        of = lambda tag: modal_lite.Function.from_name("app", tag)
        list(of("square").map(range(50)))
        of("square").spawn(1).get()
        try:
            of("fails").remote()
        except ValueError:
            pass
        show(None)
        """
    )
    status, text, kind = ask(server, "/metrics")
    assert status == 200 and kind.startswith("text/plain")
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    square, fails = ("app", "main", "square"), ("app", "fails", "main")
    assert found["modal_lite_attempts_total", *sorted([*square, "success"])] == 51
    assert found["modal_lite_attempts_total", *sorted([*fails, "user"])] == 1
    assert found["modal_lite_attempt_seconds_count", *square] == 51
    assert found["modal_lite_call_seconds_count", *square] == 2 and found["modal_lite_backlog", *square] == 0
    assert found["modal_lite_containers", *sorted([*square, "ready"])] >= 1
    assert found["modal_lite_stored_calls",] >= 1 and found["modal_lite_store_commits_total",] >= 2
