"""Functions that run by themselves, on a server that is killed and started again."""

import json
import sqlite3
from pathlib import Path

import msgspec
import pytest

from modal_lite._core.stored import StoredSchedule
from tests.remote.conftest import Server
from tests.waiting import wait_until

SOURCE = """
    import modal_lite
    app = modal_lite.App()

    @app.function(schedule=modal_lite.{schedule})
    def tick():
        with open({log!r}, "a") as file:
            file.write("tick\\n")

    @app.function()
    def other():
        return "other"
"""


@pytest.fixture
def log(own_server: Server) -> Path:
    own_server.start()
    return own_server.folder / "log"


def deploy(server: Server, log: Path, schedule: str) -> None:
    server.deploy(SOURCE.format(schedule=schedule, log=str(log)), "ticking")


def count(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def schedules(server: Server) -> list[StoredSchedule]:
    database = sqlite3.connect(server.directory.state)
    rows = database.execute("SELECT data FROM schedules").fetchall()
    database.close()
    return [msgspec.msgpack.decode(data, type=StoredSchedule) for (data,) in rows]


def calls(server: Server, *words: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(server.cli("app", "calls", "ticking", "--json", *words).stdout)
    return found


def test_every_second_across_kill_9(own_server: Server, log: Path) -> None:
    deploy(own_server, log, "Period(seconds=1)")
    wait_until(lambda: count(log) >= 2)
    own_server.kill()
    own_server.start()
    before = count(log)
    wait_until(lambda: count(log) >= before + 2)
    own_server.deploy(SOURCE.replace("(schedule=modal_lite.{schedule})", "()").format(log=str(log)), "ticking")
    assert schedules(own_server) == []
    wait_until(lambda: not calls(own_server, "--unfinished"))
    # Each run is a call of its own; only one that ran when the server was killed may have run once more.
    assert len(calls(own_server)) <= count(log) <= len(calls(own_server)) + 1


def test_what_was_missed_runs_once(own_server: Server, log: Path) -> None:
    deploy(own_server, log, "Period(hours=1)")
    (stored,) = schedules(own_server)
    own_server.kill()
    put_back(own_server, stored, 3.5 * 3600)
    own_server.start()
    wait_until(lambda: count(log) == 1)
    wait_until(lambda: not calls(own_server, "--unfinished"))
    (now,) = schedules(own_server)
    (call,) = calls(own_server)
    assert now.last == pytest.approx(stored.since - 2.5 * 3600, abs=0.01) and now.call_id == call["call_id"]
    (shown,) = [each for each in functions(own_server) if each["name"] == "tick"]
    assert shown["schedule"] == "Period(hours=1)" and shown["last_run"] == now.last
    assert shown["next_run"] == pytest.approx(now.since + 3600, abs=0.01)
    assert "NEXT RUN" in own_server.cli("app", "list").stdout
    own_server.kill()
    own_server.start()
    own_server.python('show(modal_lite.Function.from_name("ticking", "other").remote())')
    assert count(log) == 1 and schedules(own_server) == [now]
    assert own_server.python(f"show(modal_lite.FunctionCall.from_id({now.call_id!r}).get())") is None


def test_deploying_anew(own_server: Server, log: Path) -> None:
    deploy(own_server, log, "Cron('0 0 1 1 *', timezone='Europe/Berlin')")
    (first,) = schedules(own_server)
    deploy(own_server, log, "Cron('0 0 1 1 *', timezone='Europe/Berlin')")
    assert schedules(own_server) == [first]
    deploy(own_server, log, "Period(days=2)")
    (second,) = schedules(own_server)
    assert second.function_id == first.function_id and second.schedule.period == {"days": 2}
    own_server.cli("app", "rollback", "ticking")
    (third,) = schedules(own_server)
    assert third.schedule == first.schedule and third.since > second.since
    own_server.cli("app", "stop", "ticking")
    assert schedules(own_server) == [] and count(log) == 0


def functions(server: Server) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(server.cli("app", "functions", "ticking", "--json").stdout)
    return found


def put_back(server: Server, stored: StoredSchedule, seconds: float) -> None:
    """Lets the schedule, of a server that does not run, be that much older."""
    older = msgspec.structs.replace(stored, since=stored.since - seconds)
    with sqlite3.connect(server.directory.state) as database:
        database.execute("UPDATE schedules SET data = ?", (msgspec.msgpack.encode(older),))
    database.close()
