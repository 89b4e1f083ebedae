"""Source snapshots: nothing of them gets out of their folder."""

from pathlib import Path

import msgspec
import pytest

from modal_lite._core.snapshot import File, is_digest, pack, unpack
from modal_lite.exception import InvalidError

FILES = [File("0/b/c.sh", True, b"run"), File("0/a.py", False, b"x = 1")]


def test_round_trip(tmp_path: Path) -> None:
    digest, data = pack(FILES)
    unpack(digest, data, tmp_path)
    unpack(digest, data, tmp_path)
    assert (tmp_path / digest / "0" / "a.py").read_bytes() == b"x = 1"
    assert (tmp_path / digest / "0/b/c.sh").stat().st_mode & 0o777 == 0o755
    assert [entry.name for entry in tmp_path.iterdir()] == [digest]


def test_the_digest_is_of_paths_and_contents() -> None:
    digest, _ = pack(FILES)
    assert is_digest(digest) and pack(FILES[::-1])[0] == digest
    assert pack([File("0/z.py", False, b"x = 1"), FILES[0]])[0] != digest
    assert not is_digest("../etc") and not is_digest("A" * 64)


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../b", "", "a\0b", "..", "a\\..\\b", "x" * 2000])
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
    import hashlib

    data = msgspec.msgpack.encode({"a": 1})
    with pytest.raises(InvalidError, match="no source snapshot"):
        unpack(hashlib.blake2b(data, digest_size=32).hexdigest(), data, tmp_path)
