"""The template: a process with the container runtime imported and nothing of the user's, from which containers fork.

It has one thread, or forking would not be safe. It lives as long as the other end of its socket is open; containers end
with it.

A snapshot process is a template that was forked from the template and has loaded one function, or one class with its
parameters. It has sockets of its own, and is a container to the template that it comes from.
"""

import errno
import gc
import importlib
import os
import select
import signal
import socket
import time
import traceback
from types import FrameType
from typing import NoReturn

from modal_lite._core import pickler  # noqa: F401  (imported here, once for all containers)
from modal_lite._core.messages import (
    ContainerSpec,
    Exited,
    Failure,
    Fork,
    Forked,
    ForkFailed,
    Kill,
    SnapshotTaken,
    StartFailed,
    TakeSnapshot,
    ToContainer,
    ToTemplate,
)
from modal_lite._core.payload import Payload
from modal_lite._core.process_group import kill_group, kill_sessions
from modal_lite._transport.blocking import BlockingChannel, ConnectionClosed
from modal_lite._worker.entry import Descriptors, run_container
from modal_lite._worker.process import die_with, keep_memory
from modal_lite._worker.snapshot import Snapshot, SnapshotDescriptors, take_snapshot

_COUNT = len(Descriptors._fields)
_END_WAIT = 1.0
"""Seconds that containers, if they are snapshot processes, may take to end by themselves as this one does."""
_POLL = 0.001


