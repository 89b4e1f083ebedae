"""The administration interface of a server that runs, and what it tells those who watch it."""

import http.client
import json
import socket
import tarfile
from pathlib import Path
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
    _, apps, _ = ask(server, "/v1/apps?environment=main")
    (listed,) = [each for each in apps if each["name"] == "app"]
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
        ("/v1/apps/main/app/rollback?version=null", "POST", 400),
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
    server.deploy(APP, "counted")
    server.python(
        """
        of = lambda tag: modal_lite.Function.from_name("counted", tag)
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
    square, fails = ("counted", "main", "square"), ("counted", "fails", "main")
    assert found["modal_lite_attempts_total", *sorted([*square, "success"])] == 51
    assert found["modal_lite_attempts_total", *sorted([*fails, "user"])] == 1
    assert found["modal_lite_attempt_seconds_count", *square] == 51
    assert found["modal_lite_call_seconds_count", *square] == 2 and found["modal_lite_backlog", *square] == 0
    assert found["modal_lite_containers", *sorted([*square, "ready"])] >= 1
    assert found["modal_lite_stored_calls",] >= 1 and found["modal_lite_store_commits_total",] >= 2


def test_the_log_says_what_was_deployed(server: Server) -> None:
    lines = [json.loads(line) for line in server.directory.log.read_text().splitlines()]
    (deployed,) = [line for line in lines if line["message"] == "deployed an app" and line["app"] == "app"]
    assert deployed["version"] == 1 and deployed["environment"] == "main" and deployed["level"] == "info"
    assert server.directory.output.read_text() == ""


def test_a_backup_of_a_running_server_is_another_server(server: Server, tmp_path: Path) -> None:
    call_id = server.python('show(modal_lite.Function.from_name("app", "square").spawn(7).object_id)')
    gate = tmp_path / "gate"
    waiting = server.python(f'show(modal_lite.Function.from_name("app", "gate").spawn({str(gate)!r}).object_id)')
    server.python(f'show(modal_lite.FunctionCall.from_id("{call_id}").get())')
    for file in (tmp_path / "backup.tar.gz", tmp_path / "backup.tar"):
        server.cli("server", "backup", file)
        assert file.stat().st_mode & 0o777 == 0o600
    restored = Server(tmp_path)
    with tarfile.open(tmp_path / "backup.tar.gz") as archive:
        archive.extractall(restored.directory.path, filter="data")
    try:
        restored.start()
        gate.touch()
        assert restored.python(
            f"""
            ids = [{call_id!r}, {waiting!r}]
            show([modal_lite.FunctionCall.from_id(i).get(timeout=30) for i in ids] +
                 [modal_lite.Function.from_name("app", "square").remote(8)])
            """
        ) == [49, "one", 64]
    finally:
        restored.stop()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_backup_of_nothing(own_server: Server) -> None:
    failed = own_server.cli("server", "backup", own_server.folder / "backup.tar", check=False)
    assert failed.returncode == 1 and "There is no server's state" in failed.stderr
