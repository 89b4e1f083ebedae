"""What the figures were measured on."""

import datetime
import os
import platform
import subprocess
from pathlib import Path

import psutil

from benchmarks import peers


def describe() -> dict[str, object]:
    """The machine, the Python, and the day, as far as the figures depend on them."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30)),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "peers": peers.installed(),
        "commit": commit(),
    }


def commit() -> str:
    """What is measured, as git names it; a `+` says that files were changed since."""
    command = ["git", "describe", "--always", "--abbrev=8", "--dirty=+"]
    try:
        described = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:  # there is no git
        return "unknown"
    return described.stdout.strip() or "unknown"


def processor() -> str:
    """The processor's name, or its architecture where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
