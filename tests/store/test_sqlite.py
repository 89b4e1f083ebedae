"""What the store keeps, and when it says so."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modal_lite._core.messages import Encoding, Failure, FailureKind
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import (
    AddVariant,
    CallKind,
    DeployedFunction,
    FunctionDefinition,
    Output,
    Schedule,
    Source,
)
from modal_lite._core.settings import FunctionSettings
from modal_lite._core.stored import (
    AppState,
    StoredApp,
    StoredCall,
    StoredChunk,
    StoredDeployment,
    StoredSchedule,
    StoredVariant,
    StoredWebPort,
)
from modal_lite._store.sqlite import SqliteStore
from modal_lite.call_graph import InputInfo, InputStatus
from modal_lite.exception import ExecutionError, VersionError


def payload(data: bytes) -> Payload:
    return Payload((len(data),), [data])


def call(call_id: str = "fc-1", **fields: object) -> StoredCall:
    return StoredCall(call_id, "ap-1", "fu-1.1", CallKind.SPAWNED, "", None, 1.0, **fields)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(path)
    yield made
    await made.close()


async def test_a_catalogue_comes_back(store: SqliteStore) -> None:
    definition = FunctionDefinition(
        "fu-1", "ap-1", "app", "f", "mod", "f", "/x/mod.py", b"code", False, FunctionSettings(retries=None), {"A": "b"}
    )
    source = Source("0" * 64, ["/x"], ["/x", "/y"], "/x", None, "3.11")
    app = StoredApp("ap-1", "main", "app", AppState.DEPLOYED, 1.5, 2)
    deployment = StoredDeployment("ap-1", 2, 1.5, source, [DeployedFunction(definition, True, {"m": (True, False)})], 1)
    variant = StoredVariant("ap-1", AddVariant("fu-2", "fu-1", FunctionSettings(), ["timeout"], None, b"x"))
    store.put_app(app)
    store.put_deployment(deployment)
    store.put_variant(variant)
    await store.committed()
    found = await store.load_catalogue()
    assert (found.apps, found.deployments, found.variants) == ([app], [deployment], [variant])


async def test_outputs_are_found_by_any_of_their_inputs(store: SqliteStore) -> None:
    store.put_call(call())
    failure = Failure(FailureKind.USER, "no", "ValueError", "Traceback")
    outputs = [Output(0, 3, None, payload(b"abc")), Output(5, 1, failure, EMPTY)]
    for output in outputs:
        store.put_output("fc-1", output)
    await store.committed()
    found = [await store.find_output("fc-1", index) for index in range(7)]
    assert found == [outputs[0]] * 3 + [None, None, outputs[1], None]
    assert await store.find_output("fc-2", 0) is None


async def test_unfinished_calls_come_back_with_what_is_done(store: SqliteStore, path: Path) -> None:
    store.put_call(call())
    store.put_chunk("fc-1", StoredChunk(0, 10, Encoding.SINGLE, payload(b"first")))
    store.put_chunk("fc-1", StoredChunk(10, 5, Encoding.SINGLE, Payload((2, 3), [b"ab", b"cde"])))
    store.put_output("fc-1", Output(10, 5, None, payload(b"x")))
    store.put_output("fc-1", Output(2, 3, None, payload(b"y")))
    store.close_call("fc-1", 15)
    store.put_call(call("fc-2"))
    store.finish_call("fc-2", 2.0, [])
    await store.committed()
    again = SqliteStore(path)
    (found,) = await again.load_unfinished()
    await again.close()
    assert found.call == call(closed=True, num_inputs=15)
    assert [(chunk.start, chunk.count) for chunk in found.chunks] == [(0, 10), (10, 5)]
    assert b"".join(found.chunks[1].payload.parts) == b"abcde" and found.chunks[1].payload.sizes == (2, 3)
    assert found.done == [(2, 5), (10, 15)]


async def test_finished_calls_keep_outputs_and_graph_but_no_inputs(store: SqliteStore, path: Path) -> None:
    graph = [InputInfo("in-1-0", "fc-1", "ta-1", InputStatus.SUCCESS, "f", "mod", [])]
    store.put_call(call())
    store.put_chunk("fc-1", StoredChunk(0, 1, Encoding.CALL, payload(b"arguments")))
    store.put_output("fc-1", Output(0, 1, None, payload(b"x")))
    store.finish_call("fc-1", 2.0, graph)
    await store.committed()
    assert await store.find_graph("fc-1") == graph and await store.load_unfinished() == []
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM chunks").fetchone() == (0,)
    database.close()


async def test_what_is_entered_in_one_step_is_committed_as_a_whole(store: SqliteStore, path: Path) -> None:
    """Whenever the file is looked at, as a server that was killed would find it: no call without its inputs."""
    other = sqlite3.connect(path)
    for i in range(200):
        store.put_call(call(f"fc-{i}"))
        store.put_chunk(f"fc-{i}", StoredChunk(0, 1, Encoding.CALL, payload(b"arguments")))
        await asyncio.sleep(0)
        assert other.execute(
            "SELECT count(*) FROM calls WHERE call_id NOT IN (SELECT call_id FROM chunks)"
        ).fetchone() == (0,)
    other.close()
    assert len(await store.load_unfinished()) <= 200


async def test_schedules_and_their_end(store: SqliteStore) -> None:
    every, cron = Schedule(period={"seconds": 1.5, "days": 2}), Schedule(cron=("0 9 * * *", "Europe/Berlin"))
    rows = [StoredSchedule("fu-1", "ap-1", every, 10.0), StoredSchedule("fu-2", "ap-1", cron, 10.0, 9.0, "fc-1")]
    for row in (msgspec.structs.replace(rows[0], since=5.0), *rows):
        store.put_schedule(row)
    await store.committed()
    assert (await store.load_catalogue()).schedules == rows
    store.drop_schedule("fu-1")
    await store.committed()
    assert (await store.load_catalogue()).schedules == rows[1:]


async def test_apps_and_deployments_are_removed(store: SqliteStore) -> None:
    source = Source("0" * 64, [], [], "/x", None, "3.11")
    for app_id in ("ap-1", "ap-2"):
        store.put_app(StoredApp(app_id, "main", app_id, AppState.STOPPED, 1.5, 2, 3.0))
        store.put_variant(StoredVariant(app_id, AddVariant(f"fu-{app_id}", "fu-1", FunctionSettings(), [], None)))
        for version in (1, 2):
            store.put_deployment(StoredDeployment(app_id, version, 1.5, source, []))
    store.drop_deployment("ap-1", 1)
    store.drop_app("ap-2")
    await store.committed()
    found = await store.load_catalogue()
    assert [app.app_id for app in found.apps] == ["ap-1"] and found.apps[0].stopped == 3.0
    assert [(each.app_id, each.version) for each in found.deployments] == [("ap-1", 2)] and len(found.variants) == 1


async def test_the_newest_calls(store: SqliteStore) -> None:
    for i in range(5):
        store.put_call(call(f"fc-{i}"))
    store.put_call(StoredCall("fc-other", "ap-2", "fu-2.1", CallKind.SPAWNED, "", None, 1.0))
    store.finish_call("fc-4", 2.0, [])
    await store.committed()

    async def ids(*wanted: Any) -> list[str]:
        return [found.call_id for found in await store.list_calls(*wanted)]

    assert await ids(None, False, 3) == ["fc-other", "fc-4", "fc-3"]
    assert await ids("ap-1", True, 2) == ["fc-3", "fc-2"]
    assert await ids(None, True, 9) == ["fc-other", "fc-3", "fc-2", "fc-1", "fc-0"]


async def test_expiry(store: SqliteStore) -> None:
    for call_id, finished in (("fc-old", 10.0), ("fc-expired", 20.0), ("fc-new", 30.0)):
        store.put_call(call(call_id))
        store.put_output(call_id, Output(0, 1, None, payload(b"x")))
        store.finish_call(call_id, finished, [])
    store.put_call(call("fc-running"))
    store.expire(outputs_before=25.0, calls_before=15.0)
    await store.committed()
    assert await store.find_call("fc-old") is None
    expired = await store.find_call("fc-expired")
    assert expired is not None and expired.expired and await store.find_output("fc-expired", 0) is None
    assert await store.find_output("fc-new", 0) is not None and await store.find_call("fc-running") is not None


async def test_a_call_is_entered_once(store: SqliteStore) -> None:
    store.put_call(call())
    store.cancel_call("fc-1")
    store.put_call(call())
    await store.committed()
    found = await store.find_call("fc-1")
    assert found is not None and found.cancelled
    store.drop_call("fc-1")
    await store.committed()
    assert await store.find_call("fc-1") is None


async def test_what_is_committed_is_in_the_file(store: SqliteStore, path: Path) -> None:
    store.put_call(call())
    await store.committed()
    other = sqlite3.connect(path)
    assert other.execute("SELECT call_id FROM calls").fetchall() == [("fc-1",)]
    other.close()


async def test_callbacks_come_after_the_commit_and_in_order(store: SqliteStore) -> None:
    order: list[int] = []
    for i in range(100):
        store.put_call(call(f"fc-{i}"))
        store.when_committed(lambda i=i: order.append(i), order.append)  # type: ignore[misc]
    await store.committed()
    assert order == list(range(100))


async def test_many_writers_share_commits(store: SqliteStore) -> None:
    async def write(i: int) -> None:
        store.put_call(call(f"fc-{i}"))
        await store.committed()

    single = time.perf_counter()
    for i in range(20):
        await write(i)
    single = (time.perf_counter() - single) / 20
    together = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for i in range(20, 2020):
            group.create_task(write(i))
    assert (time.perf_counter() - together) / 2000 < single


async def test_many_rows_of_many_kinds_in_one_transaction(store: SqliteStore) -> None:
    """A call whose whole life falls into one transaction is as if each step had had its own."""
    ids = [f"fc-{i}" for i in range(64 + 8 + 3)]
    for call_id in ids:
        store.put_call(call(call_id))
        store.put_chunk(call_id, StoredChunk(0, 1, Encoding.CALL, payload(call_id.encode())))
        store.put_output(call_id, Output(0, 1, None, payload(call_id.encode())))
        store.finish_call(call_id, 2.0, [])
    store.drop_call(ids[1])
    store.put_call(call("fc-open"))
    store.put_chunk("fc-open", StoredChunk(0, 1, Encoding.CALL, payload(b"kept")))
    await store.committed()
    for call_id in ids:
        output = await store.find_output(call_id, 0)
        if call_id == ids[1]:
            assert output is None and await store.find_call(call_id) is None
        else:
            assert output is not None and bytes(output.payload.parts[0]) == call_id.encode()
    (unfinished,) = await store.load_unfinished()
    assert unfinished.call.call_id == "fc-open" and len(unfinished.chunks) == 1


async def test_a_failure_to_write_is_told(store: SqliteStore, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("DROP TABLE outputs")
    store.put_output("fc-1", Output(0, 1, None, payload(b"x")))
    called: list[int] = []
    reasons: list[str] = []
    store.when_committed(lambda: called.append(1), reasons.append)
    with pytest.raises(ExecutionError, match="could not write to its store"):
        await store.committed()
    assert not called and reasons == ["no such table: outputs"]
    store.put_call(call())
    await store.committed()
    locker.close()


async def test_closing_commits(path: Path) -> None:
    store = SqliteStore(path)
    store.put_call(call())
    await store.close()
    again = SqliteStore(path)
    assert await again.find_call("fc-1") == call()
    await again.close()


async def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(VersionError, match="version 99"):
        SqliteStore(path)


async def test_web_ports_stay_with_their_app(store: SqliteStore, path: Path) -> None:
    store.put_app(StoredApp("ap-1", "main", "app", AppState.DEPLOYED, 1.0, 1))
    store.put_web_port(StoredWebPort("ap-1", "fu-1", "", 20_001))
    store.put_web_port(StoredWebPort("ap-2", "fu-2", "get", 20_002))
    store.put_web_port(StoredWebPort("ap-1", "fu-1", "", 20_003))
    await store.committed()
    ports = await store.load_web_ports()
    assert sorted(port.port for port in ports) == [20_002, 20_003]
    store.drop_app("ap-1")
    await store.committed()
    assert await store.load_web_ports() == [StoredWebPort("ap-2", "fu-2", "get", 20_002)]
