"""The thread that listens to the plane while user code runs."""

import os
import select
import signal
import socket
import threading
import time
import traceback

from modal_lite._core.messages import (
    CancelInput,
    ContainerControl,
    GeneratorCredit,
    Leaving,
    Recall,
    RequestBytes,
    Stop,
)
from modal_lite._transport.blocking import BlockingChannel, ConnectionClosed
from modal_lite._worker.executor import INTERRUPT_SIGNAL, Executor, Target
from modal_lite._worker.leases import Leases
from modal_lite._worker.terminal import ContainerTerminal

TERM_GRACE = 1.0
"""Seconds to leave within after SIGTERM or SIGINT."""
_STOP, _INTERRUPT, _LOOK, _HEEDED = b"\xf0", b"\xf1", b"\xf2", b"\xf3"
"""What is written to wake the thread: all is to end; the running inputs are; there is something new to be watched; a
signal was seen to. Numbers of signals are smaller."""
_SEEN_TO = (signal.SIGTERM, signal.SIGINT)
_FIRST_NUDGE = 0.001
_LAST_NUDGE = 0.05
_FIRST_LOOK, _LAST_LOOK = 0.001, 1.0
"""Seconds between two looks for leases that were to be given back before they had arrived."""
_LAST_PROD = 0.5
"""Seconds after which a signal that nobody has seen to is left alone: user code has a handler of its own."""


