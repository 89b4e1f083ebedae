"""A container's life, from the fork to its exit status."""

import contextlib
import os
import signal
import socket
import sys
from types import FrameType
from typing import NamedTuple

from modal_lite._core import context
from modal_lite._core.failures import pack_exception
from modal_lite._core.main_module import set_container_main
from modal_lite._core.messages import (
    ContainerControl,
    ContainerSpec,
    FailureKind,
    Leaving,
    Ready,
    StartFailed,
    ToContainer,
)
from modal_lite._transport.blocking import BlockingChannel, ConnectionClosed
from modal_lite._transport.forks import Closable
from modal_lite._transport.progress import attach
from modal_lite._transport.shared_memory import SharedMemory
from modal_lite._worker import process
from modal_lite._worker.async_batch_executor import AsyncBatchExecutor
from modal_lite._worker.async_executor import AsyncExecutor, guard
from modal_lite._worker.batch_executor import BatchExecutor
from modal_lite._worker.breakpoints import breakpoint_on_terminal
from modal_lite._worker.control import TERM_GRACE, Control
from modal_lite._worker.executor import Executor
from modal_lite._worker.leases import Leases
from modal_lite._worker.lifecycle import Lifecycle, Loaded, load
from modal_lite._worker.mixed_executor import MixedExecutor
from modal_lite._worker.mixed_task_executor import MixedTaskExecutor
from modal_lite._worker.resources import enter_resources, explain_shortage
from modal_lite._worker.snapshot import part_from_snapshot
from modal_lite._worker.sync_executor import SyncExecutor
from modal_lite._worker.task_executor import TaskExecutor
from modal_lite._worker.thread_executor import ThreadExecutor

INTERRUPTED = 128 + signal.SIGINT
"""Exit status after KeyboardInterrupt."""


class Descriptors(NamedTuple):
    """What a container inherits, in the order in which the placer sends it."""

    data: int
    control: int
    client: int
    progress: int
    stdout: int
    stderr: int
    memory: int | None = None
    """What the two ends of the data channel share, on systems that have such memory."""


def run_container(spec: ContainerSpec, fds: Descriptors, snapshot: Loaded | None = None) -> int:
    """Serves the function of the spec until the plane is done with it. Returns the exit status.

    Args:
        spec: What to serve.
        fds: What the container inherits; closed in the end.
        snapshot: The function, or the instance, if that is here already: this process was forked from its snapshot.
    """
    for fd in fds:
        if fd is not None:
            os.set_inheritable(fd, False)
    if snapshot is None:
        process.redirect_output(fds.stdout, fds.stderr)
    else:
        # What the user's code has put in the place of `sys.stdout`, or knows as such, stays.
        process.redirect_descriptors(fds.stdout, fds.stderr)
    data = socket.socket(fileno=fds.data)
    words = attach(fds.progress)
    os.close(fds.progress)
    memory = None
    if fds.memory is not None:
        memory = SharedMemory(fds.memory, first=False)
        os.close(fds.memory)
    channel = BlockingChannel(data, ToContainer, memory)
    leases = Leases(channel, words)
    context.enter_container(spec.container_id, leases.running_input, spec.function_id)
    context.client_socket = socket.socket(fileno=fds.client)
    set_container_main(spec.main)
    control_socket = socket.socket(fileno=fds.control)
    control = Control(BlockingChannel(control_socket, ContainerControl), leases, data)
    held: list[Closable] = [data, control_socket, context.client_socket]
    process.reset_in_forks(held if memory is None else [*held, memory], control.fds)
    _handle_signals(control)
    control.start()
    context.terminal = control.terminal
    sys.breakpointhook = breakpoint_on_terminal
    try:
        if spec.terminal is not None:
            control.terminal.attach(spec.terminal)
        return _serve(spec, control, leases, words, snapshot)
    finally:
        control.terminal.release()


def _serve(
    spec: ContainerSpec, control: Control, leases: Leases, words: "memoryview[int]", snapshot: Loaded | None
) -> int:
    """Begins, runs inputs, ends. Returns the exit status."""
    life = _begin(spec, leases, snapshot)
    if life is None:
        return 1
    try:
        control.executor = _executor(spec, life, leases, words)
        leases.channel.send(Ready(os.getpid()))
        control.executor.serve()
    except ConnectionClosed:
        pass
    except KeyboardInterrupt:
        control.status = INTERRUPTED
        control.leave_within(TERM_GRACE)
        with contextlib.suppress(ConnectionClosed):
            leases.channel.send(Leaving())
    control.grant_exits()
    life.leave()
    process.finish()
    return control.status


def _begin(spec: ContainerSpec, leases: Leases, snapshot: Loaded | None) -> Lifecycle | None:
    """The user's function, or class, ready for inputs; None if that fails, which is reported."""
    try:
        if snapshot is None:
            process.enter_surroundings(spec)
            process.enter_own_environment(spec)
            enter_resources(spec)
            return load(spec).begin()
        part_from_snapshot()
        process.enter_own_environment(spec)
        return snapshot.begin()
    except BaseException as error:
        explain_shortage(error)
        failure, payload = pack_exception(error, FailureKind.INIT)
        leases.channel.send(StartFailed(failure, payload.sizes), payload)
        process.flush_output()
        return None


def _executor(spec: ContainerSpec, life: Lifecycle, leases: Leases, words: "memoryview[int]") -> Executor:
    """What runs the inputs."""
    callees, runner, shares = life.callees, life.runner, spec.max_inputs > 1
    if spec.max_batch_size:
        return _batch_executor(spec, life, leases, words)
    if runner is None:
        return (ThreadExecutor if shares else SyncExecutor)(callees, leases, words)
    if all(callee.is_async for callee in callees.values()):
        return (TaskExecutor if shares else AsyncExecutor)(callees, leases, words, runner)
    return (MixedTaskExecutor if shares else MixedExecutor)(callees, leases, words, runner)


def _batch_executor(spec: ContainerSpec, life: Lifecycle, leases: Leases, words: "memoryview[int]") -> Executor:
    (callee,) = life.callees.values()
    if callee.is_async and life.runner is not None:
        return AsyncBatchExecutor(callee, spec.max_batch_size, spec.batch_wait, leases, words, life.runner)
    # What async hooks have left on a loop stands still between them.
    return BatchExecutor(callee, spec.max_batch_size, spec.batch_wait, leases)


def _handle_signals(control: Control) -> None:
    def on_sigterm(signum: int, frame: FrameType | None) -> None:
        control.request_stop(0)

    def on_sigint(signum: int, frame: FrameType | None) -> None:
        executor, on_terminal = control.executor, control.terminal.attached
        if executor is not None and (executor.runs_user_code(frame) or (on_terminal and _is_in_task(frame))):
            control.heed()
            raise KeyboardInterrupt
        if executor is not None and on_terminal:
            # It was typed there, and is for what runs, not for the container.
            control.request_interrupt()
        else:
            control.request_stop(INTERRUPTED)

    control.watch_signals()
    signal.signal(signal.SIGTERM, on_sigterm)
    signal.signal(signal.SIGINT, on_sigint)


def _is_in_task(frame: FrameType | None) -> bool:
    """True if the frame is one of a coroutine of the user's, or was called there, by a debugger say."""
    while frame is not None:
        if frame.f_code is guard.__code__:
            return True
        frame = frame.f_back
    return False
