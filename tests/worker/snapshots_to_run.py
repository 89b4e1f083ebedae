"""Classes whose containers come from memory snapshots; each writes what happens to it into the file it is given."""

import asyncio
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import modal_lite

app = modal_lite.App("snapshots-to-run")
FOLDER = "SNAPSHOT_TEST_FOLDER"

if FOLDER in os.environ:
    with open(Path(os.environ[FOLDER]) / "imports", "a") as imports:
        imports.write("imported\n")


class Noted:
    path: str = modal_lite.parameter()

    def note(self, text: str) -> None:
        with open(self.path, "a") as file:
            file.write(text + "\n")


@app.cls()
class Life(Noted):
    @modal_lite.enter()
    async def enter_async(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.note(f"enter async, same loop: {self.loop is self.early_loop}")

    @modal_lite.enter()
    def enter_sync(self) -> None:
        self.note(f"enter sync in {os.environ.get('MODAL_TASK_ID')}")

    @modal_lite.enter(snap=True)
    async def early_async(self) -> None:
        self.early_loop = asyncio.get_running_loop()
        self.note("early async")

    @modal_lite.enter(snap=True)
    def early_sync(self) -> None:
        self.pid = os.getpid()
        print("early output")
        print("early error", file=sys.stderr)
        os.environ["SET_BY_HOOK"] = "hook"
        self.note(f"early sync in {os.environ.get('MODAL_TASK_ID')}")

    @modal_lite.method()
    def pids(self) -> tuple[int, int, int]:
        return self.pid, os.getppid(), os.getpid()

    @modal_lite.method()
    async def same_loop(self) -> bool:
        return asyncio.get_running_loop() is self.loop

    @modal_lite.method()
    def variable(self, name: str) -> str | None:
        return os.environ.get(name)

    @modal_lite.method()
    def say(self, text: str) -> None:
        print(text)

    @modal_lite.exit()
    def leave(self) -> None:
        self.note("exit")


@app.cls()
class Fails(Noted):
    @modal_lite.enter(snap=True)
    def fail(self) -> None:
        self.note("tried")
        while not Path(self.path + ".go").exists():
            time.sleep(0.001)
        raise LookupError("no such model")

    @modal_lite.method()
    def never(self) -> None: ...


@app.cls()
class Gate(Noted):
    """Enters when there is a file."""

    @modal_lite.enter(snap=True)
    def wait(self) -> None:
        self.note(str(os.getpid()))
        while not Path(self.path + ".go").exists():
            time.sleep(0.001)

    @modal_lite.method()
    def parent(self) -> int:
        return os.getppid()


@app.cls()
class Threads(Noted):
    @modal_lite.enter(snap=True)
    def start(self) -> None:
        self.note("early")
        threading.Thread(target=time.sleep, args=(60,), name="poller", daemon=True).start()

    @modal_lite.method()
    def threads(self) -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "poller"]


@app.cls()
class Gpu(Noted):
    @modal_lite.enter(snap=True)
    def use(self) -> None:
        class Cuda:
            @staticmethod
            def is_initialized() -> bool:
                return True

        class Torch:
            cuda = Cuda

        self.note("early")
        sys.modules["torch"] = Torch  # type: ignore[assignment]

    @modal_lite.method()
    def parent(self) -> int:
        return os.getppid()


@app.cls()
class Large(Noted):
    @modal_lite.enter(snap=True)
    def allocate(self) -> None:
        self.data = bytearray(os.urandom(1 << 20)) * 100

    @modal_lite.method()
    def memory(self) -> tuple[int, int]:
        """MiB of this process, and of those its own."""
        sizes = {}
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
            name, number, _ = line.split()
            sizes[name] = int(number) >> 10
        return sizes["Rss:"], sizes["Private_Dirty:"]


@app.cls()
class Chance(Noted):
    @modal_lite.enter(snap=True)
    def seed(self) -> None:
        import numpy

        random.seed(1)
        numpy.random.seed(1)
        self.dot = numpy.ones((300, 300)) @ numpy.ones((300, 300))  # Large enough for OpenBLAS's threads.

    @modal_lite.method()
    def draw(self) -> tuple[float, float]:
        import numpy

        return random.random(), float(numpy.random.rand())

    @modal_lite.method()
    def compute(self) -> float:
        return float((self.dot @ self.dot)[0, 0])


def ids(x: Any) -> tuple[int, int]:
    return os.getpid(), os.getppid()
