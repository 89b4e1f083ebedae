"""Files of earlier versions become those of this one, with all that is in them."""

import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modal_lite._core.stored import AppState
from modal_lite._store import schema
from modal_lite._store.sqlite import SqliteStore

FIRST = Path(__file__).with_name("state-version-1.db")
"""A running app and one that was stopped, a finished call and an open one."""


def tables(path: Path) -> list[tuple[str, str]]:
    database = sqlite3.connect(path)
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    found = [(name, column) for name in names for _, column, *_ in database.execute(f"PRAGMA table_info({name})")]
    database.close()
    return found


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copy(FIRST, tmp_path / "state.db"))


@pytest.fixture
async def store(old: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(old)
    yield made
    await made.close()


def test_the_file_is_one_of_the_first_version(old: Path) -> None:
    database = sqlite3.connect(old)
    assert database.execute("PRAGMA user_version").fetchone() == (1,)
    database.close()


async def test_apps_of_the_first_version(store: SqliteStore) -> None:
    found = await store.load_catalogue()
    live, gone = sorted(found.apps, key=lambda app: app.state)
    assert (live.app_id, live.state, live.version, live.stopped) == ("ap-live", AppState.DEPLOYED, 2, None)
    assert gone.state is AppState.STOPPED and gone.stopped is not None and abs(gone.stopped - time.time()) < 60
    assert [(each.app_id, each.version) for each in found.deployments] == [
        (app, version) for app in ("ap-gone", "ap-live") for version in (1, 2)
    ]
    function, cls = found.deployments[-1].functions
    assert function.definition.tag == "live-f" and function.schedule is None and cls.methods == {"m": (True, False)}
    assert [variant.request.function_id for variant in found.variants] == ["fu-variant"]
    assert found.schedules == []


async def test_calls_of_the_first_version(store: SqliteStore) -> None:
    (unfinished,) = await store.load_unfinished()
    assert unfinished.call.call_id == "fc-open" and unfinished.done == [(0, 1)]
    assert [bytes(part) for chunk in unfinished.chunks for part in chunk.payload.parts] == [b"two inputs"]
    output = await store.find_output("fc-done", 0)
    assert output is not None and [bytes(part) for part in output.payload.parts] == [b"result"]


async def test_an_old_file_ends_with_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    for path in (old, tmp_path / "new.db"):
        await SqliteStore(path).close()
    assert tables(old) == tables(tmp_path / "new.db")


def test_a_step_that_fails_leaves_the_file_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables(old)
    broken = (schema._STEPS[0], "CREATE TABLE half (x); CREATE TABLE calls (y);")
    monkeypatch.setattr(schema, "_STEPS", broken)
    database = sqlite3.connect(old, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError, match="calls already exists"):
        schema.prepare(database)
    database.close()
    assert tables(old) == before
