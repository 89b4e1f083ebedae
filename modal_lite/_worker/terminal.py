"""The caller's terminal in a container.

The container has a pseudo-terminal of its own, made when it is first needed. While the terminal is attached, standard
input, output and error are this one; the control thread passes its bytes to and from the plane, at most
`TERMINAL_WINDOW` of them ahead of who reads them. Ctrl-C is a byte like others: it is the pseudo-terminal that makes a
signal of it, for the programs in the container.
"""

import os
import select
import sys
import threading
from collections.abc import Callable

import msgspec

from modal_lite._core.messages import (
    TERMINAL_WINDOW,
    TerminalControl,
    TerminalDone,
    TerminalGranted,
    TerminalRefused,
    TerminalReleased,
    TerminalResized,
    TerminalSpec,
    TerminalTaken,
    TerminalTyped,
    TerminalWanted,
    TerminalWrote,
)
from modal_lite._transport.forks import close_in_forks
from modal_lite._worker.process import flush_output, standard_input
from modal_lite._worker.pseudo_terminal import PseudoTerminal
from modal_lite.exception import InvalidError

_STANDARD = (0, 1, 2)


class ContainerTerminal:
    """Attaches the caller's terminal and gives it back; the control thread does the rest.

    Args:
        send: Sends a message to the plane.
        wake: Makes the control thread look at `events` again.
        on_interact: Given what gives the terminal back, calls it before the input that has asked for it is reported.

    Attributes:
        attached: Whether standard input, output and error are the terminal now.
    """

    def __init__(
        self,
        send: Callable[[msgspec.Struct], None],
        wake: Callable[[], None],
        on_interact: Callable[[Callable[[], None]], None],
    ) -> None:
        self.attached = False
        self._send = send
        self._wake = wake
        self._on_interact = on_interact
        self._turn = threading.Lock()
        """Held by the thread that attaches the terminal or gives it back."""
        self._number = 0
        """Of the last request; answers to others are too late."""
        self._answered = threading.Event()
        self._answer: TerminalGranted | TerminalRefused | None = None
        self._released = threading.Event()
        self._terminal: PseudoTerminal | None = None
        self._streams: _Streams | None = None
        self._untyped = bytearray()
        self._room = TERMINAL_WINDOW
        self._mark = b""
        """What is awaited in the output before it is over."""
        self._held = b""
        """The end of the output, if it may be the beginning of the mark."""

    # --- the thread that uses it -------------------------------------------------------------------------------------

    def interact(self) -> None:
        """Attaches the caller's terminal, once nobody else has it. Does nothing if that was done already.

        Raises:
            InvalidError: There is none.
        """
        with self._turn:
            if self.attached:
                return
            self._number += 1
            self._answered.clear()
            self._send(TerminalWanted(self._number))
            try:
                self._answered.wait()
            except BaseException:
                # Granted by now or not, it is not wanted any more.
                self._send(TerminalDone())
                raise
            if isinstance(self._answer, TerminalRefused):
                raise InvalidError(self._answer.reason)
            assert isinstance(self._answer, TerminalGranted)
            self._attach(self._answer.terminal)
            self._on_interact(self.release)

    def attach(self, spec: TerminalSpec) -> None:
        """Attaches the terminal that the container was given when it was started."""
        with self._turn:
            self._attach(spec)

    def release(self) -> None:
        """Gives the terminal back; returns when everything is shown on it. Does nothing if it is not attached."""
        with self._turn:
            if not self.attached or self._terminal is None or self._streams is None:
                return
            flush_output()
            self._streams.restore()
            self._streams = None
            self._released.clear()
            # Known before the terminal is let go of: all that comes until then is to be shown.
            self._mark = mark = os.urandom(16).hex().encode()
            self.attached = False
            self._terminal.write_mark(mark)
            self._wake()
            self._released.wait()

    def _attach(self, spec: TerminalSpec) -> None:
        if self._terminal is None:
            self._terminal = close_in_forks(PseudoTerminal())
        self._terminal.reset()
        self._terminal.resize(spec.rows, spec.columns)
        os.environ["TERM"] = spec.kind
        for name in ("COLUMNS", "LINES"):
            # They say how large a terminal was once, and would be believed.
            os.environ.pop(name, None)
        self._streams = _Streams(self._terminal.inner)
        self.attached = True
        self._wake()

    # --- the control thread ------------------------------------------------------------------------------------------

    def handle(self, message: TerminalControl) -> None:
        """Carries out what the plane says."""
        match message:
            case TerminalTyped():
                self._untyped += message.data
                self.pass_on()
            case TerminalTaken():
                self._room += message.count
            case TerminalResized():
                if self._terminal is not None:
                    self._terminal.resize(message.rows, message.columns)
            case TerminalReleased():
                self._untyped.clear()
                self._released.set()
            case TerminalGranted() | TerminalRefused() if message.number == self._number:
                self._answer = message
                self._answered.set()

    def events(self) -> tuple[int, int] | None:
        """The descriptor to be watched, and for what; None for none."""
        if self._terminal is None:
            return None
        wanted = select.POLLIN if self._room > 0 else 0
        if self._untyped and self.attached:
            wanted |= select.POLLOUT
        return (self._terminal.outer, wanted) if wanted else None

    def pass_on(self) -> None:
        """Passes on what can be passed on now, in both directions."""
        if self._terminal is None:
            return
        if self._untyped and self.attached:
            del self._untyped[: self._terminal.write(self._untyped)]
        while self._room > 0 and (data := self._terminal.read()) is not None:
            self._pass_output(data)

    def _pass_output(self, data: bytes) -> None:
        if not self.attached and not self._mark:
            return  # Of a program that was left running, and has the terminal to itself.
        data = self._held + data
        before, mark, _ = data.partition(self._mark) if self._mark else (data, b"", b"")
        self._held = b"" if mark else before[len(before) - _overlap(before, self._mark) :]
        shown = before[: len(before) - len(self._held)]
        if shown:
            self._room -= len(shown)
            self._send(TerminalWrote(shown))
        if mark:
            self._mark = b""
            self._send(TerminalDone())


class _Streams:
    """The terminal in the place of standard input, output and error, which are kept meanwhile."""

    def __init__(self, fd: int) -> None:
        flush_output()
        self._kept = [os.dup(each) for each in _STANDARD]
        self._stdin = sys.stdin
        for each in _STANDARD:
            os.dup2(fd, each)
        sys.stdin = sys.__stdin__ = standard_input()  # type: ignore[misc]

    def restore(self) -> None:
        sys.stdin = sys.__stdin__ = self._stdin  # type: ignore[misc, assignment]
        for each, kept in zip(_STANDARD, self._kept, strict=True):
            os.dup2(kept, each)
            os.close(kept)


def _overlap(data: bytes, mark: bytes) -> int:
    """How many bytes at the end of the data are the beginning of the mark."""
    return next((n for n in range(min(len(data), len(mark) - 1), 0, -1) if data.endswith(mark[:n])), 0)