class Control:
    """Carries out what the plane asks for, and ends the process when the plane is gone, whatever user code does.

    Attributes:
        executor: What runs leases; None until the user's function is loaded.
        status: The exit status to leave with after a stop.
        terminal: The caller's, for user code to attach.
    """

    def __init__(self, channel: BlockingChannel, leases: Leases, data: socket.socket) -> None:
        self.executor: Executor | None = None
        self.status = 0
        self._channel = channel
        self._leases = leases
        leases.tell = channel.send
        self._data = data
        self._nudge_after: float | None = None
        self._prod_after: float | None = None
        self._look_after: float | None = None
        self._deadline = 0.0
        self._exit_grace = 0.0
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self.terminal = ContainerTerminal(channel.send, lambda: self._write_wake(_LOOK), leases.before_report)

    @property
    def fds(self) -> list[int]:
        """Descriptors of its own."""
        return [self._wake_reader, self._wake_writer]

    def start(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._run, name="modal_lite-control", daemon=True).start()

    def watch_signals(self) -> None:
        """Has signals wake the thread, too; to be called in the main thread, before any comes.

        The interpreter runs their handlers in the main thread, when that next runs Python code. If it was about to
        wait for something at that moment, it waits first: for ever, were it not prodded.
        """
        signal.signal(INTERRUPT_SIGNAL, lambda signum, frame: None)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)

    def heed(self) -> None:
        """For signal handlers: the signal is seen to, and nothing is asked of this thread."""
        self._write_wake(_HEEDED)

    def request_stop(self, status: int) -> None:
        """For signal handlers: the container is to leave with this status. Takes no locks, starts no thread."""
        self.status = status
        self._write_wake(_STOP)

    def request_interrupt(self) -> None:
        """For signal handlers: Ctrl-C was typed for what runs."""
        self._write_wake(_INTERRUPT)

    def leave_within(self, grace: float) -> None:
        """Ends the process after `grace` seconds, if it has not ended then."""
        self._deadline = time.monotonic() + grace

        def leave() -> None:
            # It may be put off while this sleeps.
            while (left := self._deadline - time.monotonic()) > 0:
                time.sleep(left)
            os._exit(self.status)

        threading.Thread(target=leave, name="modal_lite-leave", daemon=True).start()

    def grant_exits(self) -> None:
        """Exit hooks begin: they may take as long as the plane has said, if it was the plane that ended the inputs."""
        if self._exit_grace:
            self._deadline = time.monotonic() + self._exit_grace

    def _write_wake(self, what: bytes) -> None:
        try:
            os.write(self._wake_writer, what)
        except OSError:
            pass  # Requested often enough already, or this is a fork of the container.

    def _run(self) -> None:
        try:
            while True:
                self._wait()
                self._handle(*self._channel.recv())
        except ConnectionClosed:
            # The data channel's end wakes the main thread too, but it may be busy, for ever.
            os._exit(self.status)
        except BaseException:
            # Without this thread nobody could stop the container.
            traceback.print_exc()
            os._exit(1)

    def _wait(self) -> None:
        """Returns when a message has arrived; sees to everything else meanwhile."""
        while not self._channel.buffered:
            poll = select.poll()
            poll.register(self._channel.fileno(), select.POLLIN)
            poll.register(self._wake_reader, select.POLLIN)
            terminal = self.terminal.events()
            if terminal is not None:
                poll.register(*terminal)
            delay, prod, look = self._nudge_after, self._prod_after, self._look_after
            waits = [seconds * 1000 for seconds in (delay, prod, look) if seconds is not None]
            ready = {fd for fd, _ in poll.poll(min(waits, default=None))}
            if delay is not None and not ready:
                self._nudge(delay)
            if prod is not None and not ready:
                self._prod(prod)
            if look is not None and not ready:
                self._look(look)
            if self._wake_reader in ready:
                self._woken(os.read(self._wake_reader, 64))
            if terminal is not None and terminal[0] in ready:
                self.terminal.pass_on()
            if self._channel.fileno() in ready:
                return

    def _woken(self, wanted: bytes) -> None:
        if any(number in wanted for number in _SEEN_TO):
            self._prod_after = _FIRST_NUDGE
        if any(seen in wanted for seen in (_STOP, _INTERRUPT, _HEEDED)):
            self._prod_after = None
        if _STOP in wanted:
            self._stop(TERM_GRACE, 0.0, told=False)
        elif _INTERRUPT in wanted:
            for found in self._leases.under_way():
                self._interrupt(Target(*found, typed=True))

    def _nudge(self, delay: float) -> None:
        if self.executor is not None and self.executor.nudge():
            self._nudge_after = min(2 * delay, _LAST_NUDGE)
        else:
            self._nudge_after = None

    def _prod(self, delay: float) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, INTERRUPT_SIGNAL)
        self._prod_after = 2 * delay if delay < _LAST_PROD else None

    def _look(self, delay: float) -> None:
        self._leases.return_late()
        self._look_after = min(2 * delay, _LAST_LOOK) if self._leases.awaited else None

    def _handle(self, message: ContainerControl, body: memoryview) -> None:
        match message:
            case RequestBytes():
                exchange = self._leases.exchanges.get(message.lease_id)
                if exchange is not None:
                    exchange.feed(bytes(body))
            case Recall():
                self._leases.recall(message.lease_id)
                self._look_for_late()
            case CancelInput():
                found = self._leases.interrupt(message.lease_id, message.index, message.timed_out)
                if found is not None:
                    self._interrupt(Target(*found, message.timed_out))
                self._look_for_late()
            case GeneratorCredit():
                if self.executor is not None:
                    self.executor.credit(message.lease_id, message.consumed)
            case Stop():
                self._stop(message.grace, message.exits)
            case _:
                self.terminal.handle(message)

    def _look_for_late(self) -> None:
        if self._leases.awaited:
            self._look_after = _FIRST_LOOK

    def _interrupt(self, target: Target) -> None:
        if self.executor is not None:
            self.executor.interrupt(target)
            self._nudge_after = _FIRST_NUDGE

    def _stop(self, grace: float, exits: float, told: bool = True) -> None:
        """Has the container leave; the plane is let know if it has not told it to."""
        if self.executor is None:
            os._exit(self.status)
        self._exit_grace = exits
        # First of all, for what follows may have to wait for the main thread.
        self.leave_within(grace)
        if not told:
            self._leases.channel.send(Leaving())
        for found in self._leases.stop():
            self._interrupt(Target(*found))
        try:
            self._data.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # The plane has closed it.
        self.executor.wake()
