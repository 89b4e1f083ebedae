"""Backups: of files of earlier versions as well."""

import shutil
import sqlite3
import tarfile
from pathlib import Path

import pytest

from modal_lite._core.data_directory import DataDirectory
from modal_lite._server.backup import back_up
from modal_lite._store.schema import VERSION
from modal_lite.exception import ExecutionError, NotFoundError
from tests.store.test_migrations import FIRST

DIGEST = "ab" * 32


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path / "data")
    made.create()
    shutil.copy(FIRST, made.state)
    return made


def test_a_file_of_the_first_version_becomes_one_of_the_present(directory: DataDirectory, tmp_path: Path) -> None:
    for digest in (DIGEST, "cd" * 32):
        (directory.snapshots / digest).mkdir()
        (directory.snapshots / digest / "module.py").write_text("x = 1")
    back_up(directory, tmp_path / "backup.tar")
    with tarfile.open(tmp_path / "backup.tar") as archive:
        names = archive.getnames()
        archive.extract("state.db", tmp_path, filter="data")
    assert names == ["state.db", f"snapshots/{DIGEST}", f"snapshots/{DIGEST}/module.py"]
    for path, version in ((tmp_path / "state.db", VERSION), (directory.state, 1)):
        database = sqlite3.connect(path)
        assert database.execute("PRAGMA user_version").fetchone() == (version,)
        database.close()


def test_a_backup_that_fails_leaves_the_one_before(directory: DataDirectory, tmp_path: Path) -> None:
    target = tmp_path / "backup.tar"
    target.write_text("before")
    with pytest.raises(ExecutionError, match="Make it once more"):
        back_up(directory, target)
    assert target.read_text() == "before" and sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "data"]


def test_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        back_up(DataDirectory(tmp_path / "nowhere"), tmp_path / "backup.tar")
