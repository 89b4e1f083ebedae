"""The `Store` in a SQLite file."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from modal_lite._core.interfaces import StoreFigures
from modal_lite._core.messages import Encoding, Failure
from modal_lite._core.payload import EMPTY, Buffer, Payload
from modal_lite._core.requests import CallKind, Output
from modal_lite._core.stored import (
    AppState,
    Catalogue,
    StoredApp,
    StoredCall,
    StoredChunk,
    StoredDeployment,
    StoredSchedule,
    StoredVariant,
    StoredWebPort,
    Unfinished,
)
from modal_lite._store.schema import prepare
from modal_lite._store.writer import Statement, Writer
from modal_lite.call_graph import InputInfo
from modal_lite.exception import ExecutionError

T = TypeVar("T")

_pack = msgspec.msgpack.encode
_sizes = msgspec.msgpack.Decoder(tuple[int, ...])
_failure = msgspec.msgpack.Decoder(Failure)
_graph = msgspec.msgpack.Decoder(list[InputInfo])


def _insert(into: str, columns: int) -> Statement:
    return Statement(f"INSERT {into} VALUES ", f"({', '.join('?' * columns)})")


_PUT_APP = "INSERT OR REPLACE INTO apps VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_DEPLOYMENT = "INSERT OR REPLACE INTO deployments VALUES (?, ?, ?)"
_DROP_DEPLOYMENT = "DELETE FROM deployments WHERE app_id = ? AND version = ?"
_DROP_APP = tuple(f"DELETE FROM {table} WHERE app_id = ?" for table in ("apps", "deployments", "variants", "web_ports"))
_PUT_SCHEDULE = "INSERT OR REPLACE INTO schedules VALUES (?, ?)"
_DROP_SCHEDULE = "DELETE FROM schedules WHERE function_id = ?"
_PUT_VARIANT = "INSERT OR REPLACE INTO variants VALUES (?, ?, ?)"
_PUT_WEB_PORT = "INSERT OR REPLACE INTO web_ports VALUES (?, ?, ?, ?)"
_PUT_CALL = Statement("INSERT OR IGNORE INTO calls VALUES ", "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, 0)")
_PUT_CHUNK = _insert("INTO chunks", 6)
_PUT_OUTPUT = _insert("INTO outputs", 6)
_CLOSE_CALL = Statement("UPDATE calls SET closed = 1, num_inputs = ? WHERE call_id = ?")
_CANCEL_CALL = Statement("UPDATE calls SET closed = 1, cancelled = 1 WHERE call_id IN (", "?", ")")
_FINISH_CALL = Statement(
    "UPDATE calls SET finished = ?, graph = ?, failed = (SELECT coalesce(sum(count), 0) FROM outputs "
    "WHERE outputs.call_id = calls.call_id AND failure IS NOT NULL) WHERE call_id = ?"
)
_DROP_CHUNKS = Statement("DELETE FROM chunks WHERE call_id IN (", "?", ")")
_DROP_OUTPUTS = Statement("DELETE FROM outputs WHERE call_id IN (", "?", ")")
_DROP_CALL = Statement("DELETE FROM calls WHERE call_id IN (", "?", ")")
_EXPIRE_OUTPUTS = Statement(
    "DELETE FROM outputs WHERE call_id IN (SELECT call_id FROM calls WHERE finished < ? AND NOT expired)"
)
_EXPIRE_CALLS = Statement("UPDATE calls SET expired = 1, graph = NULL WHERE finished < ? AND NOT expired")
_DELETE_CALLS = Statement("DELETE FROM calls WHERE finished < ?")
_ORDER = [
    _PUT_CALL,
    _PUT_CHUNK,
    _PUT_OUTPUT,
    _CLOSE_CALL,
    _CANCEL_CALL,
    _FINISH_CALL,
    _DROP_CHUNKS,
    _DROP_OUTPUTS,
    _DROP_CALL,
    _EXPIRE_OUTPUTS,
    _EXPIRE_CALLS,
    _DELETE_CALLS,
]
"""That of a call's life, so that no transaction undoes what it is to do."""
_CALL_COLUMNS = (
    "call_id, app_id, function_id, kind, method, parent, created, closed, num_inputs, cancelled, finished, expired, "
    "failed"
)


