"""Where a machine keeps the sources of what it runs, and for how long."""

import os
import tempfile
import threading
import time
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from modal_lite._core import source_folder
from modal_lite._core.snapshot import File, pack, unpack
from modal_lite._core.source_folder import CACHE_VARIABLE, UNUSED, cache_folder, drop_unused, is_cached


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder for caches, of one who has chosen no other folder; and one for temporary files."""
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home/.cache"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return user_cache_path("modal-lite", appauthor=False)


def stored(cache: Path, content: bytes, age: float = 0.0) -> Path:
    """A snapshot that was used so many seconds ago."""
    digest, data = pack([File("0/a/b.py", False, content)])
    unpack(digest, data, cache)
    return aged(cache / digest, age)


def aged(folder: Path, age: float) -> Path:
    then = time.time() - age
    os.utime(folder, (then, then))
    return folder


def test_sources_are_kept_where_the_system_removes_none(home: Path) -> None:
    assert cache_folder() == home / "snapshots" == cache_folder()
    assert cache_folder().stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_named(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "a/b"))
    assert cache_folder() == tmp_path / "a/b"
    assert not home.exists()


@pytest.mark.parametrize("trouble", ["cannot be made", "cannot be written", "leads elsewhere", "has no home"])
def test_a_user_whose_own_folder_cannot_be_used(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trouble: str
) -> None:
    if trouble == "cannot be made":
        home.parent.mkdir(parents=True)
        home.write_text("")
    elif trouble == "cannot be written":
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    elif trouble == "leads elsewhere":
        home.mkdir(parents=True)
        (home / "snapshots").symlink_to(tmp_path)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        monkeypatch.chdir(tmp_path)
    assert cache_folder() == tmp_path / "tmp" / f"modal-lite-cache-{os.getuid()}"
    assert not (tmp_path / "~").exists()


def test_links_and_folders_of_others_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "link"))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="link is a link; name the folder that it leads to by MODAL_LITE_CACHE"):
        cache_folder()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(PermissionError, match="belongs to another user; name another one by MODAL_LITE_CACHE_DIR"):
        cache_folder()


def test_what_is_not_used_for_long_is_removed(tmp_path: Path) -> None:
    fresh, old, used = (
        stored(tmp_path, name, age) for name, age in [(b"1", UNUSED / 2), (b"2", UNUSED * 2), (b"3", 9e9)]
    )
    others = [tmp_path / name for name in ("theirs", ".new-1", ".new-2")]
    for other in others:
        other.mkdir()
        (other / "file").write_text("")
        aged(other, UNUSED * 2)
    aged(others[1], 60)
    assert is_cached(tmp_path, used.name)
    drop_unused(tmp_path, time.time())
    assert not is_cached(tmp_path, old.name)
    assert set(tmp_path.iterdir()) == {fresh, used, others[0], others[1]}
    assert (used / "0/a/b.py").read_bytes() == b"3"


def test_hosts_that_remove_the_same_at_once(tmp_path: Path) -> None:
    for i in range(50):
        stored(tmp_path, str(i).encode(), UNUSED * 2)
    kept, ended = stored(tmp_path, b"kept"), []
    meet = threading.Barrier(4)

    def remove() -> None:
        meet.wait()
        drop_unused(tmp_path, time.time())
        ended.append(True)

    threads = [threading.Thread(target=remove) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 4
    assert list(tmp_path.iterdir()) == [kept]


def test_a_container_starts_though_nothing_can_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = stored(tmp_path, b"old", UNUSED * 2)

    def refuse(entry: Path) -> None:
        raise PermissionError(entry)

    monkeypatch.setattr(source_folder, "_drop", refuse)
    drop_unused(tmp_path, time.time())
    assert is_cached(tmp_path, old.name)
