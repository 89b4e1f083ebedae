"""Source snapshots: files as bytes under a digest of their paths and contents."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath

import msgspec

from modal_lite.exception import InvalidError

MAX_FILES = 10_000
MAX_BYTES = 256 << 20
"""Bytes of all files of a snapshot."""


class File(msgspec.Struct, frozen=True, array_like=True):
    """A file of a snapshot."""

    path: str
    """Relative, with `/` between its parts."""
    executable: bool
    content: bytes


_decoder = msgspec.msgpack.Decoder(list[File])


def pack(files: list[File]) -> tuple[str, bytes]:
    """The digest of the files and the bytes they travel as: equal for equal files in whatever order."""
    data = msgspec.msgpack.encode(sorted(files, key=lambda file: file.path))
    return _digest(data), data


def unpack(digest: str, data: bytes, folder: Path) -> None:
    """Writes a snapshot to `folder/digest`, all of it or nothing.

    Raises:
        InvalidError: The bytes are no snapshot, are not those of the digest, or a path leads out of the folder.
        OSError: It cannot be written.
    """
    if len(data) > 2 * MAX_BYTES or _digest(data) != digest:
        raise InvalidError("The source snapshot was damaged on its way: its digest is another one.")
    try:
        files = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise InvalidError(f"This is no source snapshot: {error}") from None
    if len(files) > MAX_FILES or sum(len(file.content) for file in files) > MAX_BYTES:
        raise InvalidError("The source snapshot is too large.")
    for file in files:
        _check(file.path)
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    try:
        for file in files:
            path = new / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            path.chmod(0o755 if file.executable else 0o644)
        _put_in_place(new, folder / digest)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def is_digest(text: str) -> bool:
    """True for what `pack` gives as a digest; anything else must not become part of a path."""
    return len(text) == 64 and all(character in "0123456789abcdef" for character in text)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def _check(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\0" in path or "\\" in path or ".." in parts or len(path) > 1000:
        raise InvalidError(f"The source snapshot has a file {path!r:.200}, which would be outside of its folder.")


def _put_in_place(new: Path, place: Path) -> None:
    try:
        os.rename(new, place)
    except OSError:
        # Somebody else has put the same there meanwhile.
        if not place.is_dir():
            raise
