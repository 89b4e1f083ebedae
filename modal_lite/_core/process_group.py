"""Process groups: each container leads one, with what user code has started there."""

import os
import signal


def kill_group(leader: int) -> None:
    """Kills what is left of the group, if anything is; its leader may be gone."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # Nothing left (macOS says EPERM for a group of zombies).
