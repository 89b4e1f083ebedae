"""This process's terminal, lent to programs in containers.

While a container has it, it is in raw mode: what is typed, Ctrl-C included, goes to the container as it is, and what
comes from there is shown as it is. Its settings are put back whatever ends that.
"""

import asyncio
import os
import signal
import sys
import termios
import threading
import tty
from types import FrameType, TracebackType
from typing import Any

from modal_lite import output
from modal_lite._core.ids import new_id
from modal_lite._core.interfaces import Connection
from modal_lite._core.messages import TerminalSpec
from modal_lite._core.requests import NextOutput, ResizeTerminal, TerminalOutput, TypeIn
from modal_lite.exception import Error, InvalidError

_SIZE_INTERVAL = 0.1
"""Seconds between two looks at the terminal's size. A handler of SIGWINCH can be set in the main thread only, where the
program may have one of its own."""
_READ_SIZE = 4 << 10
_DEADLY = (signal.SIGTERM, signal.SIGHUP)


def check_terminal(purpose: str) -> None:
    """Raises InvalidError, with what it is needed for, if standard input or output is no terminal."""
    for fd, name in ((0, "input"), (1, "output")):
        if not os.isatty(fd):
            raise InvalidError(
                f"{purpose} needs a terminal, and standard {name} of this process is none. "
                "Start the program on a terminal, without redirecting its input or output."
            )


class CallersTerminal:
    """A context manager: the terminal can be lent within the block, and is as it was after it.

    Args:
        purpose: What it is needed for, for the error.

    Raises:
        InvalidError: Standard input or output is no terminal.
    """

    def __init__(self, purpose: str) -> None:
        check_terminal(purpose)
        self.terminal_id = new_id("te")
        # One of our own: what does not block here would not block in other processes either, the user's shell say.
        self._fd = os.open(os.ttyname(0), os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
        self._attributes: list[Any] | None = None
        """What to restore; None while nobody has the terminal."""
        self._timer: asyncio.TimerHandle | None = None
        self._size: os.terminal_size | None = None
        self._handled: list[int] = []

    def __enter__(self) -> "CallersTerminal":
        if threading.current_thread() is threading.main_thread():
            for number in _DEADLY:
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, self._die)
                    self._handled.append(number)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._restore()
        os.close(self._fd)
        for number in self._handled:
            if signal.getsignal(number) == self._die:
                signal.signal(number, signal.SIG_DFL)

    def spec(self) -> TerminalSpec:
        """What it is like."""
        size = os.get_terminal_size(self._fd)
        return TerminalSpec(size.lines, size.columns, os.environ.get("TERM", "dumb"))

    async def serve(self, connection: Connection) -> None:
        """Lends it to containers, on the library's loop, until it is closed."""
        try:
            while not (reply := await self._next(connection)).closed:
                if reply.attached:
                    self._lend(connection)
                    await self._show(reply.data)
                else:
                    self._take_back()
        finally:
            self._take_back()

    async def _next(self, connection: Connection) -> TerminalOutput:
        try:
            reply: TerminalOutput = await connection.request(NextOutput(self.terminal_id))
        except Error:
            return TerminalOutput(b"", attached=False, closed=True)  # With its app.
        return reply

    def _lend(self, connection: Connection) -> None:
        if self._attributes is not None:
            return
        manager = output.current()
        if manager is not None:
            manager.hold()
        _flush()
        self._attributes = termios.tcgetattr(self._fd)
        tty.setraw(self._fd, termios.TCSANOW)
        asyncio.get_running_loop().add_reader(self._fd, self._typed, connection)
        self._size = None
        self._look_at_size(connection)

    def _take_back(self) -> None:
        if self._attributes is None:
            return
        asyncio.get_running_loop().remove_reader(self._fd)
        if self._timer is not None:
            self._timer.cancel()
        self._restore()
        manager = output.current()
        if manager is not None:
            manager.resume()

    def _restore(self) -> None:
        attributes, self._attributes = self._attributes, None
        if attributes is not None:
            try:
                termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
            except termios.error:
                pass  # The terminal is gone.

    def _typed(self, connection: Connection) -> None:
        try:
            data = os.read(self._fd, _READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            connection.notify(TypeIn(self.terminal_id, data))
        else:
            # The terminal is gone, and SIGHUP on its way.
            asyncio.get_running_loop().remove_reader(self._fd)

    async def _show(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        unsent = memoryview(data)
        while unsent:
            try:
                unsent = unsent[os.write(self._fd, unsent) :]
            except (BlockingIOError, InterruptedError):
                writable = asyncio.Event()
                loop.add_writer(self._fd, writable.set)
                try:
                    await writable.wait()
                finally:
                    loop.remove_writer(self._fd)
            except OSError:
                return  # Nobody can see it.

    def _look_at_size(self, connection: Connection) -> None:
        try:
            size = os.get_terminal_size(self._fd)
        except OSError:
            return
        if size != self._size:
            self._size = size
            connection.notify(ResizeTerminal(self.terminal_id, size.lines, size.columns))
        self._timer = asyncio.get_running_loop().call_later(_SIZE_INTERVAL, self._look_at_size, connection)

    def _die(self, number: int, frame: FrameType | None) -> None:
        """Does what the signal does by default, but for the terminal."""
        self._restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