class Template:
    """Forks, reaps and signals containers as it is told over `frames`.

    Their descriptors come over `descriptors`, with one byte for each Fork or TakeSnapshot, in the order of these
    messages.

    Args:
        frames: The socket for messages.
        descriptors: The socket for descriptors.
        snapshot: What a snapshot process has; None for the template itself.
    """

    def __init__(self, frames: socket.socket, descriptors: socket.socket, snapshot: Snapshot | None = None) -> None:
        self._channel = BlockingChannel(frames, ToTemplate)
        self._frames = frames
        self._descriptors = descriptors
        self._snapshot = snapshot
        self._containers: dict[int, str] = {}
        self._snapshots: set[int] = set()
        self._asked_to_end = False
        self._with_terminal: set[int] = set()
        self._pid = os.getpid()
        self._wake_reader, self._wake_writer = os.pipe()

    def run(self) -> None:
        """Serves until the other end closes the connection; ends what is left of the containers then.

        A snapshot process also ends on SIGTERM, once its containers have, which get the signal from it.
        """
        os.set_blocking(self._wake_writer, False)
        os.set_blocking(self._wake_reader, False)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self._snapshot is None:
            # Imports what the containers' own call of it needs.
            importlib.invalidate_caches()
            keep_memory()
        else:
            signal.signal(signal.SIGTERM, _do_nothing)
        # What is here now stays; leaving it out of the containers' collections keeps its pages shared with them.
        gc.freeze()
        try:
            if self._snapshot is not None:
                self._channel.send(SnapshotTaken(self._snapshot.failure is not None, self._snapshot.obstacles))
                self._asked_to_end = bool(self._snapshot.obstacles)
            while self._containers or not self._asked_to_end:
                ready, _, _ = select.select([self._frames.fileno(), self._wake_reader], [], [])
                if self._wake_reader in ready:
                    self._drain_wakeups()
                    self._reap()
                if self._frames.fileno() in ready:
                    self._receive()
        except ConnectionClosed:
            self._end_all()

    def _receive(self) -> None:
        while True:
            message, _ = self._channel.recv()
            match message:
                case Fork():
                    self._fork(message.spec.container_id, message)
                case TakeSnapshot():
                    self._fork(message.snapshot_id, message)
                case Kill():
                    self._signal(message)
            if not self._channel.buffered:
                return

    def _fork(self, container_id: str, message: Fork | TakeSnapshot) -> None:
        _, fds, flags, _ = socket.recv_fds(self._descriptors, 1, _COUNT)
        if self._snapshot is not None and self._snapshot.failure is not None:
            self._refuse(container_id, fds, *self._snapshot.failure)
            return
        try:
            if flags & socket.MSG_CTRUNC:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            pid = os.fork()
        except OSError as error:
            self._channel.send(ForkFailed(container_id, f"fork: {os.strerror(error.errno or 0)}"))
        else:
            if pid == 0:
                self._become(message, fds)
            self._containers[pid] = container_id
            if isinstance(message, TakeSnapshot):
                self._snapshots.add(pid)
            if message.spec.terminal is not None:
                self._with_terminal.add(pid)
            self._channel.send(Forked(container_id, pid))
        finally:
            for fd in fds:
                os.close(fd)

    def _refuse(self, container_id: str, fds: list[int], failure: Failure, payload: Payload) -> None:
        """Reports for a container that it cannot start, without a fork: this process may have any number of threads."""
        given = Descriptors(*fds)
        channel = BlockingChannel(socket.socket(fileno=given.data), ToContainer)
        try:
            channel.send(StartFailed(failure, payload.sizes), payload)
        except ConnectionClosed:
            pass  # Nobody wants to know any more.
        finally:
            channel.close()
            for fd in fds:
                if fd != given.data:
                    os.close(fd)
        self._channel.send(Forked(container_id, self._pid))
        self._channel.send(Exited(container_id, 1))

    def _become(self, message: Fork | TakeSnapshot, fds: list[int]) -> NoReturn:
        """A fork's whole life."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # A session, and with it a group, of its own: what it leaves running can be ended with it, and it can have a
            # terminal.
            os.setsid()
            die_with(self._pid)
            self._frames.close()
            self._descriptors.close()
            os.close(self._wake_reader)
            os.close(self._wake_writer)
            if isinstance(message, Fork):
                status = self._run_container(message.spec, Descriptors(*fds))
            else:
                status = _run_snapshot(message.spec, SnapshotDescriptors(*fds))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _run_container(self, spec: ContainerSpec, fds: Descriptors) -> int:
        if self._snapshot is None:
            gc.enable()
            return run_container(spec, fds)
        return run_container(spec, fds, self._snapshot.loaded)

    def _signal(self, kill: Kill) -> None:
        for pid, container_id in self._containers.items():
            if container_id == kill.container_id:
                os.kill(pid, kill.signal)

    def _drain_wakeups(self) -> None:
        try:
            while numbers := os.read(self._wake_reader, 512):
                if signal.SIGTERM in numbers:
                    self._asked_to_end = True
                    for pid in self._containers:
                        os.kill(pid, signal.SIGTERM)
        except BlockingIOError:
            pass

    def _reap(self) -> None:
        for pid, container_id in list(self._containers.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._forget(pid)
                self._channel.send(Exited(container_id, os.waitstatus_to_exitcode(status)))

    def _forget(self, pid: int) -> None:
        del self._containers[pid]
        self._snapshots.discard(pid)
        kill_group(pid)
        if pid in self._with_terminal:
            self._with_terminal.discard(pid)
            kill_sessions({pid})

    def _end_all(self) -> None:
        for pid in self._containers.keys() - self._snapshots:
            os.kill(pid, signal.SIGKILL)
        # Any of them may have asked for a terminal.
        kill_sessions(set(self._containers) - self._snapshots)
        # These see their own connections end, too, and end what their containers have left running.
        deadline = time.monotonic() + _END_WAIT
        while self._containers:
            try:
                # Only the plane's sending may have ended.
                self._reap()
            except ConnectionClosed:
                continue
            if time.monotonic() > deadline:
                for pid in self._snapshots:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_POLL)


def _do_nothing(signum: int, frame: FrameType | None) -> None:
    """SIGCHLD needs a handler for its wake-up to be written."""


def _run_snapshot(spec: ContainerSpec, fds: SnapshotDescriptors) -> int:
    gc.enable()
    snapshot = take_snapshot(spec, fds)
    Template(socket.socket(fileno=fds.frames), socket.socket(fileno=fds.descriptors), snapshot).run()
    return 0


def main(frames_fd: int, descriptors_fd: int) -> NoReturn:
    """Runs the template on the two sockets that it inherited, and ends the process."""
    Template(socket.socket(fileno=frames_fd), socket.socket(fileno=descriptors_fd)).run()
    # The caller waits for it, and an interpreter's own end takes every module apart first.
    os._exit(0)
