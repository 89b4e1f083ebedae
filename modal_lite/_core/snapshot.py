"""Source snapshots: files as bytes under a digest of their paths and contents."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

from modal_lite.exception import InvalidError

MAX_FILES = 10_000
MAX_BYTES = 256 << 20
"""Bytes of all files of a snapshot."""
MAX_PATH, MAX_PART = 1000, 255
"""Bytes of a path within a snapshot, and of each of its parts."""
MAX_PACKED = MAX_BYTES + MAX_FILES * (MAX_PATH + 16)
"""Bytes of a snapshot as it travels."""
NEW = ".new-"
"""What the names of folders begin with that are not complete yet."""


class File(msgspec.Struct, frozen=True, array_like=True):
    """A file of a snapshot."""

    path: str
    """Relative, with `/` between its parts."""
    executable: bool
    content: bytes


_TOO_LARGE = f"The source snapshot is too large: it can have {MAX_FILES} files and {MAX_BYTES >> 20} MiB."
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
    if len(data) > MAX_PACKED:
        raise InvalidError(_TOO_LARGE)
    if _digest(data) != digest:
        raise InvalidError("The source snapshot was damaged on its way: its digest is another one.")
    try:
        files = _decoder.decode(data)
    except (ValueError, RecursionError) as error:  # msgspec.DecodeError, and what it lets through of text
        raise InvalidError(f"This is no source snapshot: {error}") from None
    if len(files) > MAX_FILES or sum(len(file.content) for file in files) > MAX_BYTES:
        raise InvalidError(_TOO_LARGE)
    _check_paths([file.path for file in files])
    new = Path(tempfile.mkdtemp(prefix=NEW, dir=folder))
    try:
        for file in files:
            path = new / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with _created(path, file.path) as place:
                place.write(file.content)
            path.chmod(0o555 if file.executable else 0o444)  # a container changes none by mistake
        _put_in_place(new, folder / digest)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def is_digest(text: str) -> bool:
    """True for what `pack` gives as a digest; anything else must not become part of a path."""
    return len(text) == 64 and all(character in "0123456789abcdef" for character in text)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def _created(path: Path, name: str) -> BinaryIO:
    try:
        return path.open("xb")
    except FileExistsError:
        # Where the file system does not tell upper case from lower.
        raise InvalidError(f"The source snapshot has {name!r:.200} twice but for its case.") from None


def _check_paths(paths: list[str]) -> None:
    for path in paths:
        _check(path)
    files, folders = set(paths), {parent.as_posix() for path in paths for parent in PurePosixPath(path).parents}
    if len(files) < len(paths) or files & folders:
        twice = next((path for path in paths if path in folders or paths.count(path) > 1), "")
        raise InvalidError(f"The source snapshot has {twice!r:.200} twice.")


def _check(path: str) -> None:
    parts = PurePosixPath(path).parts
    strange = "/".join(parts) != path or path.startswith("/") or ".." in parts or "\0" in path or "\\" in path
    if not parts or strange:
        raise InvalidError(f"The source snapshot has a file {path!r:.200}, which would be outside of its folder.")
    if len(path.encode()) > MAX_PATH or max(len(part.encode()) for part in parts) > MAX_PART:
        raise InvalidError(f"The source snapshot has a file {path!r:.200}, whose name is too long.")


def _put_in_place(new: Path, place: Path) -> None:
    try:
        os.rename(new, place)
    except OSError:
        # Somebody else has put the same there meanwhile.
        if not place.is_dir():
            raise
