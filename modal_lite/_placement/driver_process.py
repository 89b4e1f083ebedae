"""The server's side of the process that speaks with Ray: starts it, and again when it has ended."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from modal_lite._core.driver_messages import Connected, FromDriver, Known, Trouble
from modal_lite._transport.channel import Channel
from modal_lite._transport.forks import close_in_forks

logger = logging.getLogger("modal_lite.ray")

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before it is started again, from the first time in a row to the last."""
SILENCE = 60.0
"""Seconds without a word after which it is ended: Ray keeps it waiting."""
_POLL = 0.05
_END_WAIT = 3.0
"""Seconds that it may take to do what it was asked last, and to end."""


class DriverProcess:
    """The process that speaks with Ray, one after the other.

    Args:
        words: Its arguments; Ray's address is the first.
        known: Says what it has to know first of all.
        on_message: Takes what it says.
        on_lost: Told, with the reason, that there is none at the moment.

    Attributes:
        connected: It has found Ray.
        trouble: Why it has not; empty while it has.
    """

    def __init__(
        self,
        words: list[str],
        known: Callable[[], Known],
        on_message: Callable[[Any], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.connected = False
        self.trouble = "it is being started"
        self.pid: int | None = None
        self._words = words
        self._known = known
        self._on_message = on_message
        self._on_lost = on_lost
        self._channel: Channel | None = None
        self._heard = False
        self._reason = ""
        """Why the process that runs, or ran last, is of no use."""

    def send(self, message: msgspec.Struct) -> None:
        """Sends a message, if there is a process to take it."""
        if self._channel is not None:
            self._channel.send(message)

    async def keep(self) -> None:
        """Runs it again and again, until this is cancelled. No process is left then."""
        delay = FIRST_DELAY
        while True:
            try:
                if await self._run():
                    delay = FIRST_DELAY
            except OSError as error:
                # For want of descriptors, processes or memory, which may be there later.
                self.trouble = f"the process that speaks with Ray could not be started: {error}"
            logger.warning("no connection to Ray: %s", self.trouble)
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)

    async def _run(self) -> bool:
        """One process, from its start to its end. Returns True if it had found Ray."""
        ours, theirs = socket.socketpair()
        close_in_forks(ours)
        ended = asyncio.Event()
        try:
            with theirs:
                process = _launch(theirs, self._words)
        except BaseException:
            ours.close()
            raise
        self.pid = process.pid
        self._reason = ""
        self._channel = Channel(ours, FromDriver, self._received, lambda error: ended.set())
        try:
            self._channel.send(self._known())
            while True:
                self._heard = False
                try:
                    async with asyncio.timeout(SILENCE):
                        await ended.wait()
                    break
                except TimeoutError:
                    if not self._heard:
                        self._reason = self._silent()
                        process.kill()
                        break
        finally:
            was_connected, self.connected = self.connected, False
            self.trouble = self._reason or "the process that speaks with Ray has ended; more is in the server's log"
            self.pid = None
            self._channel.close()
            self._channel = None
            self._on_lost()
            await _end(process)
        return was_connected

    def _silent(self) -> str:
        address, *_ = self._words
        hint = (
            "" if "://" in address else ": on a machine that is no node of it, RAY_ADDRESS has to be ray://host:10001"
        )
        return f"no answer from Ray at {address} in {SILENCE:g} seconds{hint}"

    def _received(self, message: Any, body: memoryview) -> None:
        self._heard = True
        if isinstance(message, Connected):
            self.connected, self.trouble = True, ""
        elif isinstance(message, Trouble):
            self._reason = message.reason
            return
        self._on_message(message)


def _launch(theirs: socket.socket, words: list[str]) -> "subprocess.Popen[bytes]":
    parent = str(Path(__file__).parents[2])
    path = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if parent in sys.path and parent not in path:
        path.append(parent)
    return subprocess.Popen(  # Its standard error is the server's.
        [sys.executable, "-P", "-m", "modal_lite._placement.ray_driver", str(theirs.fileno()), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
        env=os.environ | ({"PYTHONPATH": os.pathsep.join(path)} if path else {}),
    )


async def _end(process: "subprocess.Popen[bytes]") -> None:
    """Leaves no process, also if this is cancelled."""
    try:
        deadline = asyncio.get_running_loop().time() + _END_WAIT
        # No event for the end of a process exists on every platform.
        while process.poll() is None and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)
    finally:
        process.kill()
        process.wait()
