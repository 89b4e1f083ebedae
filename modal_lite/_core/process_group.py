"""Process groups: each container leads one, with what user code has started there."""

import os
import signal


def kill_group(leader: int) -> None:
    """Kills what is left of the group, if anything is; its leader may be gone."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # Nothing left (macOS says EPERM for a group of zombies).


def kill_sessions(leaders: set[int]) -> None:
    """Ends what shells in containers have left running: the jobs of an interactive shell have groups of their own.

    Where there is no /proc, the SIGHUP that they get with the end of their terminal has to do.
    """
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not entry.isdecimal():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                # The name, in parentheses, may contain anything; behind it: state, parent, group, session.
                session = int(file.read().rpartition(b")")[2].split()[3])
            if session in leaders and int(entry) not in leaders:
                os.kill(int(entry), signal.SIGKILL)
        except (OSError, ValueError, IndexError):
            continue  # It has ended meanwhile.