class SqliteStore:
    """Implements `Store`. Belongs to the loop that runs when it is made.

    Args:
        path: The file, made if there is none.

    Raises:
        VersionError: The file belongs to a later version.
        sqlite3.Error: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        database = _connect(path)
        try:
            prepare(database)
        except BaseException:
            database.close()
            raise
        self._writer = Writer(database, _ORDER)
        self._reader = _connect(path)
        self._put = self._writer.put
        self._put_in_turn = self._writer.put_in_turn

    # --- when it is safe ---------------------------------------------------------------------------------------------

    def committed(self) -> Awaitable[None]:
        """See `Store.committed`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(ExecutionError(f"The server could not write to its store: {error}"))

        self._writer.on_commit(settle)
        return done

    def when_committed(self, callback: Callable[[], None], on_failure: Callable[[str], None]) -> None:
        """See `Store.when_committed`."""
        self._writer.on_commit(lambda error: callback() if error is None else on_failure(str(error)))

    async def close(self) -> None:
        """See `Store.close`."""
        await self._writer.close()
        self._reader.close()

    # --- writing -----------------------------------------------------------------------------------------------------

    def put_app(self, app: StoredApp) -> None:
        """See `Store.put_app`."""
        self._put_in_turn(
            _PUT_APP, (app.app_id, app.environment, app.name, app.state, app.created, app.version, app.stopped)
        )

    def put_deployment(self, deployment: StoredDeployment) -> None:
        """See `Store.put_deployment`."""
        self._put_in_turn(_PUT_DEPLOYMENT, (deployment.app_id, deployment.version, _pack(deployment)))

    def put_variant(self, variant: StoredVariant) -> None:
        """See `Store.put_variant`."""
        self._put_in_turn(_PUT_VARIANT, (variant.request.function_id, variant.app_id, _pack(variant)))

    def drop_deployment(self, app_id: str, version: int) -> None:
        """See `Store.drop_deployment`."""
        self._put_in_turn(_DROP_DEPLOYMENT, (app_id, version))

    def drop_app(self, app_id: str) -> None:
        """See `Store.drop_app`."""
        for statement in _DROP_APP:
            self._put_in_turn(statement, (app_id,))

    def put_schedule(self, schedule: StoredSchedule) -> None:
        """See `Store.put_schedule`."""
        self._put_in_turn(_PUT_SCHEDULE, (schedule.function_id, _pack(schedule)))

    def drop_schedule(self, function_id: str) -> None:
        """See `Store.drop_schedule`."""
        self._put_in_turn(_DROP_SCHEDULE, (function_id,))

    def put_web_port(self, web_port: StoredWebPort) -> None:
        """See `Store.put_web_port`."""
        row = (web_port.function_id, web_port.method, web_port.app_id, web_port.port)
        self._put_in_turn(_PUT_WEB_PORT, row)

    def put_call(self, call: StoredCall) -> None:
        """See `Store.put_call`."""
        self._put(
            _PUT_CALL,
            (
                call.call_id,
                call.app_id,
                call.function_id,
                call.kind,
                call.method,
                call.parent,
                call.created,
                call.closed,
                call.num_inputs,
                call.cancelled,
                call.finished,
                call.expired,
            ),
        )

    def put_chunk(self, call_id: str, chunk: StoredChunk) -> None:
        """See `Store.put_chunk`."""
        payload = chunk.payload
        row = (call_id, chunk.start, chunk.count, chunk.encoding, _pack(payload.sizes), _blob(payload))
        self._put(_PUT_CHUNK, row)

    def close_call(self, call_id: str, num_inputs: int) -> None:
        """See `Store.close_call`."""
        self._put(_CLOSE_CALL, (num_inputs, call_id))

    def cancel_call(self, call_id: str) -> None:
        """See `Store.cancel_call`."""
        self._put(_CANCEL_CALL, (call_id,))

    def put_output(self, call_id: str, output: Output) -> None:
        """See `Store.put_output`."""
        failure = None if output.failure is None else _pack(output.failure)
        row = (call_id, output.start, output.count, failure, _pack(output.payload.sizes), _blob(output.payload))
        self._put(_PUT_OUTPUT, row)

    def finish_call(self, call_id: str, finished: float, graph: list[InputInfo]) -> None:
        """See `Store.finish_call`."""
        self._put(_FINISH_CALL, (finished, _pack(graph), call_id))
        self._put(_DROP_CHUNKS, (call_id,))

    def drop_call(self, call_id: str) -> None:
        """See `Store.drop_call`."""
        for statement in (_DROP_CHUNKS, _DROP_OUTPUTS, _DROP_CALL):
            self._put(statement, (call_id,))

    def expire(self, outputs_before: float, calls_before: float) -> None:
        """See `Store.expire`."""
        self._put(_EXPIRE_OUTPUTS, (outputs_before,))
        self._put(_EXPIRE_CALLS, (outputs_before,))
        self._put(_DELETE_CALLS, (calls_before,))

    # --- reading -----------------------------------------------------------------------------------------------------

    async def load_catalogue(self) -> Catalogue:
        """See `Store.load_catalogue`."""
        return read_catalogue(self._reader)

    async def load_web_ports(self) -> list[StoredWebPort]:
        """See `Store.load_web_ports`."""
        rows = self._reader.execute("SELECT app_id, function_id, method, port FROM web_ports")
        return [StoredWebPort(*row) for row in rows]

    async def load_unfinished(self) -> list[Unfinished]:
        """See `Store.load_unfinished`."""
        rows = self._reader.execute(f"SELECT {_CALL_COLUMNS} FROM calls WHERE finished IS NULL ORDER BY created, rowid")
        return [self._unfinished(_call(row)) for row in rows.fetchall()]

    async def find_call(self, call_id: str) -> StoredCall | None:
        """See `Store.find_call`."""
        row = self._one(f"SELECT {_CALL_COLUMNS} FROM calls WHERE call_id = ?", call_id)
        return None if row is None else _call(row)

    async def list_calls(self, app_id: str | None, unfinished: bool, limit: int) -> list[StoredCall]:
        """See `Store.list_calls`."""
        conditions = ["app_id = ?"] * (app_id is not None) + ["finished IS NULL"] * unfinished
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        values = (limit,) if app_id is None else (app_id, limit)
        rows = self._reader.execute(f"SELECT {_CALL_COLUMNS} FROM calls {where}ORDER BY rowid DESC LIMIT ?", values)
        return [_call(row) for row in rows.fetchall()]

    async def find_output(self, call_id: str, index: int) -> Output | None:
        """See `Store.find_output`."""
        row = self._one(
            "SELECT start, count, failure, sizes, payload FROM outputs WHERE call_id = ? AND start <= ? "
            "ORDER BY start DESC LIMIT 1",
            call_id,
            index,
        )
        if row is None or index >= row[0] + row[1]:
            return None
        start, count, failure, sizes, payload = row
        return Output(start, count, None if failure is None else _failure.decode(failure), _payload(sizes, payload))

    async def find_graph(self, call_id: str) -> list[InputInfo]:
        """See `Store.find_graph`."""
        row = self._one("SELECT graph FROM calls WHERE call_id = ?", call_id)
        return [] if row is None or row[0] is None else _graph.decode(row[0])

    async def figures(self) -> StoreFigures:
        """See `Store.figures`."""
        writer = self._writer
        (calls,) = self._one("SELECT count(*) FROM calls")
        return StoreFigures(calls, writer.queued, writer.commits, writer.failed, writer.rows, writer.seconds)

    def _one(self, statement: str, *values: Any) -> Any:
        return self._reader.execute(statement, values).fetchone()

    def _unfinished(self, call: StoredCall) -> Unfinished:
        chunks = [
            StoredChunk(start, count, Encoding(encoding), _payload(sizes, payload))
            for start, count, encoding, sizes, payload in self._reader.execute(
                "SELECT start, count, encoding, sizes, payload FROM chunks WHERE call_id = ? ORDER BY start",
                (call.call_id,),
            )
        ]
        done = self._reader.execute(
            "SELECT start, start + count FROM outputs WHERE call_id = ? ORDER BY start", (call.call_id,)
        )
        return Unfinished(call, chunks, done.fetchall())


