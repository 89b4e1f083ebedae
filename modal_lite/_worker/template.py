"""The template: a process with the container runtime imported and nothing of the user's, from which containers fork.

It has one thread, or forking would not be safe. It lives as long as the other end of its socket is open; containers end
with it.
"""

import gc
import importlib
import os
import select
import signal
import socket
import traceback
from types import FrameType
from typing import NoReturn

from modal_lite._core import pickler  # noqa: F401  (imported here, once for all containers)
from modal_lite._core.messages import ContainerSpec, Exited, Fork, Forked, ForkFailed, Kill, ToTemplate
from modal_lite._transport.blocking import BlockingChannel, ConnectionClosed
from modal_lite._worker.entry import Descriptors, run_container
from modal_lite._worker.process import die_with, keep_memory

_COUNT = len(Descriptors._fields)


class Template:
    """Forks, reaps and signals containers as it is told over `frames`.

    Their descriptors come over `descriptors`, with one byte for each Fork, in the order of the Fork messages.
    """

    def __init__(self, frames: socket.socket, descriptors: socket.socket) -> None:
        self._channel = BlockingChannel(frames, ToTemplate)
        self._frames = frames
        self._descriptors = descriptors
        self._containers: dict[int, str] = {}
        self._with_terminal: set[int] = set()
        self._pid = os.getpid()
        self._wake_reader, self._wake_writer = os.pipe()

    def run(self) -> None:
        """Serves until the other end closes the connection; ends what is left of the containers then."""
        os.set_blocking(self._wake_writer, False)
        os.set_blocking(self._wake_reader, False)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Imports what the containers' own call of it needs.
        importlib.invalidate_caches()
        keep_memory()
        # What is here now stays; leaving it out of the containers' collections keeps its pages shared with them.
        gc.freeze()
        try:
            while True:
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
            if isinstance(message, Fork):
                self._fork(message.spec)
            else:
                self._signal(message)
            if not self._channel.buffered:
                return

    def _fork(self, spec: ContainerSpec) -> None:
        _, fds, _, _ = socket.recv_fds(self._descriptors, 1, _COUNT)
        try:
            pid = os.fork()
        except OSError as error:
            self._channel.send(ForkFailed(spec.container_id, f"fork: {os.strerror(error.errno or 0)}"))
        else:
            if pid == 0:
                self._become_container(spec, Descriptors(*fds))
            self._containers[pid] = spec.container_id
            if spec.terminal is not None:
                self._with_terminal.add(pid)
            self._channel.send(Forked(spec.container_id, pid))
        finally:
            for fd in fds:
                os.close(fd)

    def _become_container(self, spec: ContainerSpec, fds: Descriptors) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # A session, and with it a group, of its own: what it leaves running can be ended with it, and it can have a
            # terminal.
            os.setsid()
            die_with(self._pid)
            self._frames.close()
            self._descriptors.close()
            os.close(self._wake_reader)
            os.close(self._wake_writer)
            gc.enable()
            status = run_container(spec, fds)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _signal(self, kill: Kill) -> None:
        for pid, container_id in self._containers.items():
            if container_id == kill.container_id:
                os.kill(pid, kill.signal)

    def _drain_wakeups(self) -> None:
        try:
            while os.read(self._wake_reader, 512):
                pass
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
        _kill_group(pid)
        if pid in self._with_terminal:
            self._with_terminal.discard(pid)
            _kill_sessions({pid})

    def _end_all(self) -> None:
        for pid in self._containers:
            os.kill(pid, signal.SIGKILL)
        # Any of them may have asked for a terminal.
        _kill_sessions(set(self._containers))
        for pid, container_id in list(self._containers.items()):
            _, status = os.waitpid(pid, 0)
            self._forget(pid)
            try:
                # Only the plane's sending may have ended.
                self._channel.send(Exited(container_id, os.waitstatus_to_exitcode(status)))
            except ConnectionClosed:
                pass


def _kill_group(pid: int) -> None:
    """Ends what a container has left running."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # Nothing left (macOS says EPERM for a group of zombies).


def _kill_sessions(leaders: set[int]) -> None:
    """Ends what shells in containers have left running: the jobs of an interactive shell have groups of their own.

    Where there is no /proc, the SIGHUP that they get with the end of their terminal has to do.
    """
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not entry.isdecimal():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                # The name, in parentheses, may contain anything; behind it: state, parent, group, session.
                session = int(file.read().rpartition(b")")[2].split()[3])
            if session in leaders and int(entry) not in leaders:
                os.kill(int(entry), signal.SIGKILL)
        except (OSError, ValueError, IndexError):
            continue  # It has ended meanwhile.


def _do_nothing(signum: int, frame: FrameType | None) -> None:
    """SIGCHLD needs a handler for its wake-up to be written."""


def main(frames_fd: int, descriptors_fd: int) -> NoReturn:
    """Runs the template on the two sockets that it inherited, and ends the process."""
    Template(socket.socket(fileno=frames_fd), socket.socket(fileno=descriptors_fd)).run()
    # The caller waits for it, and an interpreter's own end takes every module apart first.
    os._exit(0)
