"""Source snapshots where they are used: from the server's folder to that of a machine that runs containers."""

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from modal_lite._core.messages import ContainerSpec, MainModule
from modal_lite._core.snapshot import NEW, File, is_digest, pack
from modal_lite.exception import ExecutionError

CACHE_VARIABLE = "MODAL_LITE_CACHE_DIR"
UNUSED = 30 * 24 * 3600.0
"""Seconds after which a machine drops a snapshot that no container has used; it would be fetched again."""


def digest_in(spec: ContainerSpec, snapshots: Path) -> str | None:
    """The snapshot that the container's paths lie in, None for none."""
    prefix = str(snapshots) + os.sep
    for path in (*spec.sys_path, spec.cwd):
        if path.startswith(prefix) and is_digest(digest := path[len(prefix) :].partition(os.sep)[0]):
            return digest
    return None


def pack_folder(folder: Path) -> bytes:
    """The snapshot that was unpacked to the folder, which its digest names, as it travels.

    Raises:
        ExecutionError: Its files are not what they were.
        OSError: They cannot be read.
    """
    files = []
    for parent, folders, names in os.walk(folder):
        # What Python leaves beside the files that it imports from there.
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            path = Path(parent, name)
            files.append(File(path.relative_to(folder).as_posix(), os.access(path, os.X_OK), path.read_bytes()))
    digest, data = pack(files)
    if digest != folder.name:
        raise ExecutionError(f"The source snapshot {folder} was changed. Deploy the app anew.")
    return data


def cache_folder() -> Path:
    """This machine's folder for snapshots, made for this user alone.

    `MODAL_LITE_CACHE_DIR` names it; the default is in the user's folder for caches or, where that cannot be used, in
    the one for temporary files, where systems remove single files of a snapshot in time. What is in it is there by its
    digest, and may be deleted when no container runs.

    Raises:
        OSError: It cannot be made, is a link, or is another user's.
    """
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return _own(Path(given))
    # A user without a home has none that is absolute, of which newer versions of platformdirs raise RuntimeError.
    with contextlib.suppress(OSError, RuntimeError):
        usual = user_cache_path("modal-lite", appauthor=False) / "snapshots"
        if usual.is_absolute() and os.access(_own(usual), os.W_OK):
            return usual
    return _own(Path(tempfile.gettempdir()) / f"modal-lite-cache-{os.getuid()}")


def _own(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise PermissionError(f"{folder} is a link; name the folder that it leads to by {CACHE_VARIABLE}")
    if found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; name another one by {CACHE_VARIABLE}")
    return folder


def is_cached(cache: Path, digest: str) -> bool:
    """True if this machine has the snapshot, which counts as used then."""
    mark_used(cache / digest)
    return (cache / digest).is_dir()


def mark_used(source: Path) -> None:
    """Keeps a snapshot from being dropped for long."""
    with contextlib.suppress(OSError):  # It is not there, or in a folder that can only be read.
        os.utime(source)


def drop_unused(cache: Path, now: float) -> None:
    """Removes the snapshots that were not used for long, and what is left of those that were never complete.

    Hosts may do so at the same time.
    """
    for entry in list(cache.iterdir()):
        if not (is_digest(entry.name) or entry.name.startswith(NEW)):
            continue
        with contextlib.suppress(OSError):  # Another host was faster, or this one may not; it is not needed to start.
            if entry.lstat().st_mtime < now - UNUSED:
                _drop(entry)


def _drop(entry: Path) -> None:
    """Nobody finds a part of it meanwhile."""
    aside = Path(tempfile.mkdtemp(prefix=NEW, dir=entry.parent))
    try:
        entry.rename(aside / entry.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def localized(spec: ContainerSpec, theirs: str, ours: str, path: list[str]) -> ContainerSpec:
    """The spec with paths of this machine.

    Args:
        spec: With paths of the server's.
        theirs: The server's folder of the snapshot.
        ours: This machine's.
        path: The module path of this machine's interpreter, which follows the snapshot's folders.
    """

    def moved(place: str) -> str:
        inside = place == theirs or place.startswith(theirs + os.sep)
        return ours + place[len(theirs) :] if inside else place

    roots = [moved(entry) for entry in spec.sys_path if moved(entry) != entry]
    main = spec.main
    if main is not None and main.path is not None:
        main = MainModule(main.name, moved(main.path))
    cwd = moved(spec.cwd)
    return msgspec.structs.replace(
        spec,
        main=main,
        sys_path=list(dict.fromkeys([*roots, *path])),
        cwd=cwd if os.path.isdir(cwd) else tempfile.gettempdir(),
        file_path=None if spec.file_path is None else moved(spec.file_path),
    )
