"""Source snapshots: nothing of them gets out of their folder."""

import contextlib
import hashlib
import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modal_lite._core import snapshot
from modal_lite._core.snapshot import File, is_digest, pack, unpack
from modal_lite.exception import InvalidError

FILES = [File("0/b/c.sh", True, b"run"), File("0/a.py", False, b"x = 1")]


def test_round_trip(tmp_path: Path) -> None:
    digest, data = pack(FILES)
    unpack(digest, data, tmp_path)
    unpack(digest, data, tmp_path)
    assert (tmp_path / digest / "0" / "a.py").read_bytes() == b"x = 1"
    assert (tmp_path / digest / "0/b/c.sh").stat().st_mode & 0o777 == 0o555
    assert (tmp_path / digest / "0/a.py").stat().st_mode & 0o777 == 0o444
    assert [entry.name for entry in tmp_path.iterdir()] == [digest]


def test_the_digest_is_of_paths_and_contents() -> None:
    digest, _ = pack(FILES)
    assert is_digest(digest) and pack(FILES[::-1])[0] == digest
    assert pack([File("0/z.py", False, b"x = 1"), FILES[0]])[0] != digest
    assert not is_digest("../etc") and not is_digest("A" * 64)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../up", "a/../../b", "", "a\0b", "..", "a\\..\\b", ".", "a//b", "./a"]
)
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    digest, data = pack([File(path, False, b"x")])
    with pytest.raises(InvalidError, match="outside of its folder"):
        unpack(digest, data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_found(tmp_path: Path) -> None:
    digest, data = pack(FILES)
    with pytest.raises(InvalidError, match="digest"):
        unpack(digest, data + b"x", tmp_path)
    with pytest.raises(InvalidError, match="digest"):
        unpack("0" * 64, data, tmp_path)


def test_what_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    data = msgspec.msgpack.encode({"a": 1})
    with pytest.raises(InvalidError, match="no source snapshot"):
        unpack(hashlib.blake2b(data, digest_size=32).hexdigest(), data, tmp_path)


def refused(tmp_path: Path, files: list[File], message: str) -> None:
    """The snapshot is refused, and leaves nothing behind."""
    digest, data = pack(files)
    with pytest.raises(InvalidError, match=message):
        unpack(digest, data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_too_long(tmp_path: Path) -> None:
    refused(tmp_path, [File("x" * 256, False, b"")], "too long")
    refused(tmp_path, [File("\xe4" * 200, False, b"")], "too long")
    refused(tmp_path, [File("x/" * 500 + "x", False, b"")], "too long")


def test_one_name_twice(tmp_path: Path) -> None:
    refused(tmp_path, [File("a", False, b"1"), File("a", False, b"2")], "'a' twice")
    refused(tmp_path, [File("a", False, b"1"), File("a/b", False, b"2")], "'a' twice")


def test_names_that_differ_in_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files where the file system tells them apart; else refused, rather than one written over the other."""
    digest, data = pack([File("a.py", False, b"1"), File("A.py", False, b"2")])
    unpack(digest, data, tmp_path)
    assert (tmp_path / digest / "a.py").read_bytes() + (tmp_path / digest / "A.py").read_bytes() == b"12"
    (tmp_path / digest).rename(tmp_path.parent / "moved")
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: opened(path.with_name(path.name.replace("a", "A")), mode))
    with pytest.raises(InvalidError, match="but for its case"):
        unpack(digest, data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_too_many_and_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MAX_FILES", 2)
    refused(tmp_path, [File(str(i), False, b"") for i in range(3)], "too large")
    monkeypatch.setattr(snapshot, "MAX_BYTES", 3)
    refused(tmp_path, [File("a", False, b"1234")], "too large")
    monkeypatch.setattr(snapshot, "MAX_PACKED", 3)
    refused(tmp_path, [File("a", False, b"")], "too large")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(st.sampled_from("a./\\\0b"), max_size=6), st.binary(max_size=3)), max_size=4))
def test_whatever_the_paths(tmp_path: Path, files: list[tuple[str, bytes]]) -> None:
    """All files are where they belong, or nothing is written anywhere."""
    folder = tmp_path / "all" / "snapshots"
    folder.mkdir(parents=True)
    digest, data = pack([File(path, False, content) for path, content in files])
    try:
        unpack(digest, data, folder)
    except InvalidError:
        assert list(folder.iterdir()) == []
    else:
        written = {p.relative_to(folder / digest).as_posix() for p in folder.rglob("*") if p.is_file()}
        assert written == {path for path, _ in files}
    assert [entry.name for entry in tmp_path.iterdir()] == ["all"]
    assert [entry.name for entry in (tmp_path / "all").iterdir()] == ["snapshots"]
    shutil.rmtree(tmp_path / "all")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_whatever_the_bytes(tmp_path: Path, data: bytes) -> None:
    with contextlib.suppress(InvalidError):
        unpack(hashlib.blake2b(data, digest_size=32).hexdigest(), data, tmp_path)
