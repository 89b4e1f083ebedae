"""The host of one container on a machine of a cluster: `python -m modal_lite._worker.host`, told by its standard input.

It connects to the server, fetches what the container runs and the source that it needs, forks the container, and passes
on what a plane has by inheritance where the container is its own: output, signals, which input runs, how it ended. The
container's channels go to the server directly. It ends the container, and itself, when it does not hear of the server.
"""

import contextlib
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

import msgspec

from modal_lite._core.messages import ContainerSpec
from modal_lite._core.placed_messages import (
    BEAT,
    CLIENT,
    CONTROL,
    DATA,
    LINK,
    OUTPUT_PIECE,
    SILENCE,
    Arrived,
    Assigned,
    Beat,
    Ended,
    Refused,
    Signal,
    Source,
    ToHost,
    WantSource,
    Wrote,
)
from modal_lite._core.process_group import kill_group, kill_sessions
from modal_lite._core.snapshot import unpack
from modal_lite._core.source_folder import cache_folder, drop_unused, is_cached, localized, mark_used
from modal_lite._transport.blocking import BlockingChannel, ConnectionClosed
from modal_lite._transport.dialing import dial
from modal_lite._transport.progress import Progress
from modal_lite._worker.entry import Descriptors, run_container
from modal_lite._worker.process import die_with, keep_memory
from modal_lite.exception import Error

CONNECTED = b"connected\n"
"""What it writes to its standard output, once, when it has spoken with the server."""
Answer = TypeVar("Answer", Assigned, Source)
_FAREWELL = 5.0
"""Seconds in which the server should have taken the container's end in."""
_MARK = 24 * 3600.0
"""Seconds after which the source of a container that still runs is marked as used again."""


class Orders(msgspec.Struct, frozen=True):
    """What the host is told by its standard input."""

    url: str
    container_id: str
    token: str
    parent: int
    """The process that it is to end with."""


class HostFailed(Exception):
    """The container cannot be started, for this reason."""


