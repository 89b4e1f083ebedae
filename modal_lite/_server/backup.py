"""A copy of all that a server keeps, also while it runs: an archive with the files of a data directory."""

import os
import sqlite3
import tarfile
import tempfile
from pathlib import Path

from modal_lite._core.data_directory import DataDirectory
from modal_lite._core.stored import AppState
from modal_lite._store.schema import prepare
from modal_lite._store.sqlite import read_catalogue
from modal_lite.exception import ExecutionError, NotFoundError


def back_up(directory: DataDirectory, target: Path) -> None:
    """Writes apps, calls, results and source snapshots as of one moment to an archive, all of it or nothing.

    Args:
        directory: The server's.
        target: The archive, a tar file, replaced if there is one; compressed if its name ends with `.gz`.

    Raises:
        NotFoundError: There is nothing to back up.
        VersionError: It is that of a later modal-lite.
        ExecutionError: A version of an app was deleted meanwhile.
        OSError: It cannot be written.
        sqlite3.Error: The state cannot be read.
    """
    if not directory.state.exists():
        raise NotFoundError(f"There is no server's state in {directory.path}.")
    # Beside the target, for it is to be renamed; and for this user alone, as the data directory is.
    with tempfile.TemporaryDirectory(prefix=".modal-lite-backup-", dir=target.absolute().parent) as folder:
        state, archive = Path(folder, "state.db"), Path(folder, "archive")
        digests = _copy(directory.state, state)
        with tarfile.open(archive, "w:gz" if target.name.endswith(".gz") else "w") as tar:
            tar.add(state, directory.state.name)
            for digest in digests:
                _add_snapshot(tar, directory, digest)
        archive.chmod(0o600)
        os.replace(archive, target)


def _copy(source: Path, target: Path) -> list[str]:
    """Copies the state; returns the digests of the snapshots that the apps in it need."""
    original, copy = sqlite3.connect(source, timeout=60), sqlite3.connect(target, isolation_level=None)
    try:
        original.backup(copy)
        prepare(copy)  # It may be that of a server which has not been started since it was updated.
        found = read_catalogue(copy)
    finally:
        original.close()
        copy.close()
    deployed = {app.app_id for app in found.apps if app.state is AppState.DEPLOYED}
    return sorted({each.source.digest for each in found.deployments if each.app_id in deployed})


def _add_snapshot(tar: tarfile.TarFile, directory: DataDirectory, digest: str) -> None:
    try:
        tar.add(directory.snapshots / digest, f"{directory.snapshots.name}/{digest}")
    except FileNotFoundError:
        raise ExecutionError(
            f"The source snapshot {digest} was deleted while the backup was made. Make it once more."
        ) from None
