"""The GPUs of this machine, found without a library that drives them."""

import os
import shutil
import subprocess
from pathlib import Path

_DRIVER = Path("/proc/driver/nvidia/gpus")
_PATIENCE = 10.0
"""Seconds that the driver's tool may take; the first use after a boot is slow."""


def present_gpus() -> list[str]:
    """The devices, as `CUDA_VISIBLE_DEVICES` names them. Blocks, for seconds where the tool has to be asked.

    Where that variable is set in this process's environment, they are those that it names: this program has been given
    no others.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return _named(visible)
    count = len(list(_DRIVER.iterdir())) if _DRIVER.is_dir() else _count_by_tool()
    return [str(number) for number in range(count)]


def _named(visible: str) -> list[str]:
    devices: list[str] = []
    for name in map(str.strip, visible.split(",")):
        if not name or name.startswith("-") or name in devices:
            break  # What follows an invalid name is invisible, by CUDA's rule.
        devices.append(name)
    return devices


def _count_by_tool() -> int:
    """Where the driver has no such directory (WSL)."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return len([line for line in listed.stdout.splitlines() if line.startswith("GPU ")])