class Host:
    """The container's host, connected to the server.

    Args:
        orders: As they came.
        link: The connection.
    """

    def __init__(self, orders: Orders, link: socket.socket) -> None:
        self._orders = orders
        # A send that the network takes nothing of must not keep this process from ending the container; nor must it,
        # before there is one, wait for ever for a server that is gone without a word.
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            link.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(BEAT * SILENCE), 0))
        self._socket = link
        self._channel = BlockingChannel(link, ToHost)
        self._progress = Progress()
        self._pid = 0
        self._status: int | None = None
        self._outputs: dict[int, bool] = {}
        """Descriptors of the container's output; True for stderr."""
        self._asked_to_end = False
        self._source: Path | None = None
        self._marked = 0.0
        """When the source was marked as used last."""
        self._selector = selectors.DefaultSelector()
        self._starts = threading.Event()
        """Set when the container is about to be forked."""
        self._beats = threading.Thread(target=self._beat_until_it_starts, daemon=True)

    def assignment(self) -> Assigned:
        """Introduces itself; what to run. Raises HostFailed if the server does not want it to."""
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        self._channel.send(Arrived(python, socket.gethostname()))
        self._beats.start()
        return self._answer(Assigned)[0]

    def _answer(self, kind: type[Answer]) -> tuple[Answer, memoryview]:
        """What the server answers, between its signs of life. Raises HostFailed if it refuses."""
        while True:
            message, body = self._channel.recv()
            if isinstance(message, Refused):
                raise HostFailed(message.reason)
            if isinstance(message, kind):
                return message, body

    def _beat_until_it_starts(self) -> None:
        """A source may take its time to arrive. In a thread, for the main one waits for it."""
        with contextlib.suppress(ConnectionClosed):  # Which the main thread finds out by itself.
            while not self._starts.wait(BEAT):
                self._channel.send(Beat(None))

    def fetch(self, assigned: Assigned) -> ContainerSpec:
        """The spec as it is to be here, where its source lies now. Raises OSError, InvalidError."""
        if assigned.digest is None:
            return localized(assigned.spec, assigned.folder, assigned.folder, sys.path)
        cache = cache_folder()
        self._source, self._marked = cache / assigned.digest, time.monotonic()
        if not is_cached(cache, assigned.digest):
            self._channel.send(WantSource())
            _, body = self._answer(Source)
            unpack(assigned.digest, bytes(body), cache)
            drop_unused(cache, time.time())
        return localized(assigned.spec, assigned.folder, str(self._source), sys.path)

    def start(self, spec: ContainerSpec, keys: dict[str, str]) -> None:
        """Forks the container. Raises OSError."""
        orders = self._orders
        ends = [dial(orders.url, orders.container_id, name, keys[name]) for name in (DATA, CONTROL, CLIENT)]
        outputs = [os.pipe(), os.pipe()]
        self._outputs = {read_end: error for (read_end, _), error in zip(outputs, (False, True), strict=True)}
        me = os.getpid()
        self._starts.set()
        self._beats.join()
        signal.signal(signal.SIGTERM, self.ask_to_end)
        self._pid = os.fork()
        if self._pid == 0:
            self._become(spec, ends, [write_end for _, write_end in outputs], me)
        for end in ends:
            end.close()
        for read_end, write_end in outputs:
            os.close(write_end)
            os.set_blocking(read_end, False)
        self._progress.close_fd()

    def serve(self) -> None:
        """Returns when the container and the server's interest in it have ended. Nothing is left of it then."""
        wake_reader, wake_writer = os.pipe()
        for end in (wake_reader, wake_writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        if self._reap():
            os.write(wake_writer, b"\0")  # It had ended before it could be noticed.
        for fd in (self._socket.fileno(), wake_reader, *self._outputs):
            self._selector.register(fd, selectors.EVENT_READ)
        try:
            self._serve(wake_reader)
        except ConnectionClosed:
            pass
        finally:
            self._end()

    def _serve(self, wake_reader: int) -> None:
        heard = beaten = time.monotonic()
        while not self._asked_to_end:
            ready = {key.fd for key, _ in self._selector.select(max(0.0, beaten + BEAT - time.monotonic()))}
            now = time.monotonic()
            if self._socket.fileno() in ready:
                heard = now
                self._receive()
            elif now - heard > BEAT * SILENCE:
                return
            for fd in ready & self._outputs.keys():
                self._pass_on(fd)
            if wake_reader in ready:
                os.read(wake_reader, 512)
                self._reap()
            if self._status is not None:
                self._report_end()
                return
            if now >= beaten + BEAT:
                beaten = now
                self._channel.send(Beat(self._progress.read()))
                self._keep_source(now)

    def _keep_source(self, now: float) -> None:
        """What is imported late must be there for as long as the container runs."""
        if self._source is not None and now >= self._marked + _MARK:
            self._marked = now
            mark_used(self._source)

    def _receive(self) -> None:
        while True:
            message, _ = self._channel.recv()
            if isinstance(message, Signal) and self._status is None:
                os.kill(self._pid, message.number)
            if not self._channel.buffered:
                return

    def _pass_on(self, fd: int) -> bool:
        """Passes on what the container has written; False if there is nothing now."""
        try:
            data = os.read(fd, OUTPUT_PIECE)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(fd)
            del self._outputs[fd]
            os.close(fd)
            return False
        self._channel.send(Wrote(self._outputs[fd], data))
        return True

    def _reap(self) -> bool:
        if self._status is None:
            ended, status = os.waitpid(self._pid, os.WNOHANG)
            if ended:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is not None

    def _report_end(self) -> None:
        """Tells what is left to be told, and waits until the server has closed the connection."""
        kill_group(self._pid)
        for fd in list(self._outputs):
            while self._pass_on(fd):
                pass
        self._channel.send(Ended(self._status, "", self._progress.read()))
        self.wait_for_farewell()

    def refuse(self, reason: str) -> None:
        """Tells that the container could not be started. Raises ConnectionClosed."""
        self._channel.send(Ended(None, reason, None))
        self.wait_for_farewell()

    def wait_for_farewell(self) -> None:
        """Returns, or raises ConnectionClosed, when the server has closed the connection, or should have."""
        deadline = time.monotonic() + _FAREWELL
        self._socket.settimeout(_FAREWELL)
        while time.monotonic() < deadline:
            self._channel.recv()

    def _end(self) -> None:
        """Leaves nothing of the container."""
        signal.set_wakeup_fd(-1)
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        kill_group(self._pid)
        kill_sessions({self._pid})
        self._socket.close()

    def ask_to_end(self, signum: int, frame: FrameType | None) -> None:
        """For SIGTERM once there is a container: the process to end with is gone, or wants this one to end."""
        self._asked_to_end = True

    def _become(self, spec: ContainerSpec, ends: list[socket.socket], outputs: list[int], parent: int) -> NoReturn:
        """The container's whole life."""
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            die_with(parent)
            self._socket.close()
            self._selector.close()
            for fd in self._outputs:
                os.close(fd)
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            os.close(null)
            data, control, client = [end.detach() for end in ends]
            status = run_container(spec, Descriptors(data, control, client, self._progress.fd, *outputs))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)


def main() -> int:
    """Runs a host. Returns the exit status; a reason for failure is on standard error."""
    orders = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    die_with(orders.parent, signal.SIGTERM)
    keep_memory()
    try:
        host = Host(orders, dial(orders.url, orders.container_id, LINK, orders.token))
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        # What is half unpacked does not stay.
        signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(1))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assigned = host.assignment()
    except (OSError, ConnectionClosed, HostFailed) as error:
        os.write(2, f"{socket.gethostname()} has no connection to the server at {orders.url}: {error}".encode())
        return 1
    os.write(1, CONNECTED)
    try:
        _serve(host, assigned)
    except ConnectionClosed:
        return 1
    return 0


def _serve(host: Host, assigned: Assigned) -> None:
    try:
        host.start(host.fetch(assigned), assigned.keys)
    except (OSError, HostFailed, Error) as error:
        host.refuse(f"it could not be started on {socket.gethostname()}: {error}")
    else:
        host.serve()


if __name__ == "__main__":
    sys.exit(main())
