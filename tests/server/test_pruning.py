"""What a server deletes by itself, and what it must not."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modal_lite._core.requests import DeployApp, DeployedFunction, FunctionDefinition, Source
from modal_lite._core.settings import FunctionSettings
from modal_lite._server.app_logs import AppLogs
from modal_lite._server.catalogue import Catalogue, DeployedApp
from modal_lite._server.pruning import KEEP_SNAPSHOTS, KEEP_STOPPED, KEEP_VERSIONS, remove_snapshots, touch
from modal_lite._store.sqlite import SqliteStore
from modal_lite.exception import NotFoundError


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "state.db")
    yield made
    await made.close()


@pytest.fixture
def catalogue(store: SqliteStore, tmp_path: Path) -> Catalogue:
    return Catalogue(store, tmp_path / "snapshots")


def deploy(catalogue: Catalogue, name: str, digest: str) -> DeployedApp:
    definition = FunctionDefinition("", "", "", "f", "mod", "f", None, None, False, FunctionSettings(), {})
    source = Source(digest, [], [], "/x", None, "3.11")
    return catalogue.deploy(DeployApp("main", name, [DeployedFunction(definition, False)], source))


async def stored(store: SqliteStore) -> set[tuple[str, int]]:
    await store.committed()
    found = await store.load_catalogue()
    return {(each.app_id, each.version) for each in found.deployments}


async def test_old_versions_go_unless_something_runs_on_them(store: SqliteStore, catalogue: Catalogue) -> None:
    for i in range(KEEP_VERSIONS + 10):
        app = deploy(catalogue, "app", f"digest-{i + 1}")
    app_id, last = app.stored.app_id, KEEP_VERSIONS + 10
    in_use = {(app_id, 3), (app_id, last), ("ap-other", 4)}
    assert catalogue.prune(in_use, 0.0) == []
    kept = {3, *range(last - KEEP_VERSIONS, last + 1)}
    assert set(app.deployments) == kept and await stored(store) == {(app_id, version) for version in kept}
    assert catalogue.needed_snapshots(in_use) == {f"digest-{version}" for version in kept}
    with pytest.raises(NotFoundError, match="has no version 1; there are 3, 10, 11"):
        catalogue.roll_back(app, 1)
    assert deploy(catalogue, "app", "digest").stored.version == last + 1


async def test_a_version_that_was_rolled_back_to_keeps_its_source(catalogue: Catalogue) -> None:
    app = deploy(catalogue, "app", "first")
    for _ in range(KEEP_VERSIONS + 5):
        deploy(catalogue, "app", "later")
    catalogue.roll_back(app, 1)
    catalogue.prune(set(), 0.0)
    assert 1 not in app.deployments and catalogue.needed_snapshots(set()) == {"first", "later"}


async def test_apps_that_were_stopped_go_later_and_their_sources_at_once(
    store: SqliteStore, catalogue: Catalogue
) -> None:
    app, other = deploy(catalogue, "app", "a"), deploy(catalogue, "other", "b")
    catalogue.stop(app)
    app_id, ended = app.stored.app_id, app.stored.stopped
    assert ended is not None
    # Its containers are in their exit hooks.
    assert catalogue.needed_snapshots({(app_id, 1)}) == {"a", "b"}
    assert catalogue.needed_snapshots(set()) == {"b"}
    assert catalogue.prune(set(), ended + KEEP_STOPPED - 1) == [] and len(await stored(store)) == 2
    assert catalogue.prune({(app_id, 1)}, ended + KEEP_STOPPED + 1) == []
    assert catalogue.prune(set(), ended + KEEP_STOPPED + 1) == [app_id]
    assert catalogue.apps() == [other] and await stored(store) == {(other.stored.app_id, 1)}


def test_snapshots_that_nothing_needs(tmp_path: Path) -> None:
    now = 1e9
    for name, age in (
        ("needed", 1e6),
        ("old", KEEP_SNAPSHOTS + 1),
        ("fresh", KEEP_SNAPSHOTS - 1),
        (".new-abc", 1e6),
        (".new-now", 1.0),
        ("asked-for", 1e6),
    ):
        (tmp_path / name / "0").mkdir(parents=True)
        (tmp_path / name / "0" / "module.py").touch()
        os.utime(tmp_path / name, (now - age, now - age))
    touch(tmp_path / "asked-for")
    touch(tmp_path / "unknown")
    assert sorted(remove_snapshots(tmp_path, {"needed"}, now)) == [".new-abc", "old"]
    assert sorted(os.listdir(tmp_path)) == [".new-now", "asked-for", "fresh", "needed"]


def test_the_logs_of_an_app_that_is_gone(tmp_path: Path) -> None:
    logs = AppLogs(tmp_path)
    for name in ("ap-1.jsonl", "ap-1.jsonl.1", "ap-2.jsonl"):
        (tmp_path / name).touch()
    logs.remove("ap-1")
    logs.remove("ap-unknown")
    assert os.listdir(tmp_path) == ["ap-2.jsonl"]