def read_catalogue(database: sqlite3.Connection) -> Catalogue:
    """All apps in a database of the present version."""
    read = database.execute
    apps = [
        StoredApp(app_id, environment, name, AppState(state), created, version, stopped)
        for app_id, environment, name, state, created, version, stopped in read("SELECT * FROM apps")
    ]
    deployments = [
        msgspec.msgpack.decode(data, type=StoredDeployment)
        for (data,) in read("SELECT data FROM deployments ORDER BY app_id, version")
    ]
    variants = [msgspec.msgpack.decode(data, type=StoredVariant) for (data,) in read("SELECT data FROM variants")]
    schedules = [msgspec.msgpack.decode(data, type=StoredSchedule) for (data,) in read("SELECT data FROM schedules")]
    return Catalogue(apps, deployments, variants, schedules)


def _connect(path: Path) -> sqlite3.Connection:
    # The writer's is made here and used in its thread.
    database = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    return database


def _call(row: Any) -> StoredCall:
    call_id, app_id, function_id, kind, method, parent, created, closed, num_inputs, cancelled, *end = row
    finished, expired, failed = end
    return StoredCall(
        call_id,
        app_id,
        function_id,
        CallKind(kind),
        method,
        parent,
        created,
        bool(closed),
        num_inputs,
        bool(cancelled),
        finished,
        bool(expired),
        failed,
    )


def _blob(payload: Payload) -> Buffer:
    return payload.parts[0] if len(payload.parts) == 1 else b"".join(payload.parts)


def _payload(sizes: bytes, data: bytes) -> Payload:
    decoded = _sizes.decode(sizes)
    return Payload(decoded, [data]) if decoded else EMPTY
