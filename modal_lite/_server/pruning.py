"""What a server deletes by itself: old versions of apps, apps stopped long ago, sources that nothing needs."""

import os
import shutil
import time
from pathlib import Path

KEEP_VERSIONS = 20
"""Versions of a deployed app that it can be rolled back to; older ones go once no call runs on them."""
KEEP_STOPPED = 30 * 86400.0
"""Seconds from the end of an app until nothing is known of it."""
KEEP_SNAPSHOTS = 3600.0
"""Seconds that a snapshot is kept without being needed: its client may be about to deploy it."""


def remove_snapshots(folder: Path, needed: set[str], now: float) -> list[str]:
    """Deletes the snapshots, and what is left of unfinished ones, that nothing has needed for a while.

    Args:
        folder: Of all snapshots.
        needed: The names of those that are kept.
        now: Seconds since the epoch.

    Returns:
        The names of those that are gone.

    Raises:
        OSError: The folder cannot be read.
    """
    removed = []
    for entry in list(os.scandir(folder)):
        if entry.name not in needed and entry.stat(follow_symlinks=False).st_mtime < now - KEEP_SNAPSHOTS:
            place = Path(entry.path)
            if not entry.name.startswith("."):
                # Away at once: half of a snapshot must not be taken for a whole one.
                place = place.rename(folder / f".old-{entry.name}")
            shutil.rmtree(place, ignore_errors=True)
            removed.append(entry.name)
    return removed


def touch(snapshot: Path) -> None:
    """Somebody is about to need the snapshot. Nothing happens if it does not exist."""
    try:
        os.utime(snapshot, (time.time(), time.time()))
    except FileNotFoundError:
        pass
