"""Classes for containers; each writes what happens to it into the file that it is given."""

import asyncio
import contextvars
import os
import signal
import threading
import time
from typing import Any

import modal_lite

app = modal_lite.App("classes-to-run")
entered = contextvars.ContextVar("entered", default="nothing")


class Noted:
    path: str = modal_lite.parameter()

    def note(self, text: str) -> None:
        with open(self.path, "a") as file:
            file.write(text + "\n")


@app.cls()
class Life(Noted):
    @modal_lite.enter()
    async def enter_async(self) -> None:
        await asyncio.sleep(0)
        self.loop = asyncio.get_running_loop()
        self.ticks = 0
        self.ticking = self.loop.create_task(self.tick())
        entered.set("async")
        self.note("enter async")

    @modal_lite.enter()
    def enter_sync(self) -> None:
        self.note(f"enter sync, main thread: {threading.current_thread() is threading.main_thread()}")

    async def tick(self) -> None:
        while True:
            self.ticks += 1
            await asyncio.sleep(0.001)

    @modal_lite.method()
    def sync(self, seconds: float = 0.0) -> int:
        self.note("sync")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            time.sleep(seconds)
            return self.ticks
        raise AssertionError("there is a loop")

    @modal_lite.method()
    async def same_loop(self) -> tuple[bool, str]:
        return asyncio.get_running_loop() is self.loop, entered.get()

    @modal_lite.method()
    async def sleep(self) -> None:
        self.note("sleeps")
        await asyncio.sleep(60)

    @modal_lite.method()
    def sleep_sync(self) -> None:
        self.note("sleeps")
        time.sleep(60)

    @modal_lite.method()
    def fail(self) -> None:
        raise ValueError("failed")

    @modal_lite.method()
    def interrupted(self) -> None:
        raise KeyboardInterrupt

    @modal_lite.exit()
    def exit_sync(self) -> None:
        self.note("exit sync")

    @modal_lite.exit()
    async def exit_async(self) -> None:
        await asyncio.sleep(0)
        self.note(f"exit async, same loop: {asyncio.get_running_loop() is self.loop}")


@app.cls()
class FailsToEnter(Noted):
    @modal_lite.enter()
    def start(self) -> None:
        raise LookupError("no such model")

    @modal_lite.method()
    def call(self) -> None: ...

    @modal_lite.exit()
    def stop(self) -> None:
        self.note("exit")


@app.cls()
class EntersForLong(Noted):
    @modal_lite.enter()
    def start(self) -> None:
        self.note("entering")
        time.sleep(60)

    @modal_lite.method()
    def call(self) -> None: ...

    @modal_lite.exit()
    def stop(self) -> None:
        self.note("exit")


@app.cls()
class ExitsBadly(Noted):
    @modal_lite.method()
    def call(self) -> int:
        return os.getpid()

    @modal_lite.exit()
    def first(self) -> None:
        raise RuntimeError("first exit")

    @modal_lite.exit()
    def second(self) -> None:
        self.note("second exit")

    @modal_lite.exit()
    def third(self) -> None:
        signal.pause()


@app.cls()
class NoDefaultInit:
    def __init__(self, number: int) -> None:
        if number < 0:
            raise ValueError("negative")
        self.number = number

    @modal_lite.method()
    def call(self, x: int) -> Any:
        return self.number, x
