"""The terminals of clients, each lent to one container at a time.

A container may have so many bytes of output under way (`TERMINAL_WINDOW`) until the client has taken them, so that a
flood of it waits in the program that writes. It gives the terminal back in three steps: it is done; the client has
shown everything and has its terminal as it was; the container is told so, and goes on.
"""

import asyncio
from collections import deque

import msgspec

from modal_lite._core.messages import (
    FromContainerControl,
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
from modal_lite._core.requests import OpenTerminal, ResizeTerminal, TerminalOutput, TypeIn
from modal_lite._server.containers import ContainerLink
from modal_lite.exception import NotFoundError

_NONE = (
    "There is no terminal for {tag}: this is for programs that are started on one, and say so. "
    "Start this one with `modal-lite run -i`, or run the app with `app.run(interactive=True)`, or call the function "
    "with `.shell(...)`."
)


class Attachment:
    """A container that has a terminal, or waits for it.

    Args:
        link: The container.
        number: That of its request; None if it has had the terminal since it started.
    """

    def __init__(self, link: ContainerLink, number: int | None) -> None:
        self.link = link
        self.number = number
        self.unread = bytearray()
        self.done = False


class Terminal:
    """A client's terminal, in the order of the containers that want it."""

    def __init__(self, request: OpenTerminal) -> None:
        self.app_id = request.app_id
        self.function_id = request.function_id
        self.spec = request.terminal
        self._line: deque[Attachment] = deque()
        """The first has it, the others wait."""
        self._attached = False
        """Whether the client knows that a container has it."""
        self._closed = False
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def attach(self, link: ContainerLink, number: int | None) -> None:
        """The container wants it, in a request of that number, or has it from its start."""
        self._line.append(Attachment(link, number))
        self._idle.clear()
        if len(self._line) == 1:
            self._grant()

    def wrote(self, link: ContainerLink, data: bytes) -> None:
        """Output of a container."""
        attachment = self._find(link)
        if attachment is not None:
            attachment.unread += data
            self._changed.set()

    def done(self, link: ContainerLink) -> None:
        """The container is done with it, waits for it no more, or is gone."""
        attachment = self._find(link)
        if attachment is None:
            return
        if attachment is self._line[0]:
            attachment.done = True
        else:
            self._line.remove(attachment)
        self._changed.set()

    def typed(self, data: bytes) -> None:
        """Input from the client, for whichever container has the terminal."""
        if self._line:
            self._line[0].link.control.send(TerminalTyped(data))

    def resized(self, rows: int, columns: int) -> None:
        """The client's terminal has a new size."""
        self.spec = msgspec.structs.replace(self.spec, rows=rows, columns=columns)
        for attachment in self._line:
            attachment.link.control.send(TerminalResized(rows, columns))

    async def next_output(self) -> TerminalOutput:
        """What the client is to do next, having done what it was told before."""
        if self._line and self._line[0].done and not self._attached and not self._line[0].unread:
            self._release()
        while True:
            if self._closed:
                return TerminalOutput(b"", False, closed=True)
            if self._line:
                first = self._line[0]
                if first.unread or not (self._attached or first.done):
                    self._attached = True
                    return TerminalOutput(self._take(first), True)
                if first.done:
                    self._attached = False
                    return TerminalOutput(b"", False)
            self._changed.clear()
            await self._changed.wait()

    async def drained(self) -> None:
        """Returns when no container has it any more."""
        await self._idle.wait()

    def close(self) -> None:
        """Nobody can have it any more."""
        self._closed = True
        for attachment in self._line:
            if attachment.number is not None and attachment is not self._line[0]:
                attachment.link.control.send(TerminalRefused(attachment.number, "The caller's terminal was closed."))
            else:
                attachment.link.control.send(TerminalReleased())
        self._line.clear()
        self._idle.set()
        self._changed.set()

    def _take(self, attachment: Attachment) -> bytes:
        data = bytes(attachment.unread)
        attachment.unread.clear()
        if data:
            attachment.link.control.send(TerminalTaken(len(data)))
        return data

    def _grant(self) -> None:
        first = self._line[0]
        if first.number is not None:
            first.link.control.send(TerminalGranted(first.number, self.spec))
        self._changed.set()

    def _release(self) -> None:
        self._line.popleft().link.control.send(TerminalReleased())
        if self._line:
            self._grant()
        else:
            self._idle.set()

    def _find(self, link: ContainerLink) -> Attachment | None:
        # One whose request was given up may be in the line still, before that for its next one.
        return next((attachment for attachment in reversed(self._line) if attachment.link is link), None)


class Terminals:
    """Those that are open, and which container has which."""

    def __init__(self) -> None:
        self._open: dict[str, Terminal] = {}
        self._of_container: dict[str, Terminal] = {}

    def open(self, request: OpenTerminal) -> None:
        """A client offers its terminal."""
        self._open[request.terminal_id] = Terminal(request)

    def get(self, terminal_id: str) -> Terminal | None:
        """The terminal, None if it is not open any more."""
        return self._open.get(terminal_id)

    def find(self, terminal_id: str) -> Terminal:
        """An open terminal. Raises NotFoundError."""
        terminal = self.get(terminal_id)
        if terminal is None:
            raise NotFoundError(f"The terminal {terminal_id} is not open any more.")
        return terminal

    def spec_for(self, function_id: str) -> TerminalSpec | None:
        """The terminal that containers of the function have from their start."""
        terminal = self._of_function(function_id)
        return None if terminal is None else terminal.spec

    def started(self, link: ContainerLink) -> None:
        """The container runs, with the terminal that it was given."""
        terminal = self._of_function(link.definition.function_id)
        if terminal is not None:
            self._of_container[link.container_id] = terminal
            terminal.attach(link, None)

    def said(self, link: ContainerLink, message: FromContainerControl) -> None:
        """The container says something about its terminal."""
        terminal = self._of_container.get(link.container_id)
        match message:
            case TerminalWanted():
                terminal = self._for_app(link.definition.app_id)
                if terminal is None:
                    link.control.send(TerminalRefused(message.number, _NONE.format(tag=link.definition.tag)))
                    return
                self._of_container[link.container_id] = terminal
                terminal.attach(link, message.number)
            case TerminalWrote():
                if terminal is not None:
                    terminal.wrote(link, message.data)
                else:
                    # It was closed; what the program goes on writing is not to block it.
                    link.control.send(TerminalTaken(len(message.data)))
            case TerminalDone():
                if terminal is not None:
                    terminal.done(link)
                else:
                    link.control.send(TerminalReleased())

    def gone(self, link: ContainerLink) -> None:
        """The container is no more."""
        terminal = self._of_container.pop(link.container_id, None)
        if terminal is not None:
            terminal.done(link)

    def tell(self, request: TypeIn | ResizeTerminal) -> None:
        """What the client says of an open terminal; nothing happens to others."""
        terminal = self._open.get(request.terminal_id)
        if terminal is None:
            return
        if isinstance(request, TypeIn):
            terminal.typed(request.data)
        else:
            terminal.resized(request.rows, request.columns)

    def close(self, terminal_id: str) -> None:
        """The client takes its terminal back. Safe to call again."""
        terminal = self._open.pop(terminal_id, None)
        if terminal is not None:
            terminal.close()
            self._of_container = {key: value for key, value in self._of_container.items() if value is not terminal}

    def close_all(self, app_id: str | None = None) -> None:
        """Closes those of an app, or all."""
        for terminal_id, terminal in list(self._open.items()):
            if app_id is None or terminal.app_id == app_id:
                self.close(terminal_id)

    def _of_function(self, function_id: str) -> Terminal | None:
        return next((t for t in self._open.values() if t.function_id == function_id), None)

    def _for_app(self, app_id: str) -> Terminal | None:
        return next((t for t in self._open.values() if t.function_id is None and t.app_id == app_id), None)
