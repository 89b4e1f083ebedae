"""The app of the tests of memory snapshots."""

import os
import threading
import time
from pathlib import Path

import modal_lite

app = modal_lite.App("snapshots")


@app.cls(enable_memory_snapshot=True, max_containers=4)
class Model:
    name: str = modal_lite.parameter()

    @modal_lite.enter(snap=True)
    def load(self) -> None:
        print(f"loading {self.name}")
        self.loaded_by = os.getpid()

    @modal_lite.enter()
    def connect(self) -> None:
        self.connected_by = os.getpid()

    @modal_lite.method()
    def work(self, seconds: float) -> tuple[str, int, int, int]:
        time.sleep(seconds)
        return self.name, self.loaded_by, self.connected_by, os.getpid()


@app.cls(enable_memory_snapshot=True)
class Broken:
    @modal_lite.enter(snap=True)
    def load(self) -> None:
        raise FileNotFoundError("weights")

    @modal_lite.method()
    def work(self, x: int) -> int:
        return x


@app.cls(enable_memory_snapshot=True, startup_timeout=1)
class Hangs:
    path: str = modal_lite.parameter()

    @modal_lite.enter(snap=True)
    def load(self) -> None:
        with open(self.path, "a") as pids:
            pids.write(f"{os.getpid()}\n")
        if not Path(f"{self.path}.go").exists():
            time.sleep(60)

    @modal_lite.method()
    def work(self, x: int) -> int:
        return x


@app.cls(enable_memory_snapshot=True)
class Calls:
    @modal_lite.enter(snap=True)
    def load(self) -> None:
        same.remote(1)

    @modal_lite.method()
    def work(self, x: int) -> int:
        return x


@app.function(enable_memory_snapshot=True)
def same(x: int) -> int:
    return x


@app.cls(enable_memory_snapshot=True)
class Threads:
    @modal_lite.enter(snap=True)
    def start(self) -> None:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()

    @modal_lite.method()
    def work(self, x: int) -> int:
        return x
