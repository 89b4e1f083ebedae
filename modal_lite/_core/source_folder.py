"""Source snapshots where they are used: from the server's folder to that of a machine that runs containers."""

import os
import tempfile
from pathlib import Path

import msgspec

from modal_lite._core.messages import ContainerSpec, MainModule
from modal_lite._core.snapshot import File, is_digest, pack
from modal_lite.exception import ExecutionError

CACHE_VARIABLE = "MODAL_LITE_CACHE_DIR"


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

    `MODAL_LITE_CACHE_DIR` names it; the default is in the folder for temporary files. What is in it is there by its
    digest, and may be deleted when no container runs.

    Raises:
        OSError: It cannot be made, or is another user's.
    """
    given = os.environ.get(CACHE_VARIABLE)
    folder = Path(given) if given else Path(tempfile.gettempdir()) / f"modal-lite-cache-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; name another one by {CACHE_VARIABLE}")
    return folder


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
